"""Which reports are one text."""

import pytest
import torch

from bundle.comparison import LanguageEvaluation
from bundle.data.tokenizer import build_clip_tokenizer
from bundle.precision import Precision
from tests.tiny_network import FINDINGS, tiny_patch_clip


def figures(reports):
    tokenizer = build_clip_tokenizer()
    n = len(reports)
    image = torch.rand(n, 1, 132, 132, generator=torch.Generator().manual_seed(0))
    loader = [{"image": image, "index": torch.arange(n), "label": torch.zeros(n, len(FINDINGS))}]
    precision, device = Precision("float32", channels_last=False), torch.device("cpu")
    network = tiny_patch_clip(tokenizer)
    return LanguageEvaluation(network, FINDINGS, loader, reports, tokenizer, device, precision, replicates=0).run()[0]


@pytest.mark.parametrize("space", ["\n", "  ", "\t\n "])
def test_reports_that_differ_in_white_space_alone_are_one(space):
    broken = figures(["No mass.", f"A nodule.{space}No effusion.", "A nodule. No effusion.", " \n"])
    plain = figures(["No mass.", "A nodule. No effusion.", "A nodule. No effusion.", ""])
    assert broken == plain
    assert plain["retrieval/image_to_report/distinct_texts"] == 2
    assert plain["retrieval/image_to_report/gallery_size"] == 3
