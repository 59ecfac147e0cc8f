"""Every family of towers, from folders in float32 and float16: pretrained, trained, judged, packaged, at work.

Minutes, so by name alone: pytest tests/workflows/tower_families.py. test_any_tower_workflow.py runs one family always.
"""

import json
import sys

import numpy as np
import pytest
import torch
import transformers

from bundle.export.package import package_bundle
from bundle.networks.vision_families import FAMILIES
from tests.networks.test_any_tower import MODELS, STATISTICS, TEXT, VISION
from tests.tiny import FINDINGS, write_dicom
from tests.tiny_bert import write_tiny_bert
from tests.workflows.conftest import ROOT, TINY


def clip():
    text = {**TEXT, "vocab_size": 49_408, "max_position_embeddings": 40, "bos_token_id": 49_406, "eos_token_id": 49_407}
    config = {"vision_config": {**VISION, "intermediate_size": 64}, "text_config": text, "projection_dim": 12}
    return transformers.CLIPModel(transformers.CLIPConfig(**config))


def settings(folder, kind, bert):
    """The configuration's overlay: with a text encoder where the folder has no text tower."""
    towers = {"_target_": "bundle.networks.CLIPTowers", "image_size": "@tower_size", "pretrained": "@pretrained"}
    if kind in FAMILIES:
        encoder = {"_target_": "bundle.networks.TextEncoder", "folder": "@tokenizer_folder", "embedding_dim": 16}
        towers["text_encoder"] = {**encoder, "context_length": 40}
    overlay = {"pretrained": str(folder), "tokenizer_folder": str(bert) if kind in FAMILIES else None, "clip": towers}
    return overlay | {"separate_prompts": kind != "siglip"}  # whose projection has a bias


@pytest.mark.parametrize("precision", ["float16", "float32"])
@pytest.mark.parametrize("kind", ["clip", *sorted(MODELS)])
def test_it_is_pretrained_trained_judged_and_looks(place, kind, precision):
    torch.manual_seed(0)
    folder, bert = place.folder / "tower", write_tiny_bert(place.folder / "bert")
    model = {"clip": clip, **MODELS}[kind]()
    (model.half() if precision == "float16" else model).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(STATISTICS))
    where = {"output_dir": str(place.eval), "ckpt_dir": str(place.models), "dataset_dir": str(place.data)}
    overlay = place.folder / "tower.json"
    overlay.write_text(json.dumps({**settings(folder, kind, bert), **where, "max_epochs": 1}))

    def run(run_id, *files, **options):
        given = [f"--{key}={value}" for key, value in options.items()]
        config = f"--config_file={[str(file) for file in files]}"
        place.execute([sys.executable, "-m", "monai.bundle", "run", run_id, config, *given])

    config, root = ROOT / "configs", {"bundle_root": place.folder}
    run("training", config / "pretrain.json", TINY, overlay, context_length=16 if kind == "siglip" else 40, **root)
    training = [config / "train.json", TINY, overlay]
    run("training", *training, init_checkpoint=place.models / "pretrain" / "model.pt", **root)
    weights = torch.load(place.models / "model.pt", weights_only=True)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    run("evaluating", *training, config / "evaluate.json", replicates=20, **root)
    assert place.metrics()["auroc/mean"] is not None

    package = package_bundle(training, ROOT, place.folder / "package")
    folder.rename(place.folder / "gone")
    (place.folder / "input").mkdir()
    write_dicom(place.folder / "input" / "a.dcm", np.random.default_rng(0).integers(0, 4096, (90, 140)))
    folders = {"dataset_dir": place.folder / "input", "output_dir": place.folder / "out"}
    run("inferring", package / "configs" / "inference.json", bundle_root=package, **folders)
    assert list(json.loads((place.folder / "out" / "a.json").read_text())["findings"]) == FINDINGS
