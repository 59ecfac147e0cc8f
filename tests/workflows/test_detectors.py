"""Detectors run through the same workflows as Patch-CLIP, and leave the same records."""

import json

import pytest
import torch
from transformers import Owlv2Config, Owlv2ForObjectDetection

from bundle.data.tokenizer import build_clip_tokenizer
from bundle.metrics import load_records
from tests.tiny import FINDINGS

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def check_evaluation(place):
    metrics = place.metrics()
    for finding in FINDINGS:
        assert metrics[f"n_images/{finding}"] == 5
        assert metrics[f"froc/{finding}/sens_at_1fp"] is not None
        assert metrics[f"froc/{finding}/oracle"] is None  # a detector has no grid
    assert metrics["auroc/mean"] is not None
    assert (place.eval / "report.html").read_text().count("<img") > 2
    records = load_records(place.eval / "records")
    assert list(records.images.scores) == ["image"]
    assert len(records.candidates.score) > 0
    return records


@pytest.mark.slow
def test_detector(place):
    output = place.run("training", "train", "detector")
    for term in ("loss/class", "loss/box", "loss/giou", "loss/denoising", "loss/total"):
        assert term in output
    last = torch.load(place.models / "last.pt", weights_only=True)
    assert last["epoch"] == 2
    assert all(torch.isfinite(v).all() for v in last["network"].values() if isinstance(v, torch.Tensor))
    place.run("evaluating", "train", "detector", "evaluate", replicates=20)
    records = check_evaluation(place)
    most = max(
        ((records.candidates.index == i) & (records.candidates.finding == k)).sum()
        for i in records.images.index
        for k in range(len(FINDINGS))
    )
    assert 0 < most <= 20


@pytest.mark.slow
def test_open_vocabulary(place):
    folder = place.folder / "owlv2"
    torch.manual_seed(0)
    config = Owlv2Config(
        text_config={**SIZES, "vocab_size": 49408, "max_position_embeddings": 16},
        vision_config={**SIZES, "image_size": 64, "patch_size": 16},
        projection_dim=16,
        initializer_factor=0.02,  # at the library's 1 random boxes have no height
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    build_clip_tokenizer().save_pretrained(folder)
    constants = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 64, "width": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(constants))
    place.run("evaluating", "train", "evaluate", "open_vocabulary", replicates=20, open_vocabulary_folder=folder)
    check_evaluation(place)
