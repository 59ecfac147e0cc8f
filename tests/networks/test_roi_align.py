"""Region pooling against average pooling, a linear ramp and a readable loop."""

import math

import pytest
import torch

from bundle.grid import boxes_in_grid
from bundle.networks.roi_align import roi_align

B, R, W, GRID = 2, 5, 3, (6, 8)
NAN = [math.nan] * 4


def numbers(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_boxes(seed=1, b=B, r=R):
    """From half a patch to the whole grid, some beyond its edge."""
    gh, gw = GRID
    low = numbers(b, r, 2, seed=seed) * torch.tensor([gw, gh]) - 1
    size = 0.5 + numbers(b, r, 2, seed=seed + 1) * 6
    return torch.cat([low, low + size], -1)


def interpolate(image, x, y):
    """The bilinear interpolant of (Gh, Gw, W) at one point, constant beyond the outermost centres."""
    gh, gw = image.shape[:2]
    x, y = min(max(x, 0.5), gw - 0.5) - 0.5, min(max(y, 0.5), gh - 0.5) - 0.5
    i, j = int(y), int(x)
    down, right = min(i + 1, gh - 1), min(j + 1, gw - 1)
    top = image[i, j] * (1 - (x - j)) + image[i, right] * (x - j)
    bottom = image[down, j] * (1 - (x - j)) + image[down, right] * (x - j)
    return top * (1 - (y - i)) + bottom * (y - i)


def by_hand(tokens, boxes, grid, cells):
    out = torch.zeros(*boxes.shape[:2], cells, cells, tokens.shape[-1], dtype=tokens.dtype)
    for b, r, i, j in torch.cartesian_prod(*[torch.arange(n) for n in out.shape[:4]]).tolist():
        x0, y0, x1, y1 = boxes[b, r].tolist()
        x0, x1 = [min(max(x, 0), grid[1]) for x in (x0, x1)]
        y0, y1 = [min(max(y, 0), grid[0]) for y in (y0, y1)]
        width, height = (x1 - x0) / cells, (y1 - y0) / cells
        columns, rows = math.ceil(width), math.ceil(height)
        values = [
            interpolate(
                tokens[b].unflatten(0, grid),
                x0 + j * width + (c + 0.5) / columns * width,
                y0 + i * height + (d + 0.5) / rows * height,
            )
            for d in range(rows)
            for c in range(columns)
        ]
        out[b, r, i, j] = torch.stack(values).mean(0)
    return out


@pytest.mark.parametrize("box", [[0, 0, 8, 6], [2, 1, 5, 3], [7, 5, 8, 6], [0, 2, 1, 6]])
def test_whole_patches_give_their_mean(box):
    tokens = numbers(1, 48, W).float()
    x0, y0, x1, y1 = box
    wanted = tokens.unflatten(1, GRID)[0, y0:y1, x0:x1].mean((0, 1))
    # a rounding error of the box's corners must change nothing
    for error in (0, 1e-5, -1e-5):
        given = torch.tensor(box, dtype=torch.float32) + torch.tensor([-error, -error, error, error])
        pooled = roi_align(tokens, given[None, None], GRID)
        torch.testing.assert_close(pooled[0, 0], wanted, atol=1e-4 if error else 1e-6, rtol=0)


def test_cells_of_whole_patches_give_their_means():
    tokens = numbers(1, 48, W)
    pooled = roi_align(tokens, torch.tensor([[[2.0, 0, 6, 6]]]).double(), GRID, output_size=2)
    wanted = tokens.unflatten(1, GRID)[0, :, 2:6].reshape(2, 3, 2, 2, W).mean((1, 3))  # rows 3 + 3, columns 2 + 2
    torch.testing.assert_close(pooled[0, 0], wanted)


def test_a_ramp_gives_the_value_at_the_centre():
    rows, columns = torch.meshgrid(torch.arange(6) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    ramp = torch.stack([columns, rows, 3 * columns - 2 * rows + 1], -1).flatten(0, 1)[None].double()
    boxes = torch.tensor([[[0.5, 0.5, 7.5, 5.5], [1.3, 2.1, 4.9, 2.6], [3.7, 0.9, 3.8, 4.2]]]).double()
    x, y = boxes[..., [0, 2]].mean(-1), boxes[..., [1, 3]].mean(-1)
    torch.testing.assert_close(roi_align(ramp, boxes, GRID), torch.stack([x, y, 3 * x - 2 * y + 1], -1))
    cells = roi_align(ramp, boxes, GRID, output_size=2)[0, 0]  # of the first box: 3.5 x 2.5 patches each
    torch.testing.assert_close(cells[..., 0], torch.tensor([[2.25, 5.75]] * 2).double())
    torch.testing.assert_close(cells[..., 1], torch.tensor([[1.75] * 2, [4.25] * 2]).double())


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_agrees_with_a_loop(cells):
    tokens, boxes = numbers(B, 48, W), random_boxes()
    wanted = by_hand(tokens, boxes, GRID, cells)
    pooled = roi_align(tokens, boxes, GRID, cells)
    assert pooled.shape == ((B, R, W) if cells == 1 else (B, R, cells, cells, W))
    torch.testing.assert_close(pooled, wanted[:, :, 0, 0] if cells == 1 else wanted)


def test_smaller_than_a_patch_gives_the_value_at_its_centre():
    tokens = torch.zeros(1, 48, 1)
    tokens[0, 2 * 8 + 3] = 1  # the patch around (3.5, 2.5)
    boxes = torch.tensor([[[3.4, 2.4, 3.6, 2.6], [3.9, 2.4, 4.1, 2.6], [3.9, 2.9, 4.1, 3.1]]])
    torch.testing.assert_close(roi_align(tokens, boxes, GRID)[0, :, 0], torch.tensor([1.0, 0.5, 0.25]))


def test_a_box_is_cut_to_the_image():
    tokens = numbers(1, 48, W)
    beyond = torch.tensor([[[-3.0, -1, 2, 4], [6, 4, 11, 7]]]).double()
    inside = torch.tensor([[[0.0, 0, 2, 4], [6, 4, 8, 6]]]).double()
    torch.testing.assert_close(roi_align(tokens, beyond, GRID), roi_align(tokens, inside, GRID), atol=0, rtol=0)


def test_what_is_not_in_the_image_gives_0_and_no_gradient():
    boxes = torch.tensor([[NAN, [9.0, 1, 12, 3], [2.0, 2, 2, 4], [1.0, 1, 3, 3], [0.0, math.nan, 1, 1]]])
    assert boxes_in_grid(boxes, GRID).tolist() == [[False, False, False, True, False]]
    tokens = numbers(1, 48, W).float().requires_grad_()
    pooled = roi_align(tokens, boxes, GRID)
    assert (pooled[0, [0, 1, 2, 4]] == 0).all()
    pooled.sum().backward()
    wanted = torch.zeros(GRID)
    wanted[1:3, 1:3] = 1 / 4
    torch.testing.assert_close(tokens.grad, wanted.flatten()[None, :, None].expand(1, 48, W))
    tokens.grad = None
    roi_align(tokens, boxes[:, :1], GRID).sum().backward()
    assert (tokens.grad == 0).all()


def test_no_regions():
    tokens = numbers(B, 48, W).requires_grad_()
    pooled = roi_align(tokens, torch.zeros(B, 0, 4).double(), GRID)
    assert pooled.shape == (B, 0, W)
    pooled.sum().backward()
    assert (tokens.grad == 0).all()


@pytest.mark.parametrize("cells", [1, 2])
def test_gradient(cells):
    tokens, boxes = numbers(B, 48, 2).requires_grad_(), random_boxes(seed=5, r=3)
    boxes[0, 1] = math.nan
    assert torch.autograd.gradcheck(lambda t: roi_align(t, boxes, GRID, cells), (tokens,))


def test_an_image_does_not_depend_on_its_batch():
    tokens, boxes = numbers(B, 48, W), random_boxes()
    boxes[0, 2:] = math.nan
    together = roi_align(tokens, boxes, GRID)
    for i in range(B):
        torch.testing.assert_close(roi_align(tokens[i : i + 1], boxes[i : i + 1], GRID)[0], together[i])


def test_bfloat16_tokens_stay_bfloat16():
    tokens, boxes = numbers(B, 48, W), random_boxes()
    rough = roi_align(tokens.bfloat16(), boxes.float(), GRID)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.double(), roi_align(tokens, boxes, GRID), atol=0.02, rtol=0)


def test_a_wrong_grid_is_refused():
    with pytest.raises(ValueError, match="48 tokens do not fill a grid of 7x7"):
        roi_align(numbers(1, 48, W), random_boxes(b=1), (7, 7))
    with pytest.raises(ValueError, match="output_size is 0"):
        roi_align(numbers(1, 48, W), random_boxes(b=1), GRID, 0)
