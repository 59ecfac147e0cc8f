"""A tower that is no CLIP, by configuration alone: trained, judged, packaged, and at work without its folder."""

import json
import sys

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from bundle.export.package import package_bundle
from tests.tiny import FINDINGS, write_dicom
from tests.tiny_bert import write_tiny_bert
from tests.workflows.conftest import ROOT, TINY


@pytest.mark.slow
def test_dinov2_with_a_bert_trains_and_is_packaged(place):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 8, "image_size": 24}
    Dinov2Model(Dinov2Config(**sizes)).half().save_pretrained(place.folder / "dino")
    statistics = {"image_mean": [0.53, 0.53, 0.53], "image_std": [0.25, 0.25, 0.25]}
    (place.folder / "dino" / "preprocessor_config.json").write_text(json.dumps(statistics))
    bert = write_tiny_bert(place.folder / "bert")
    clip = {"_target_": "bundle.networks.CLIPTowers", "image_size": "@tower_size", "pretrained": "@pretrained"}
    encoder = {"_target_": "bundle.networks.TextEncoder", "folder": "@tokenizer_folder", "embedding_dim": 16}
    overlay = {
        "pretrained": str(place.folder / "dino"),
        "tokenizer_folder": str(bert),
        "clip": {**clip, "patch_tokens": "value", "text_encoder": {**encoder, "context_length": 40}},
        "max_epochs": 1,
    }
    where = {"output_dir": str(place.eval), "ckpt_dir": str(place.models), "dataset_dir": str(place.data)}
    (place.folder / "tower.json").write_text(json.dumps({**overlay, **where}))
    files = [ROOT / "configs" / "train.json", TINY, place.folder / "tower.json"]
    run = [sys.executable, "-m", "monai.bundle", "run"]
    root = f"--bundle_root={place.folder}"
    output = place.execute([*run, "training", f"--config_file={[str(f) for f in files]}", root])
    assert "interpolated from 3x3 patches (24 px) to 4x4 (32 px)" in output
    judged = [*files, ROOT / "configs" / "evaluate.json"]
    place.execute([*run, "evaluating", f"--config_file={[str(f) for f in judged]}", root, "--replicates=20"])
    assert "auroc/mean" in place.metrics()

    package = package_bundle(files, ROOT, place.folder / "package")
    (place.folder / "dino").rename(place.folder / "gone")
    inference = json.loads((package / "configs" / "inference.json").read_text())
    assert inference["clip"]["vision"]["model_type"] == "dinov2"
    assert inference["clip"]["patch_tokens"] == "value"
    assert inference["clip"]["pixels"]["mean"] == [0.53, 0.53, 0.53]
    (place.folder / "input").mkdir()
    write_dicom(place.folder / "input" / "a.dcm", np.random.default_rng(0).integers(0, 4096, (90, 140)))
    config = f"--config_file={package / 'configs' / 'inference.json'}"
    folders = [f"--bundle_root={package}", f"--dataset_dir={place.folder / 'input'}"]
    place.execute([*run, "inferring", config, *folders, f"--output_dir={place.folder / 'out'}"])
    assert list(json.loads((place.folder / "out" / "a.json").read_text())["findings"]) == FINDINGS
