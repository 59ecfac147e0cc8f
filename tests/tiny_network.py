"""A tiny real PatchCLIP, or RegionCLIP."""

import torch

from bundle.networks import CLIPTowers, Downscaler, PatchCLIP

FINDINGS = ["Effusion", "Mass", "Nodule"]


def tiny_patch_clip(
    tokenizer, seed=0, text=True, stem=True, layers=1, findings=FINDINGS, network=PatchCLIP, **arguments
):
    """132 px canvas, 32 px tower, 4x4 patches, width 16, D 12; `network` is the class."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 16}
    clip = CLIPTowers(
        image_size=32,
        vision={**sizes, "patch_size": 8, "attention_dropout": 0.3},
        text=dict(sizes) if text else None,
        projection_dim=12,
        stem={"channels": [4, 8, 8], "depth": 1} if stem else None,
    )
    sparse = {"num_layers": 1, "num_heads": 2, "feedforward": 16, **arguments.pop("sparse", {})}
    downscaler = arguments.pop("downscaler", None) or Downscaler(132, 32, 4)
    return network(findings, downscaler, clip, tokenizer if text else None, sparse=sparse, **arguments)
