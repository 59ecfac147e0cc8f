"""Tiny real networks."""

from functools import partial

import pytest

from bundle.data.tokenizer import build_clip_tokenizer
from tests.tiny_network import tiny_patch_clip


@pytest.fixture(scope="session")
def tokenizer():
    return build_clip_tokenizer()


@pytest.fixture
def build(tokenizer):
    """A factory of PatchCLIP, with the arguments of `tiny_patch_clip`."""
    return partial(tiny_patch_clip, tokenizer)
