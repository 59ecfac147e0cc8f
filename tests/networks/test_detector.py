"""The detector's call contract, its frames, its start, its weights, and that it learns."""

import math
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bundle.checkpoints import load_weights, save_atomically
from bundle.losses import DetectionLoss
from bundle.networks import BoxDetector
from bundle.networks.local_normalisation import LocalNormalisation
from tests.detectors import BACKBONE, FINDINGS, TRANSFORMER, batch, tiny_detector

B, K, Q, LAYERS = 3, 3, 10, 2


def test_output_without_boxes():
    net, data = tiny_detector().eval(), batch()
    with torch.no_grad():
        out = net(data["image"], full=True)
    assert set(out) == {"detection_boxes", "detection_scores"}
    assert out["detection_boxes"].shape == (B, Q, 4)
    assert out["detection_scores"].shape == (B, Q, K)
    assert out["detection_scores"].dtype == torch.float32
    assert 0 <= float(out["detection_scores"].min()) <= float(out["detection_scores"].max()) <= 1
    x0, y0, x1, y1 = out["detection_boxes"].unbind(-1)
    assert (x1 > x0).all()
    assert (y1 > y0).all()


def test_output_with_boxes_in_training():
    net, data = tiny_detector().train(), batch()
    out = net(data["image"], boxes=data["boxes"], box_finding=data["box_finding"])
    extra = out["denoising"]["dn_num_split"][0]
    assert extra > 0
    assert out["layer_logits"].shape == (B, LAYERS, extra + Q, K)
    assert out["layer_boxes"].shape == (B, LAYERS, extra + Q, 4)
    assert out["proposal_logits"].shape == (B, Q, K)
    assert out["proposal_boxes"].shape == (B, Q, 4)
    assert out["detection_boxes"].shape == (B, Q, 4)


def test_targets_are_without_padding_and_in_units_of_the_canvas():
    net, data = tiny_detector().eval(), batch()
    with torch.no_grad():
        targets = net(data["image"], boxes=data["boxes"], box_finding=data["box_finding"])["targets"]
    assert [t["class_labels"].tolist() for t in targets] == [[1, 0], [], [2]]
    torch.testing.assert_close(targets[0]["boxes"][0], torch.tensor([0.25, 0.4, 0.3, 0.4]))
    assert targets[1]["boxes"].shape == (0, 4)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (128, 96), (64, 64)])
def test_boxes_are_canvas_pixels_whatever_the_input_size(height, width):
    net = tiny_detector().eval()
    image = torch.rand(1, 1, height, width)
    with torch.no_grad():
        out = net(image)
        small = F.interpolate(image, (64, 64), mode="bilinear", antialias=True)
        raw = net.detector(pixel_values=(255 * small - 101.48761) / 83.43944)
    cx, cy, w, h = raw.pred_boxes[0].unbind(-1)
    wanted = torch.stack([(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height], -1)
    torch.testing.assert_close(out["detection_boxes"][0], wanted, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(out["detection_scores"][0], raw.logits[0].sigmoid())


def test_local_normalisation_comes_before_the_resizing():
    plain, local, data = tiny_detector().eval(), tiny_detector().eval(), batch()
    local.local_normalisation = LocalNormalisation(cell=4, reach=1)
    with torch.no_grad():
        wanted = plain(LocalNormalisation(cell=4, reach=1)(data["image"]))
        torch.testing.assert_close(local(data["image"]), wanted)
        assert not torch.equal(wanted["detection_scores"], plain(data["image"])["detection_scores"])


def test_more_padding_of_the_boxes_changes_nothing():
    net, loss, data = tiny_detector().eval(), DetectionLoss(K), batch()
    boxes = torch.cat([data["boxes"], torch.full((B, 3, 4), math.nan)], 1)
    finding = torch.cat([data["box_finding"], torch.full((B, 3), -1)], 1)
    with torch.no_grad():
        one = loss(net(data["image"], boxes=data["boxes"], box_finding=data["box_finding"]), data)
        two = loss(net(data["image"], boxes=boxes, box_finding=finding), data)
    assert {k: float(v) for k, v in one.items()} == {k: float(v) for k, v in two.items()}


def test_float32_whatever_the_autocast():
    net, data = tiny_detector().eval(), batch()
    with torch.no_grad():
        plain = net(data["image"])
        with torch.autocast("cpu", torch.bfloat16):
            cast = net(data["image"])
    assert cast["detection_boxes"].dtype == torch.float32
    torch.testing.assert_close(cast, plain)


def test_it_starts_fit_for_training_from_scratch():
    net, data = tiny_detector(), batch()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) > 20
    assert all(bool((m.weight == 1).all()) and m.weight.requires_grad for m in norms)
    net.eval()
    with torch.no_grad():
        scores = net(data["image"])["detection_scores"]
    assert 0.001 < float(scores.mean()) < 0.1  # the prior of .01
    outputs = {}
    net.detector.model.encoder.register_forward_hook(lambda *given: outputs.update(levels=given[2].last_hidden_state))
    with torch.no_grad():
        net.train()(data["image"])
    assert all(0.1 < float(level.std()) < 10 for level in outputs["levels"])


def test_it_needs_neither_torchvision_nor_timm():
    assert {"torchvision", "timm"}.isdisjoint(sys.modules)


def test_unknown_fields_are_refused():
    with pytest.raises(ValueError, match=r"transformer has 'num_querys'.*did you mean num_queries"):
        BoxDetector(FINDINGS, BACKBONE, {**TRANSFORMER, "num_querys": 3})
    with pytest.raises(ValueError, match=r"backbone has 'depth'"):
        BoxDetector(FINDINGS, {**BACKBONE, "depth": 3}, TRANSFORMER)
    with pytest.raises(ValueError, match="as many hidden_sizes as depths"):
        BoxDetector(FINDINGS, {**BACKBONE, "depths": [1, 1]}, TRANSFORMER)
    with pytest.raises(ValueError, match="input_size 100 is not a multiple of the coarsest stride, 32"):
        BoxDetector(FINDINGS, BACKBONE, TRANSFORMER, 100)
    with pytest.raises(ValueError, match="findings is empty"):
        BoxDetector([], BACKBONE, TRANSFORMER)


def test_fewer_levels_and_comments():
    net = BoxDetector(["Mass"], {**BACKBONE, "_desc_": "tiny"}, {**TRANSFORMER, "num_feature_levels": 2}, 64).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 1, 64, 64))["detection_scores"].shape == (1, Q, 1)


def test_weights_come_back_and_belong_to_their_findings(tmp_path):
    net, data = tiny_detector().eval(), batch()
    save_atomically(net.state_dict(), tmp_path / "model.pt")
    other = tiny_detector(seed=1).eval()
    load_weights(other, tmp_path / "model.pt")
    with torch.no_grad():
        torch.testing.assert_close(other(data["image"]), net(data["image"]))
    with pytest.raises(ValueError, match="weights are for the findings"):
        load_weights(tiny_detector(findings=["Mass", "Effusion", "Nodule"]), tmp_path / "model.pt")


def test_it_learns_two_images_by_heart():
    """A bright square is a mass, a dark one an effusion; in the end each is found, at its place, and nothing else."""
    torch.manual_seed(0)
    image = 0.5 + 0.02 * torch.randn(2, 1, 64, 64)
    boxes = torch.tensor([[[6.0, 12, 26, 40]], [[30.0, 30, 60, 52]]])
    finding = torch.tensor([[1], [0]])
    image[0, :, 12:40, 6:26], image[1, :, 30:52, 30:60] = 0.95, 0.05
    target = {"label": torch.tensor([[0.0, 1, 0], [1, 0, 0]]), "boxed": torch.ones(2, 3, dtype=torch.bool)}
    net, loss = tiny_detector(num_queries=5).train(), DetectionLoss(K)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(net(image, boxes=boxes, box_finding=finding), target)["loss"]
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] / 2
    with torch.no_grad():
        out = net.eval()(image)
    for b, k in ((0, 1), (1, 0)):
        best = int(out["detection_scores"][b, :, k].argmax())
        centre = (out["detection_boxes"][b, best, :2] + out["detection_boxes"][b, best, 2:]) / 2
        assert (boxes[b, 0, :2] < centre).all()
        assert (centre < boxes[b, 0, 2:]).all()
        others = [i for i in range(3) if i != k]
        assert out["detection_scores"][b, best, k] > 2 * out["detection_scores"][b, :, others].max()
