"""What the tests of exports and packages share."""

import pytest

from bundle.data.tokenizer import build_clip_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return build_clip_tokenizer()
