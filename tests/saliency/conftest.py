"""Tiny real networks with several blocks, and images for them."""

import pytest
import torch
import torch.nn.functional as F

from bundle.data.tokenizer import build_clip_tokenizer
from bundle.networks import CLIPTowers, Downscaler, PatchCLIP

FINDINGS = ["Effusion", "Mass", "Nodule"]


@pytest.fixture(scope="session")
def tokenizer():
    return build_clip_tokenizer()


@pytest.fixture
def build(tokenizer):
    """A factory of PatchCLIP on a 132 px canvas, 32 px tower, 4x4 patches, width 16, D 12; every parameter random."""

    def make(seed=0, text=False, stem=True, layers=2, findings=FINDINGS, **arguments):
        torch.manual_seed(seed)
        sizes = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 16}
        clip = CLIPTowers(
            image_size=32,
            vision={**sizes, "patch_size": 8, "attention_dropout": 0.3},
            text=dict(sizes) if text else None,
            projection_dim=12,
            stem={"channels": [4, 8, 8], "depth": 1} if stem else None,
        )
        sparse = {"num_layers": 1, "num_heads": 2, "feedforward": 16}
        network = PatchCLIP(
            findings, Downscaler(132, 32, 4), clip, tokenizer if text else None, sparse=sparse, **arguments
        )
        with torch.no_grad():
            for parameter in network.clip.vision.parameters():  # else LayerNorms and biases would do nothing
                parameter.add_(0.2 * torch.randn(parameter.shape))
            if not text:
                network.prompt_embeddings.copy_(F.normalize(torch.randn(len(findings), 2, 12), dim=-1))
        return network.eval()

    return make


@pytest.fixture
def image():
    return torch.rand(3, 1, 132, 132, generator=torch.Generator().manual_seed(3))
