"""PatchCLIPLoss against a plain, slow, readable loop written from the paper's formulas."""

import math

import pytest
import torch

from bundle.losses import PatchCLIPLoss

WEIGHTS = {"global": 1.0, "pooled": 1.0, "patch": 1.0, "sparse": 0.5}


def cross_entropy(logits: torch.Tensor, truth: bool) -> torch.Tensor:
    """-log softmax(logits)[truth], index 1 being the finding."""
    return -torch.log_softmax(logits, -1)[int(truth)]


def slow_loss(output, label, mask, boxed, reduction):
    """L = CE(z) + CE(l) + R_j CE(p_j; m_j) + .5 CE(q), one image, finding and patch at a time."""
    terms = {name: [] for name in WEIGHTS}
    for b in range(label.shape[0]):
        for k in range(label.shape[1]):
            y = label[b, k].item()
            patches = [bool(mask[b, k].flatten()[j]) for j in range(mask[b, k].numel())]
            if not math.isnan(y):
                terms["global"].append(cross_entropy(output["global_logits"][b, k], y == 1))
                terms["pooled"].append(cross_entropy(output["pooled_logits"][b, k], y == 1))
            if (y == 0 or (y == 1 and any(patches))) and output["sparse_valid"][b, k]:
                terms["sparse"].append(cross_entropy(output["sparse_logits"][b, k], y == 1))
            # a finding whose boxes are complete and none is absent from every patch, labelled or not
            complete = y == 0 or (bool(boxed[b, k]) and (y != 1 or any(patches)))
            counted = [
                cross_entropy(output["patch_logits"][b, k, j], inside)
                for j, inside in enumerate(patches)
                if complete or inside
            ]
            if counted:
                total = sum(counted)
                terms["patch"].append(total if reduction == "sum" else total / len(counted))
    return sum(WEIGHTS[name] * sum(values) / max(1, len(values)) for name, values in terms.items())


def case(k, seed, b=5, side=4):
    """Random logits with all kinds of knowledge: labels 0, 1, unknown; boxes complete, incomplete, unknown."""
    g = torch.Generator().manual_seed(seed)
    p = side * side

    def logits(*shape):
        return (3 * torch.randn(*shape, 2, generator=g, dtype=torch.float64)).requires_grad_()

    label = torch.randint(0, 3, (b, k), generator=g).double()
    label[label == 2] = math.nan
    boxed = torch.rand(b, k, generator=g) < 0.6
    mask = (torch.rand(b, k, side, side, generator=g) < 0.2) & (label == 1)[..., None, None]
    mask &= (torch.rand(b, k, generator=g) < 0.7)[..., None, None]  # positives without boxes too
    output = {
        "global_logits": logits(b, k),
        "pooled_logits": logits(b, k),
        "sparse_logits": logits(b, k),
        "patch_logits": logits(b, k, p),
        "sparse_valid": torch.rand(b, k, generator=g) < 0.8,
        "scores": {"image": torch.rand(b, k, generator=g, dtype=torch.float64)},
    }
    return output, {"label": label, "patch_mask": mask, "boxed": boxed}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("k", [1, 8])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_loop(k, reduction, seed):
    output, target = case(k, seed)
    names = ["global_logits", "pooled_logits", "sparse_logits", "patch_logits"]
    fast = PatchCLIPLoss(patch_reduction=reduction, image_weight=0.0)(output, target)["loss"]
    slow = slow_loss(output, target["label"], target["patch_mask"], target["boxed"], reduction)
    assert abs(float(fast.detach()) - float(slow.detach())) < 1e-9
    for name in names:
        fast_gradient = torch.autograd.grad(fast, output[name], retain_graph=True)[0]
        slow_gradient = torch.autograd.grad(slow, output[name], retain_graph=True, allow_unused=True)[0]
        slow_gradient = torch.zeros_like(fast_gradient) if slow_gradient is None else slow_gradient
        torch.testing.assert_close(fast_gradient, slow_gradient, rtol=0, atol=1e-9)


def test_unknown_contributes_nothing():
    output, target = case(3, seed=1)
    target["label"][0] = math.nan
    target["patch_mask"][0] = False
    target["boxed"][0] = False
    loss = PatchCLIPLoss()(output, target)["loss"]
    loss.backward()
    for name in ("global_logits", "pooled_logits", "sparse_logits", "patch_logits"):
        assert output[name].grad[0].abs().max() == 0
        assert output[name].grad[1:].abs().max() > 0


@pytest.mark.parametrize("reduction", ["sum", "mean", "balanced", "focal"])
def test_an_all_unknown_batch_gives_a_finite_zero(reduction):
    output, target = case(4, seed=2)
    target["label"].fill_(math.nan)
    target["patch_mask"].fill_(False)
    target["boxed"].fill_(False)
    terms = PatchCLIPLoss(patch_reduction=reduction, pseudo_weight=1.0)(output, target)
    terms["loss"].backward()
    assert {name: float(t.detach()) for name, t in terms.items()} == dict.fromkeys(terms, 0.0)
    assert torch.isfinite(output["patch_logits"].grad).all()


def test_balanced_by_hand():
    # one finding, one image, four patches, one of them positive: (CE+ + mean of three CE-) / 2
    margins = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    logits = torch.stack([torch.zeros(4, dtype=torch.float64), margins], -1)[None, None]
    output, target = case(1, seed=0, b=1, side=2)
    output["patch_logits"] = logits
    target |= {"label": torch.ones(1, 1), "boxed": torch.ones(1, 1, dtype=torch.bool)}
    target["patch_mask"] = torch.tensor([True, False, False, False]).view(1, 1, 2, 2)
    terms = PatchCLIPLoss(patch_reduction="balanced")(output, target)
    positive = math.log1p(math.exp(-2))
    negative = sum(math.log1p(math.exp(m)) for m in (1, 0, -1)) / 3
    assert float(terms["patch"]) == pytest.approx((positive + negative) / 2, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_focal_equals_the_slow_loop(seed):
    output, target = case(3, seed)
    fast = PatchCLIPLoss(patch_reduction="focal")(output, target)["patch"]
    inside, outside = [], []
    for b in range(5):
        for k in range(3):
            y, mask = target["label"][b, k].item(), target["patch_mask"][b, k].flatten()
            complete = y == 0 or (bool(target["boxed"][b, k]) and (y != 1 or bool(mask.any())))
            focal = []
            for j in range(16):
                ce = cross_entropy(output["patch_logits"][b, k, j], bool(mask[j]))
                focal.append((1 - math.exp(-float(ce.detach()))) ** 2 * float(ce.detach()))
            if mask.any():
                lesion = [f for f, m in zip(focal, mask, strict=True) if m]
                inside.append(sum(lesion) / math.sqrt(len(lesion)))
            if complete:
                outside.append(sum(f for f, m in zip(focal, mask, strict=True) if not m))
            elif mask.any():
                outside.append(0.0)
    wanted = sum(inside) / max(1, len(inside)) + sum(outside) / max(1, len(outside))
    assert float(fast.detach()) == pytest.approx(wanted, abs=1e-12)


def test_weights_and_names():
    output, target = case(2, seed=3)
    loss = PatchCLIPLoss(2.0, 3.0, 5.0, 7.0, 11.0)
    terms = {name: float(t.detach()) for name, t in loss(output, target).items()}
    assert list(terms) == ["global", "pooled", "patch", "sparse", "image", "loss"]
    wanted = 2 * terms["global"] + 3 * terms["pooled"] + 5 * terms["patch"] + 7 * terms["sparse"] + 11 * terms["image"]
    assert terms["loss"] == pytest.approx(wanted, abs=1e-12)


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match=r"'avg'; give one of \('mean', 'sum', 'balanced', 'focal'\)"):
        PatchCLIPLoss(patch_reduction="avg")


def slow_pseudo(logits, label, mask, boxed):
    """U by the formula, one image and finding at a time."""
    terms = []
    for b in range(label.shape[0]):
        for k in range(label.shape[1]):
            if label[b, k] != 1 or mask[b, k].any() or boxed[b, k]:
                continue
            p = torch.softmax(logits[b, k].detach(), -1)[:, 1].tolist()
            ce = [(cross_entropy(z, False), cross_entropy(z, True)) for z in logits[b, k]]
            focal = [[(1 - torch.exp(-each)) ** 2 * each for each in pair] for pair in ce]
            inside = [j for j in range(len(p)) if p[j] >= max(p) / 2]
            outside = [j for j in range(len(p)) if p[j] < max(p) / 10]
            found = sum(focal[j][1] for j in inside) / math.sqrt(len(inside))
            terms.append(max(p) * (found + sum(focal[j][0] for j in outside)))
    return sum(terms) / max(1, len(terms))


@pytest.mark.parametrize("seed", range(4))
def test_what_has_a_label_and_no_box_learns_from_its_own_map(seed):
    output, target = case(8, seed, b=20)
    plain = PatchCLIPLoss(patch_reduction="focal")(output, target)
    terms = PatchCLIPLoss(patch_reduction="focal", pseudo_weight=0.5)(output, target)
    slow = slow_pseudo(output["patch_logits"], target["label"], target["patch_mask"], target["boxed"])
    assert abs(float(terms["pseudo"].detach()) - float(slow.detach())) < 1e-9
    assert float(terms["loss"].detach()) == pytest.approx(float(plain["loss"].detach() + 0.5 * slow.detach()))
    gradients = [torch.autograd.grad(each, output["patch_logits"])[0] for each in (terms["pseudo"], slow)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)
    taught = (target["label"] == 1) & ~target["patch_mask"].flatten(2).any(-1) & ~target["boxed"]
    assert taught.any()
    assert gradients[0][taught].abs().sum() > 0
    assert gradients[0][~taught].abs().sum() == 0


def test_pseudo_labels_count_for_nothing_where_all_boxes_are_known():
    output, target = case(8, 0)
    target["patch_mask"] = target["patch_mask"] | (target["label"] == 1)[..., None, None]
    assert PatchCLIPLoss(pseudo_weight=1.0)(output, target)["pseudo"] == 0
