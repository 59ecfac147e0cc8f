"""The one place where pixels become patches and patches become pixels.

Three frames, all continuous, x right and y down, so that pixel (or patch) number i covers [i, i + 1):

- *stored*: pixels of the stored image, turned upright where they lie otherwise (`LoadRadiographd`), (W, H); boxes
  [x0, y0, x1, y1] live here, x1 and y1 exclusive;
- *canvas*: pixels of the network's input, (Wc, Hc);
- *grid*: patches of the vision tower, (Gw, Gh).

An affine map is a 3x3 matrix acting on column vectors (x, y, 1).
"""

import math

import torch


def grid_to_stored(canvas_from_stored: torch.Tensor, canvas: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """Affine map from the grid frame to the stored frame.

    Args:
        canvas_from_stored: (3, 3) affine, stored to canvas.
        canvas: (Hc, Wc), pixels of the canvas.
        grid: (Gh, Gw), patches of the canvas.

    Returns:
        (3, 3) float64 affine: inverse(canvas_from_stored) · diag(Wc / Gw, Hc / Gh, 1).
    """
    scale = torch.diag(torch.tensor([canvas[1] / grid[1], canvas[0] / grid[0], 1.0], dtype=torch.float64))
    return torch.linalg.inv(canvas_from_stored.double()) @ scale


def transform_boxes(boxes: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
    """Carry boxes along with an affine map; a turned box becomes the box around its four turned corners.

    Args:
        boxes: (N, 4) as [x0, y0, x1, y1]. NaN rows stay NaN.
        affine: (3, 3).

    Returns:
        (N, 4), same dtype.
    """
    x0, y0, x1, y1 = boxes.to(affine.dtype).unbind(-1)
    corners = torch.stack([torch.stack([x0, x1, x0, x1], -1), torch.stack([y0, y0, y1, y1], -1)], -1)  # (N, 4, 2)
    moved = corners @ affine[:2, :2].T + affine[:2, 2]
    return torch.cat([moved.amin(1), moved.amax(1)], -1).to(boxes.dtype)


def canvas_to_grid(boxes: torch.Tensor, canvas: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """Boxes (..., 4) from canvas pixels to the grid frame.

    Args:
        boxes: [x0, y0, x1, y1]. NaN rows stay NaN.
        canvas: (Hc, Wc).
        grid: (Gh, Gw).
    """
    return boxes * boxes.new_tensor([grid[1] / canvas[1], grid[0] / canvas[0]]).repeat(2)


def patch_boxes(grid: tuple[int, int]) -> torch.Tensor:
    """Every patch of a grid (Gh, Gw) as a box in the grid frame, row by row: (P, 4) float32."""
    y, x = torch.meshgrid(torch.arange(float(grid[0])), torch.arange(float(grid[1])), indexing="ij")
    low = torch.stack([x, y], -1).flatten(0, 1)  # (P, 2)
    return torch.cat([low, low + 1], -1)


def boxes_in_grid(boxes: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Which rows are boxes that show something: numbers, with an area inside the image.

    Args:
        boxes: (..., 4) as [x0, y0, x1, y1] in the grid frame (or the canvas frame). NaN rows are padding.
        grid: (Gh, Gw) (or (Hc, Wc)).

    Returns:
        (...) bool. False too for a box of zero area, and for one that lies outside the image.
    """
    x0, y0, x1, y1 = boxes.unbind(-1)
    gh, gw = grid
    wide = x1.clamp(0, gw) > x0.clamp(0, gw)  # False for NaN
    high = y1.clamp(0, gh) > y0.clamp(0, gh)
    return wide & high & torch.isfinite(boxes).all(-1)


def boxes_to_patch_mask(
    boxes: torch.Tensor,
    box_finding: torch.Tensor,
    num_findings: int,
    grid: tuple[int, int],
    canvas: tuple[int, int],
    min_patch_fraction: float = 0.5,
    min_box_fraction: float = 0.5,
) -> torch.Tensor:
    """Which patches carry which finding.

    With A the area, patch j is positive for finding k if some box b of finding k (cut to the canvas) has

        A(b ∩ j) >= min_patch_fraction · A(j)    the patch lies mostly inside the box, or
        A(b ∩ j) >= min_box_fraction · A(b)      the patch holds most of a box smaller than itself.

    A box that satisfies neither anywhere (small, across a corner of four patches) marks the one patch that holds
    most of it, so that no lesion is ever without a patch.

    Args:
        boxes: (N, 4) in canvas pixels. NaN rows (padding) mark nothing.
        box_finding: (N,) integers 0..num_findings-1, or -1 for padding.
        num_findings: K.
        grid: (Gh, Gw).
        canvas: (Hc, Wc).
        min_patch_fraction: share of a patch that must lie inside the box.
        min_box_fraction: share of the box that the patch must hold.

    Returns:
        (K, Gh, Gw) bool.
    """
    gh, gw = grid
    keep = torch.isfinite(boxes).all(-1) & (box_finding >= 0)
    boxes, box_finding = boxes[keep].double(), box_finding[keep]
    limit = boxes.new_tensor([gw, gh]).repeat(2)
    inside = torch.minimum(canvas_to_grid(boxes, canvas, grid).clamp(min=0), limit)  # a patch has area 1
    x0, y0, x1, y1 = inside.unbind(-1)
    inside_x = _overlap(x0, x1, gw)  # (N, Gw)
    inside_y = _overlap(y0, y1, gh)  # (N, Gh)
    overlap = inside_y[:, :, None] * inside_x[:, None, :]  # (N, Gh, Gw)
    area = ((x1 - x0) * (y1 - y0))[:, None, None]
    positive = (overlap >= min_patch_fraction - 1e-9) | (overlap >= min_box_fraction * area - 1e-9)
    best = overlap == overlap.amax((1, 2), keepdim=True)
    nowhere = ~positive.flatten(1).any(1)[:, None, None]
    positive = (positive | (best & nowhere)) & (overlap > 0)
    count = torch.zeros(num_findings, gh, gw, dtype=torch.int64, device=boxes.device)
    return count.index_add_(0, box_finding, positive.long()).bool()


def _overlap(low: torch.Tensor, high: torch.Tensor, cells: int) -> torch.Tensor:
    """Length of [low, high] inside each cell [i, i + 1): (N,), (N,) -> (N, cells)."""
    edge = torch.arange(cells, dtype=low.dtype, device=low.device)
    return (torch.minimum(high[:, None], edge + 1) - torch.maximum(low[:, None], edge)).clamp(min=0)


def patch_map_to_image(maps: torch.Tensor, grid_from_stored: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Draw patch maps at the stored image's pixels, bilinearly: along y, then along x.

    Args:
        maps: (K, Gh, Gw), a value per patch, at home in the patch's centre. Beyond the outermost centres the nearest
            one's value holds.
        grid_from_stored: (3, 3) affine, stored to grid (inverse of `grid_to_stored`): scale and offset only.
        size: (H, W) of the stored image.

    Returns:
        (K, H, W), dtype of `maps`; NaN where a pixel's centre lies outside the grid, because there the network has
        said nothing (0 would say "no finding").

    Raises:
        ValueError: the affine turns or shears.
    """
    affine = grid_from_stored.double().cpu()
    if max(abs(affine[0, 1]), abs(affine[1, 0])) > 1e-9 * affine.abs().max():
        raise ValueError("grid_from_stored must be scale and offset only: a turned map cannot be drawn row by row")
    lines, outside = maps, []
    for axis, count in ((1, size[0]), (2, size[1])):
        row = 2 - axis  # of the affine: 1 for y, 0 for x
        place = affine[row, row] * (torch.arange(count).double() + 0.5) + affine[row, 2]  # grid frame
        cells = maps.shape[axis]
        outside.append(((place < 0) | (place > cells)).to(maps.device))
        between = (place - 0.5).clamp(0, cells - 1)  # from centre to centre
        low = between.long().clamp(max=max(cells - 2, 0))
        share = (between - low).to(maps).unflatten(0, (-1, *[1] * (2 - axis)))
        first, second = (lines.index_select(axis, at.to(maps.device)) for at in (low, (low + 1).clamp(max=cells - 1)))
        lines = first.lerp(second, share)
    return lines.masked_fill(outside[0][:, None] | outside[1], math.nan)


def plane_size(tensor: torch.Tensor) -> tuple[int, int]:
    """(rows, columns) of the last two axes."""
    return int(tensor.shape[-2]), int(tensor.shape[-1])
