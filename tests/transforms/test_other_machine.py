"""The test section of another machine: the same lesions, elsewhere and in other greys, the same on every call."""

import pytest
import torch

from bundle.grid import transform_boxes
from bundle.transforms import OtherMachined

GREYS = {"blur": [0, 0], "fine": [1, 1], "middle": [1, 1], "base": [1, 1], "equalised": [0, 0], "noise": [0, 0]}


@pytest.fixture
def sample():
    """A canvas of 120 px, padded left and right by 20, of a picture half its size, with a bright square."""
    canvas = torch.zeros(1, 120, 120)
    canvas[:, :, 20:100] = 0.3
    canvas[:, 84:100, 76:92] = 0.9
    affine = torch.tensor([[2.0, 0, 20], [0, 2, 0], [0, 0, 1]], dtype=torch.float64)
    boxes = torch.tensor([[28.0, 42, 36, 50]])
    assert transform_boxes(boxes, affine).tolist() == [[76, 84, 92, 100]]
    return {"image": canvas, "canvas_from_stored": affine, "boxes": boxes, "index": 7}


def test_the_same_on_every_call_and_another_for_another_image(sample):
    one, again = OtherMachined(seed=3)(sample), OtherMachined(seed=3)(sample)
    assert torch.equal(one["image"], again["image"])
    assert torch.equal(one["canvas_from_stored"], again["canvas_from_stored"])
    for other in (OtherMachined(seed=4)(sample), OtherMachined(seed=3)({**sample, "index": 8})):
        assert (other["image"] - one["image"]).abs().mean() > 0.01
    assert 0 <= one["image"].min() < one["image"].max() <= 1


@pytest.mark.parametrize("field", [0.8, 1.0, 1.1])
def test_a_lesion_moves_with_its_box(sample, field):
    out = OtherMachined(ranges={**GREYS, "field": [field, field], "borders": [0.5]})(sample)
    box = transform_boxes(out["boxes"], out["canvas_from_stored"])[0].tolist()
    rows, columns = torch.where(out["image"][0] > (out["image"].max() + out["image"][0, 60, 60]) / 2)
    found = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    assert found == pytest.approx(box, abs=1.2)
    assert box[2] - box[0] == pytest.approx(16 * field)
    assert torch.equal(out["boxes"], sample["boxes"])


def test_no_lesion_leaves_the_field(sample):
    at_edge = {**sample, "boxes": torch.tensor([[0.0, 5, 10, 59]])}
    for boxes in (sample, at_edge):
        out = OtherMachined(ranges={"field": [1.9, 1.9]})(boxes)
        box = transform_boxes(out["boxes"], out["canvas_from_stored"])
        assert -1e-4 < box.min() < box.max() < 120 + 1e-4
    assert float(OtherMachined(ranges={"field": [1.9, 1.9]})(sample)["canvas_from_stored"][0, 0]) == pytest.approx(3.0)


@pytest.mark.parametrize("border", [0.0, 0.5, 1.0])
def test_a_smaller_picture_leaves_a_border_and_the_padding_stays_black(sample, border):
    out = OtherMachined(ranges={**GREYS, "field": [0.8, 0.8], "borders": [border], "steepness": [5, 5]})(sample)[
        "image"
    ]
    assert out[..., :20].max() == out[..., 100:].max() == 0
    frame = out[0, :10, 22:98]
    assert frame.min() == pytest.approx(float(frame.max()))
    inside = float(out[0, 60, 60])
    assert (float(frame[0, 0]) > inside) == (border > 0.3)


def test_tone_rises_with_grey_and_is_no_straight_line(sample):
    ramp = {**sample, "image": torch.linspace(0.01, 1, 120).expand(1, 120, 120), "boxes": torch.zeros(0, 4)}
    out = OtherMachined(ranges={**GREYS, "field": [1, 1], "centre": [0.5, 0.5], "steepness": [6, 6]})(ramp)
    steps = out["image"][0, 0].diff()
    assert steps.min() > 0
    assert steps[55:65].mean() > 3 * steps[:10].mean()
