"""WeightedLosses: what is computed, under which names, with which weight."""

import math

import pytest
import torch
from torch import nn

from bundle.losses import NegativeCaptionLoss, PatchCLIPLoss, RegionContrastiveLoss, WeightedLosses
from tests.losses.regions import drawn


class Power(nn.Module):
    """x^n as the term "power n", half of it as the loss; counts its calls."""

    def __init__(self, n, term=None):
        super().__init__()
        self.n, self.term, self.calls = n, term or f"power {n}", 0

    def forward(self, output, target):
        self.calls += 1
        value = output["x"] ** self.n
        return {self.term: value, "loss": value / 2}


def build(**weights):
    return WeightedLosses({"square": Power(2), "cube": Power(3)}, {"square": 1.0, "cube": 10.0, **weights})


def test_the_sum_by_hand():
    x = torch.tensor(2.0, requires_grad=True)
    terms = build()({"x": x}, {})
    assert {name: term.item() for name, term in terms.items()} == {"power 2": 4, "power 3": 8, "loss": 42}
    terms["loss"].backward()
    assert x.grad.item() == 1 * 2 + 10 * 6  # x²/2 and x³/2 derived


def test_a_weight_of_zero_is_not_computed():
    loss = build(cube=0)
    x = torch.tensor(2.0, requires_grad=True)
    assert list(loss({"x": x}, {})) == ["power 2", "loss"]
    assert loss.losses["cube"].calls == 0
    loss.set_weights({"cube": 3})
    terms = loss({"x": x}, {})
    assert list(terms) == ["power 3", "loss"]
    assert terms["loss"].item() == 12
    assert loss.losses["square"].calls == 1


def test_the_inner_loss_of_patch_clip_is_what_is_weighted():
    logits = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    patches = {
        "global_logits": logits,
        "pooled_logits": 2 * logits,
        "sparse_logits": 3 * logits,
        "patch_logits": logits[:, :, None].expand(2, 3, 4, 2),
        "sparse_valid": torch.ones(2, 3, dtype=torch.bool),
        "scores": {"image": torch.full((2, 3), 0.3)},
    }
    known = {
        "label": torch.tensor([[1.0, 0.0, math.nan], [0.0, 0.0, 1.0]]),
        "boxed": torch.ones(2, 3, dtype=torch.bool),
        "patch_mask": torch.zeros(2, 3, 2, 2, dtype=torch.bool),
    }
    output, target = drawn(seed=0)
    output, target = output | patches, target | known
    alone = [PatchCLIPLoss()(output, target), RegionContrastiveLoss()(output, target)]
    loss = WeightedLosses(
        {"patch_clip": PatchCLIPLoss(), "region": RegionContrastiveLoss()}, {"patch_clip": 2.0, "region": 0.5}
    )
    terms = loss(output, target)
    assert list(terms) == ["global", "pooled", "patch", "sparse", "image", "region", "loss"]
    assert terms["loss"].item() == pytest.approx(2 * alone[0]["loss"].item() + 0.5 * alone[1]["loss"].item(), rel=1e-6)
    assert terms["patch"].item() == alone[0]["patch"].item()


def test_one_name_for_two_terms_is_refused():
    loss = WeightedLosses({"a": Power(2, "same"), "b": Power(3, "same")}, {"a": 1, "b": 1})
    with pytest.raises(ValueError, match=r"'b' names its terms \['same'\]"):
        loss({"x": torch.tensor(2.0)}, {})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"cubes": 1.0}, r"\['cubes'\] are no losses.*square, cube"),
        ({"cube": -1.0}, r"'cube': -1.0.*not negative"),
        ({"cube": math.nan}, "finite"),
        ({"cube": math.inf}, "finite"),
        ({"cube": 0}, "no loss to train with"),
        ({}, "no loss to train with"),
    ],
    ids=str,
)
def test_weights_that_make_no_sense_are_refused_and_change_nothing(weights, message):
    loss = build()
    with pytest.raises(ValueError, match=message):
        loss.set_weights(weights)
    assert loss.weights == {"square": 1, "cube": 10}


def test_at_first_every_loss_needs_a_weight():
    with pytest.raises(ValueError, match=r"\['cube'\] have no weight"):
        WeightedLosses({"square": Power(2), "cube": Power(3)}, {"square": 1.0})


def test_comments_are_no_losses():
    loss = WeightedLosses({"_desc_": "x", "n": NegativeCaptionLoss()}, {"_desc_": "y", "n": 1.0})
    assert loss.weights == {"n": 1.0}
