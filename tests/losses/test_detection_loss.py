"""DetectionLoss against the library's own loss where all is known, and silent where something is not."""

import math

import pytest
import torch
import torch.nn.functional as F

from bundle.losses import DetectionLoss
from tests.detectors import batch, tiny_detector

K = 3


def run(net, data, loss=None):
    out = net(data["image"], boxes=data["boxes"], box_finding=data["box_finding"])
    return out, (loss or DetectionLoss(K))(out, data)


@pytest.mark.parametrize("training", [True, False], ids=["training, with denoising", "evaluation"])
def test_where_all_is_known_it_is_the_librarys(training):
    net, data = tiny_detector().train(training), batch()
    torch.manual_seed(5)  # of the denoising queries
    out, terms = run(net, data)
    assert (out["denoising"] is not None) == training
    small = F.interpolate(data["image"], (64, 64), mode="bilinear", antialias=True)
    torch.manual_seed(5)
    wanted = net.detector((small - net.pixel_mean) / net.pixel_std, labels=out["targets"])
    assert terms["loss"].item() == pytest.approx(wanted.loss.item(), rel=1e-5)
    boxes = sum(v.item() for k, v in wanted.loss_dict.items() if "bbox" in k and "_dn_" not in k)
    assert terms["box"].item() == pytest.approx(boxes, rel=1e-5)
    assert terms["denoising"].item() > 0 if training else terms["denoising"].item() == 0


def test_every_parameter_learns():
    net, data = tiny_detector().train(), batch()
    run(net, data)[1]["loss"].backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


def forget(data, image, finding):
    """As where nobody drew boxes of this finding on this image, and its label is not known."""
    label, boxed = data["label"].clone(), data["boxed"].clone()
    label[image, finding], boxed[image, finding] = math.nan, False
    return {**data, "label": label, "boxed": boxed}


@pytest.mark.parametrize("positive", [False, True])
def test_unknown_pulls_nothing_to_zero(positive):
    net, data = tiny_detector().train(), forget(batch(), 1, 2)
    if positive:  # there, but nobody says where
        data["label"][1, 2] = 1
    out, terms = run(net, data)
    for logits in (out["layer_logits"], out["proposal_logits"]):
        logits.retain_grad()
    terms["loss"].backward()
    assert not out["layer_logits"].grad[1, :, :, 2].any()
    assert not out["proposal_logits"].grad[1, :, 2].any()
    assert out["layer_logits"].grad[1, :, :, :2].all()  # what is known counts
    assert out["layer_logits"].grad[0].any()


def test_a_label_of_zero_is_complete_and_empty():
    net, data = tiny_detector().eval(), batch()
    known = run(net, data)[1]
    data["boxed"] = data["label"] == 1  # complete only where there are boxes: label 0 says the rest
    assert run(net, data)[1]["loss"].item() == known["loss"].item()


def test_a_listed_box_of_an_incomplete_finding_is_learnt_and_no_other_query_punished():
    net, data = tiny_detector().train(), batch()
    data["boxed"][0, 1] = False  # label 1, one box listed, perhaps not the only one
    out, terms = run(net, data)
    out["layer_logits"].retain_grad()
    terms["loss"].backward()
    first = out["denoising"]["dn_num_split"][0]
    gradient = out["layer_logits"].grad[0, :, first:, 1]  # (L, Q)
    assert gradient.any()
    assert (gradient <= 0).all()  # pulled up
    assert (gradient != 0).sum(1).max() == 1  # the matched query of a layer
    assert terms["box"].item() > 0


def test_a_batch_without_a_box():
    net, data = tiny_detector().train(), batch()
    data["boxes"], data["box_finding"] = torch.zeros(3, 0, 4), torch.zeros(3, 0, dtype=torch.int64)
    data["label"] = torch.zeros(3, K)
    out, terms = run(net, data)
    assert out["denoising"] is None
    assert terms["class"].item() > 0
    assert terms["box"].item() == terms["giou"].item() == terms["denoising"].item() == 0
    terms["loss"].backward()
    assert all(p.grad is not None for p in net.parameters())  # DistributedDataParallel waits for each


def test_where_nothing_is_known_it_is_zero_and_finite():
    net, data = tiny_detector().train(), batch()
    data["boxes"], data["box_finding"] = torch.zeros(3, 0, 4), torch.zeros(3, 0, dtype=torch.int64)
    data["label"], data["boxed"] = torch.full((3, K), math.nan), torch.zeros(3, K, dtype=torch.bool)
    _, terms = run(net, data)
    assert terms["loss"].item() == 0
    terms["loss"].backward()
    assert not any(p.grad.any() for p in net.parameters())


def test_weights_scale_their_terms():
    net, data = tiny_detector().eval(), batch()
    one = run(net, data)[1]
    two = run(net, data, DetectionLoss(K, class_weight=2, box_weight=5, giou_weight=0))[1]
    assert two["class"].item() == pytest.approx(2 * one["class"].item(), rel=1e-5)
    assert two["box"].item() == pytest.approx(one["box"].item(), rel=1e-5)
    assert two["giou"].item() == 0


def test_boxes_that_are_not_finite_are_refused():
    net, data = tiny_detector().eval(), batch()
    out, _ = run(net, data)
    out["layer_boxes"] = out["layer_boxes"] * math.nan
    with pytest.raises(FloatingPointError, match="learning rate"):
        DetectionLoss(K)(out, data)
