"""Tiny real detectors and what they are trained on."""

import math

import torch

from bundle.networks import BoxDetector

FINDINGS = ["Effusion", "Mass", "Nodule"]
BACKBONE = {"layer_type": "basic", "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
TRANSFORMER = {
    "encoder_hidden_dim": 16,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "hidden_expansion": 0.5,
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_ffn_dim": 32,
    "decoder_attention_heads": 2,
    "num_queries": 10,
    "num_denoising": 4,
}


def tiny_detector(seed: int = 0, findings: list[str] = FINDINGS, **fields: object) -> BoxDetector:
    torch.manual_seed(seed)
    return BoxDetector(findings, BACKBONE, {**TRANSFORMER, **fields}, 64)


def batch(side: int = 100) -> dict[str, torch.Tensor]:
    """Three images: a mass and an effusion, nothing, a nodule; rows of NaN pad the boxes. All is known."""
    nan = [math.nan] * 4
    boxes = [[[10, 20, 40, 60], [50, 50, 90, 95]], [nan, nan], [[70, 5, 80, 15], nan]]
    finding = torch.tensor([[1, 0], [-1, -1], [2, -1]])
    label = torch.zeros(3, 3)
    label[0, [0, 1]] = label[2, 2] = 1
    return {
        "image": torch.rand(3, 1, side, side, generator=torch.Generator().manual_seed(1)),
        "boxes": torch.tensor(boxes) * side / 100,
        "box_finding": finding,
        "label": label,
        "boxed": torch.ones(3, 3, dtype=torch.bool),
    }
