"""Tiny real networks with several blocks, and images for them."""

import pytest
import torch
import torch.nn.functional as F

from bundle.data.tokenizer import build_clip_tokenizer
from tests.tiny_network import FINDINGS, tiny_patch_clip


@pytest.fixture(scope="session")
def tokenizer():
    return build_clip_tokenizer()


@pytest.fixture
def build(tokenizer):
    """A factory of `tiny_patch_clip` with every parameter random."""

    def make(seed=0, text=False, stem=True, layers=2, findings=FINDINGS, **arguments):
        network = tiny_patch_clip(tokenizer, seed, text, stem, layers, findings, **arguments)
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
