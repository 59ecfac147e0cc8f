"""NegativeCaptionLoss by hand, against a loop over regions and negatives, and at its limits."""

import math

import pytest
import torch

from bundle.losses import NegativeCaptionLoss
from tests.losses.regions import drawn, same_gradients

NAMES = ["region_embedding", "caption_embedding", "negative_embedding", "logit_scale"]


def slow_loss(output, target):
    """-log [own / (own + sum over the negatives)], one region at a time."""
    s, values = output["logit_scale"], []
    for b in range(target["caption_id"].shape[0]):
        for r in range(target["caption_id"].shape[1]):
            caption = target["caption_id"][b, r].item()
            wrong = [m for m, i in enumerate(target["negative_id"][b, r].tolist()) if i >= 0 and i != caption]
            if not target["region_valid"][b, r] or caption < 0 or not wrong:
                continue
            region = output["region_embedding"][b, r]
            own = (s * (region @ output["caption_embedding"][b, r])).exp()
            others = sum((s * (region @ output["negative_embedding"][b, r, m])).exp() for m in wrong)
            values.append(-(own / (own + others)).log())
    return sum(values, 0 * s) / max(1, len(values))


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_slow_loop(seed):
    output, target = drawn(seed, b=5, r=4)
    terms = NegativeCaptionLoss()(output, target)
    assert list(terms) == ["negative", "loss"]
    assert terms["loss"].item() > 0
    same_gradients(terms["loss"], slow_loss(output, target), output, NAMES)


def test_by_hand():
    # region 0 has two negatives, one at a right angle and one opposite; region 1 has none but padding
    output = {
        "region_embedding": torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]),
        "caption_embedding": torch.tensor([[[1.0, 0.0], [0.0, -1.0]]]),
        "negative_embedding": torch.tensor([[[[0.0, 1.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]]),
        "logit_scale": torch.tensor(3.0),
    }
    target = {
        "region_valid": torch.tensor([[True, True]]),
        "caption_id": torch.tensor([[0, 1]]),
        "negative_id": torch.tensor([[[5, 6], [-1, -1]]]),
    }
    assert NegativeCaptionLoss()(output, target)["loss"].item() == pytest.approx(
        math.log(math.e**3 + 1 + math.e**-3) - 3, abs=1e-6
    )
    target["negative_id"][0, 0, 0] = 0  # reads like the caption: no negative
    assert NegativeCaptionLoss()(output, target)["loss"].item() == pytest.approx(math.log1p(math.e**-6), abs=1e-6)


def no_negatives(target):
    target["negative_id"].fill_(-1)


def no_regions(target):
    target["region_valid"].fill_(False)


def no_captions(target):
    target["caption_id"].fill_(-1)


@pytest.mark.parametrize("empty", [no_negatives, no_regions, no_captions], ids=lambda f: f.__name__)
def test_with_nothing_to_tell_apart_it_is_a_zero_on_the_graph(empty):
    output, target = drawn(seed=1)
    empty(target)
    loss = NegativeCaptionLoss()(output, target)["loss"]
    loss.backward()
    assert loss.item() == 0
    for name in NAMES:
        assert output[name].grad.abs().max() == 0, name


def test_a_network_without_room_for_negatives():
    output, target = drawn(seed=1, m=1)
    output["negative_embedding"], target["negative_id"] = output["negative_embedding"][:, :, :0], torch.zeros(4, 3, 0)
    assert NegativeCaptionLoss()(output, target)["loss"].item() == 0


def test_padding_changes_nothing():
    output, target = drawn(seed=4)
    before = NegativeCaptionLoss()(output, target)["loss"].item()
    padding = target["negative_id"] < 0
    output["negative_embedding"] = output["negative_embedding"].detach().masked_fill(padding[..., None], 1e3)
    assert NegativeCaptionLoss()(output, target)["loss"].item() == before
