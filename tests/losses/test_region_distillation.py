"""RegionDistillationLoss against a loop over regions and captions, and at its limits."""

import math

import pytest
import torch

from bundle.losses import RegionDistillationLoss
from tests.losses.regions import drawn, same_gradients

NAMES = ["region_embedding", "caption_embedding", "logit_scale"]
TEACHER = ["teacher_region_embedding", "teacher_caption_embedding"]


def regions_of(target):
    return [tuple(place) for place in target["region_valid"].nonzero().tolist()]


def distinct_captions(target):
    """Caption id -> where it stands first."""
    places = {}
    for b, r in regions_of(target):
        if target["caption_id"][b, r] >= 0:
            places.setdefault(target["caption_id"][b, r].item(), (b, r))
    return list(places.values())


def slow_loss(output, target, temperature, student_temperature=None):
    """Mean over regions of Σ_t p log(p / q), one caption at a time."""
    s = output["logit_scale"] if student_temperature is None else 1 / student_temperature
    regions, captions = regions_of(target), distinct_captions(target)
    total = 0 * output["logit_scale"]
    for at in regions:
        p, q = [], []
        for c in captions:
            with torch.no_grad():
                likeness = output["teacher_region_embedding"][at] @ output["teacher_caption_embedding"][c]
                p.append((likeness / temperature).exp())
            q.append((s * (output["region_embedding"][at] @ output["caption_embedding"][c])).exp())
        total = total + sum(a / sum(p) * (a / sum(p) / (b / sum(q))).log() for a, b in zip(p, q, strict=True))
    return total / max(1, len(regions))


@pytest.mark.parametrize("student_temperature", [None, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_loop(seed, student_temperature):
    output, target = drawn(seed, b=5, r=4)
    terms = RegionDistillationLoss(0.2, student_temperature)(output, target)
    assert list(terms) == ["distillation", "loss"]
    assert terms["loss"].item() > 0
    same_gradients(terms["loss"], slow_loss(output, target, 0.2, student_temperature), output, NAMES + TEACHER)


def test_the_teacher_gets_no_gradient_and_a_student_like_it_no_loss():
    output, target = drawn(seed=2)
    loss = RegionDistillationLoss(0.25)(output, target)["loss"]
    loss.backward()
    assert all(output[name].grad is None for name in TEACHER)
    twin = {
        "region_embedding": output["teacher_region_embedding"],
        "caption_embedding": output["teacher_caption_embedding"],
        "logit_scale": torch.tensor(4.0),
    }
    assert abs(RegionDistillationLoss(0.25)(output | twin, target)["loss"].item()) < 1e-6


def likeness(output, target, prefix=""):
    """⟨region, caption⟩ over the distinct captions, (N, C)."""
    captions = torch.stack([output[f"{prefix}caption_embedding"][c] for c in distinct_captions(target)])
    return output[f"{prefix}region_embedding"][target["region_valid"]] @ captions.T


def test_temperature_to_zero_is_the_cross_entropy_at_the_teachers_choice():
    output, target = drawn(seed=5)
    choice = likeness(output, target, "teacher_").argmax(-1)
    wanted = torch.nn.functional.cross_entropy(output["logit_scale"] * likeness(output, target), choice)
    for temperature in (1e-4, 1e-30):
        same_gradients(RegionDistillationLoss(temperature)(output, target)["loss"], wanted, output, NAMES)
    single = {name: value.detach().float() for name, value in output.items()}
    assert RegionDistillationLoss(1e-30)(single, target)["loss"].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_temperature_to_infinity_is_a_uniform_teacher():
    output, target = drawn(seed=5)
    log_q = torch.log_softmax(output["logit_scale"] * likeness(output, target), -1)
    wanted = -math.log(log_q.shape[1]) - log_q.mean()
    for temperature in (1e12, math.inf):
        same_gradients(RegionDistillationLoss(temperature)(output, target)["loss"], wanted, output, NAMES)
    # and a uniform student: nothing is left to learn
    assert RegionDistillationLoss(math.inf, math.inf)(output, target)["loss"].item() == 0


def test_equal_captions_count_once():
    output, target = drawn(seed=6, b=2, r=2)
    target["region_valid"] = torch.ones(2, 2, dtype=torch.bool)
    target["caption_id"] = torch.tensor([[3, 8], [3, 3]])
    for name in ("caption_embedding", "teacher_caption_embedding"):
        output[name] = output[name].detach()
        output[name][1] = output[name][0, 0]
    once = RegionDistillationLoss(0.3)(output, target)["loss"].item()
    target["caption_id"][1] = -1  # the regions stay, without a caption of their own
    assert RegionDistillationLoss(0.3)(output, target)["loss"].item() == once
    target["caption_id"] = torch.tensor([[3, 8], [4, 5]])
    assert RegionDistillationLoss(0.3)(output, target)["loss"].item() != pytest.approx(once, rel=1e-3)


@pytest.mark.parametrize("case", ["no region", "no caption", "one caption"])
def test_with_nothing_to_tell_apart_it_is_a_zero_on_the_graph(case):
    output, target = drawn(seed=1)
    target["region_valid"].fill_(case != "no region")
    target["caption_id"].fill_(2 if case == "one caption" else -1)
    loss = RegionDistillationLoss(0.1)(output, target)["loss"]
    loss.backward()
    assert loss.item() == 0
    for name in NAMES:
        assert output[name].grad.abs().max() == 0, name


@pytest.mark.parametrize(("arguments", "name"), [((0.0,), "temperature"), ((1.0, -1.0), "student_temperature")])
def test_temperatures_must_be_positive(arguments, name):
    with pytest.raises(ValueError, match=rf": {name} is .*; give a number above 0"):
        RegionDistillationLoss(*arguments)
    with pytest.raises(ValueError, match="above 0"):
        RegionDistillationLoss(math.nan)
