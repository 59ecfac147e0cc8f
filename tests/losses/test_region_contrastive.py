"""RegionContrastiveLoss by hand, against a loop over pairs of regions, and at its limits."""

import math

import pytest
import torch

from bundle.losses import RegionContrastiveLoss
from tests.losses.regions import drawn, same_gradients

NAMES = ["region_embedding", "caption_embedding", "logit_scale"]


def slow_loss(output, target):
    """-log of the own pair's share, one region and one caption at a time; equal captions never compete."""
    s, ids = output["logit_scale"], target["caption_id"].tolist()
    regions, captions = output["region_embedding"], output["caption_embedding"]
    counted = [
        (b, r) for b in range(len(ids)) for r in range(len(ids[b])) if target["region_valid"][b, r] and ids[b][r] >= 0
    ]
    total = 0 * (regions.sum() + captions.sum() + s)
    for b, r in counted:
        rivals = [(b2, r2) for b2, r2 in counted if ids[b2][r2] != ids[b][r]]
        own = (s * (regions[b, r] @ captions[b, r])).exp()
        other_captions = sum((s * (regions[b, r] @ captions[b2, r2])).exp() for b2, r2 in rivals)
        other_regions = sum((s * (regions[b2, r2] @ captions[b, r])).exp() for b2, r2 in rivals)
        total = total - (own / (own + other_captions)).log() / 2 - (own / (own + other_regions)).log() / 2
    return total / max(1, len(counted))


@pytest.mark.parametrize("captions", [1, 3, 50])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_loop(seed, captions):
    output, target = drawn(seed, b=5, r=4, captions=captions)
    terms = RegionContrastiveLoss()(output, target)
    assert list(terms) == ["region", "loss"]
    same_gradients(terms["loss"], slow_loss(output, target), output, NAMES)


def case(caption_id, scale=2.0):
    """One image of three regions; the first two look alike, and so do their captions."""
    regions = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    output = {
        "region_embedding": regions.clone().requires_grad_(),
        "caption_embedding": regions.clone().requires_grad_(),
        "logit_scale": torch.tensor(scale, dtype=torch.float64, requires_grad=True),
    }
    return output, {"region_valid": torch.ones(1, 3, dtype=torch.bool), "caption_id": torch.tensor([caption_id])}


def test_equal_captions_are_not_punished():
    lone, copy = math.log1p(math.exp(-2)), math.log1p(2 * math.exp(-2))
    told = RegionContrastiveLoss()(*case([4, 4, 9]))["loss"].item()
    assert told == pytest.approx((2 * lone + copy) / 3, abs=1e-12)  # the third has two rivals, the others one
    blind = RegionContrastiveLoss()(*case([4, 5, 9]))["loss"].item()
    assert blind == pytest.approx((2 * math.log(2 + math.exp(-2)) + copy) / 3, abs=1e-12)
    assert RegionContrastiveLoss()(*case([4, 4, 9], scale=50.0))["loss"].item() < 1e-12
    assert RegionContrastiveLoss()(*case([4, 5, 9], scale=50.0))["loss"].item() > 0.4


@pytest.mark.parametrize(
    ("valid", "caption_id"),
    [([0, 0, 0], [1, 2, 3]), ([1, 1, 1], [-1, -1, -1]), ([0, 1, 0], [1, 2, 3]), ([1, 1, 1], [6, 6, 6])],
    ids=["no region", "no caption", "one region", "one caption"],
)
def test_with_nothing_to_tell_apart_it_is_a_zero_on_the_graph(valid, caption_id):
    output, target = case(caption_id)
    target["region_valid"] = torch.tensor([valid], dtype=torch.bool)
    loss = RegionContrastiveLoss()(output, target)["loss"]
    loss.backward()
    assert loss.item() == 0
    for name in NAMES:
        assert output[name].grad.abs().max() == 0, name


def test_what_is_no_region_changes_nothing():
    output, target = drawn(seed=3)
    before = RegionContrastiveLoss()(output, target)["loss"].item()
    unused = ~(target["region_valid"] & (target["caption_id"] >= 0))
    assert 0 < unused.sum() < unused.numel()
    for name in ("region_embedding", "caption_embedding"):
        output[name] = output[name].detach().masked_fill(unused[..., None], math.nan).requires_grad_()
    loss = RegionContrastiveLoss()(output, target)["loss"]
    loss.backward()
    assert loss.item() == before
    assert output["region_embedding"].grad[unused].abs().max() == 0
    assert torch.isfinite(output["caption_embedding"].grad).all()
