"""Pixels to patches and back."""

import math

import pytest
import torch

from bundle import frames
from bundle.grid import (
    boxes_to_patch_mask,
    canvas_to_grid,
    grid_to_stored,
    patch_boxes,
    patch_map_to_image,
    transform_boxes,
)
from bundle.transforms.canvas import fit_to_canvas


def mask_of(boxes, finding=None, k=1, grid=(4, 4), canvas=(40, 40), **fractions):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    finding = torch.zeros(len(boxes), dtype=torch.int64) if finding is None else torch.tensor(finding)
    return boxes_to_patch_mask(boxes, finding, k, grid, canvas, **fractions)


def drawn(mask):
    return ["".join("#" if v else "." for v in row) for row in mask.tolist()]


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        pytest.param([10, 10, 30, 20], ["....", ".##.", "....", "...."], id="whole patches"),
        pytest.param([10, 10, 25, 20], ["....", ".##.", "....", "...."], id="half a patch counts"),
        pytest.param([10, 10, 24, 20], ["....", ".#..", "....", "...."], id="less than half does not"),
        pytest.param([12, 12, 15, 15], ["....", ".#..", "....", "...."], id="a lesion smaller than a patch marks one"),
        pytest.param([18, 12, 23, 15], ["....", "..#.", "....", "...."], id="the patch that holds most of it"),
        pytest.param([7, 7, 14, 14], ["....", ".#..", "....", "...."], id="across a corner: the one with most"),
        pytest.param([-50, -50, 10, 10], ["#...", "....", "....", "...."], id="cut to the canvas"),
        pytest.param([50, 50, 60, 60], ["....", "....", "....", "...."], id="outside the canvas"),
    ],
)
def test_patch_mask_rule(box, wanted):
    assert drawn(mask_of([box])[0]) == wanted


def test_patch_mask_fractions_are_arguments():
    box = [[10, 10, 24, 20]]
    assert drawn(mask_of(box, min_patch_fraction=0.4)[0])[1] == ".##."
    assert drawn(mask_of([[7, 10, 12, 13]], min_box_fraction=0.4)[0])[1] == "##.."


def test_findings_do_not_mix_and_padding_marks_nothing():
    nan = math.nan
    mask = mask_of([[0, 0, 10, 10], [30, 30, 40, 40], [nan] * 4, [0, 0, 40, 40]], [0, 2, 1, -1], k=3)
    assert mask.shape == (3, 4, 4)
    assert mask.sum((1, 2)).tolist() == [1, 0, 1]
    assert mask[0, 0, 0]
    assert mask[2, 3, 3]


def test_canvas_to_grid_scales_each_axis():
    boxes = torch.tensor([[[10.0, 10, 30, 20]], [[math.nan] * 4]])
    moved = canvas_to_grid(boxes, canvas=(40, 80), grid=(4, 2))
    torch.testing.assert_close(moved[0], torch.tensor([[0.25, 1, 0.75, 2]]))
    assert torch.isnan(moved[1]).all()


def test_patch_boxes_go_row_by_row():
    assert patch_boxes((2, 3)).tolist() == [
        [0, 0, 1, 1],
        [1, 0, 2, 1],
        [2, 0, 3, 1],
        [0, 1, 1, 2],
        [1, 1, 2, 2],
        [2, 1, 3, 2],
    ]


def test_every_visible_lesion_has_a_patch():
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(500, 2, generator=g) * 38
    boxes = torch.cat([corner, corner + 0.2 + torch.rand(500, 2, generator=g) * 12], -1)
    for box in boxes:
        assert mask_of([box.tolist()]).any()


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (3000, 2500), (37, 452), (452, 452)])
def test_canvas_round_trip_to_half_a_pixel(size):
    _, affine = fit_to_canvas(torch.rand(1, *size), (452, 452))
    h, w = size
    boxes = torch.tensor([[0, 0, w, h], [w * 0.2, h * 0.3, w * 0.7, h * 0.4]])
    there = transform_boxes(boxes, affine)
    assert there.min() >= -0.5
    assert there.max() <= 452.5
    back = transform_boxes(there, torch.linalg.inv(affine))
    torch.testing.assert_close(back, boxes, atol=0.5, rtol=0)


@pytest.mark.parametrize("size", [(200, 320), (900, 700)])
def test_a_drawn_square_lands_where_its_box_goes(size):
    image = torch.zeros(1, *size)
    image[0, 40:100, 60:140] = 1
    canvas, affine = fit_to_canvas(image, (300, 300))
    x0, y0, x1, y1 = transform_boxes(torch.tensor([[60.0, 40, 140, 100]]), affine)[0].tolist()
    rows, columns = torch.where(canvas[0] > 0.5)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert all(abs(float(a) - b) <= 0.75 for a, b in zip(found, [x0, y0, x1, y1], strict=True))


def test_patch_map_returns_to_the_stored_image():
    size, canvas, grid = (100, 240), (128, 128), (8, 8)
    _, affine = fit_to_canvas(torch.rand(1, *size), canvas)
    to_stored = grid_to_stored(affine, canvas, grid)
    maps = torch.zeros(1, 8, 8)
    maps[0, 3, 5] = 1
    drawn_map = patch_map_to_image(maps, torch.linalg.inv(to_stored), size)
    assert drawn_map.shape == (1, *size)
    y, x = divmod(int(drawn_map[0].argmax()), size[1])
    centre = to_stored @ torch.tensor([5.5, 3.5, 1], dtype=torch.float64)
    assert abs(x + 0.5 - centre[0]) <= 1
    assert abs(y + 0.5 - centre[1]) <= 1


def test_outside_the_grid_is_nan():
    shifted = torch.tensor([[0.1, 0, -1.0], [0, 0.1, 0], [0, 0, 1]], dtype=torch.float64)  # left ten columns unseen
    image = patch_map_to_image(torch.rand(1, 4, 4), shifted, (40, 60))
    assert torch.isnan(image[0, :, :10]).all()
    assert torch.isfinite(image[0, :, 10:50]).all()
    assert torch.isnan(image[0, :, 50:]).all()


def test_the_drawn_map_is_grid_samples():
    maps = torch.rand(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for scale_x, scale_y, shift_x, shift_y in ((0.1, 0.1, 0, 0), (0.13, 0.07, -0.8, 0.4), (1.7, 2.3, 0.1, -0.2)):
        affine = torch.tensor([[scale_x, 0, shift_x], [0, scale_y, shift_y], [0, 0, 1]], dtype=torch.float64)
        y, x = torch.meshgrid(torch.arange(30).double() + 0.5, torch.arange(40).double() + 0.5, indexing="ij")
        where = torch.stack([2 * (scale_x * x + shift_x) / 7 - 1, 2 * (scale_y * y + shift_y) / 5 - 1], -1)
        drawn = patch_map_to_image(maps, affine, (30, 40))
        wanted = torch.nn.functional.grid_sample(maps[None], where[None], padding_mode="border", align_corners=False)[0]
        inside = (where.abs() <= 1).all(-1)
        assert torch.equal(~drawn.isnan(), inside.expand(2, 30, 40))
        torch.testing.assert_close(drawn[:, inside], wanted[:, inside], rtol=0, atol=1e-12)


def test_a_single_patch_covers_the_image_and_a_turned_map_is_refused():
    assert (
        patch_map_to_image(torch.full((1, 1, 1), 0.3), torch.diag(torch.tensor([0.1, 0.2, 1])), (5, 10)) == 0.3
    ).all()
    with pytest.raises(ValueError, match="scale and offset only"):
        patch_map_to_image(torch.rand(1, 4, 4), torch.tensor([[0.1, 0.1, 0], [-0.1, 0.1, 0], [0, 0, 1]]), (5, 5))


def test_frames_without_torch_are_the_same():
    _, affine = fit_to_canvas(torch.rand(1, 300, 200), (452, 452), 1.3)
    wanted = grid_to_stored(affine, (452, 452), (28, 14)).numpy()
    assert frames.grid_to_stored(affine.numpy(), (452, 452), (28, 14)) == pytest.approx(wanted, abs=1e-9)
