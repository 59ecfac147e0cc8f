"""Tiny real networks."""

from functools import partial

import pytest

from bundle.data.tokenizer import build_clip_tokenizer
from bundle.networks import RegionCLIP, text_bank
from tests.tiny_network import tiny_patch_clip


@pytest.fixture(autouse=True)
def nothing_shared():
    """Banks of texts share what they know; a test that counts a tower's runs begins with nothing."""
    text_bank._SHARED.clear()


@pytest.fixture(scope="session")
def tokenizer():
    return build_clip_tokenizer()


@pytest.fixture
def build(tokenizer):
    """A factory of PatchCLIP, with the arguments of `tiny_patch_clip`."""
    return partial(tiny_patch_clip, tokenizer)


@pytest.fixture
def build_regions(tokenizer):
    """The same, of RegionCLIP."""
    return partial(tiny_patch_clip, tokenizer, network=RegionCLIP)
