"""Region pooling of patch tokens, aligned: without rounding and without a half-patch shift."""

import torch

from bundle.grid import boxes_in_grid


def roi_align(tokens: torch.Tensor, boxes: torch.Tensor, grid: tuple[int, int], output_size: int = 1) -> torch.Tensor:
    """Average the patch tokens inside each box, as RoIAlign does.

    A token is at home in its patch's centre; between centres the map is the bilinear interpolant, and from the
    outermost centres out to the edge it is constant. A box, cut to the image, is divided into S x S equal cells. A cell
    of w x h patches is sampled at ceil(w) x ceil(h) points, the centres of as many equal parts of it, and gets their
    mean. So

    - a box made of whole patches gives exactly the mean of their tokens (its points are the patches' centres);
    - on a map that is linear in x and y it gives the value at the cell's centre, half a patch or more from the edge;
    - a box smaller than a patch gives the interpolant at its centre.

    The points are separable, so that each cell is one weighted mean of all tokens: no loop over regions. Source: He et
    al., "Mask R-CNN", 2017, section 3, with torchvision's `aligned=True` and adaptive `sampling_ratio`; the cutting to
    the image is ours.

    Args:
        tokens: (B, P, W), patches row by row, P = Gh·Gw.
        boxes: (B, R, 4) as [x0, y0, x1, y1] in the grid frame. Rows that `boxes_in_grid` refuses (NaN padding, no area
            inside the image) give 0.
        grid: (Gh, Gw).
        output_size: S, cells along each side.

    Returns:
        (B, R, W), or (B, R, S, S, W) for S above 1, rows before columns; dtype of `tokens`.

    Raises:
        ValueError: the number of tokens is not that of the grid, or S is below 1.
    """
    gh, gw = grid
    if tokens.shape[1] != gh * gw:
        raise ValueError(f"roi_align: {tokens.shape[1]} tokens do not fill a grid of {gh}x{gw} patches.")
    if output_size < 1:
        raise ValueError(f"roi_align: output_size is {output_size}; give 1 or more.")
    there = boxes_in_grid(boxes, grid)
    x0, y0, x1, y1 = boxes.masked_fill(~there[..., None], 0).unbind(-1)  # NaN would spoil the gradient
    across = _weights(x0, x1, gw, output_size)  # (B, R, S, Gw)
    down = _weights(y0, y1, gh, output_size)  # (B, R, S, Gh)
    weights = down[:, :, :, None, :, None] * across[:, :, None, :, None, :]  # (B, R, S, S, Gh, Gw)
    weights = weights * there[:, :, None, None, None, None]
    pooled = weights.flatten(4).flatten(1, 3).to(tokens.dtype) @ tokens  # (B, R·S·S, W)
    shape = () if output_size == 1 else (output_size, output_size)
    return pooled.reshape(*boxes.shape[:2], *shape, tokens.shape[-1])


def _weights(low: torch.Tensor, high: torch.Tensor, patches: int, cells: int) -> torch.Tensor:
    """Each patch's share in each cell of [low, high], along one axis: (B, R), (B, R) -> (B, R, cells, patches)."""
    low, high = low.clamp(0, patches), high.clamp(0, patches)
    side = (high - low) / cells
    count = (side - 1e-3).ceil().clamp(min=1)[..., None]  # a rounding error must not add a point
    number = torch.arange(-(-patches // cells), device=low.device)  # of a point within its cell
    cell = torch.arange(cells, device=low.device)
    within = (number + 0.5) / count  # (B, R, n), 0..1 where there is such a point
    point = low[..., None, None] + (cell[:, None] + within[..., None, :]) * side[..., None, None]  # (B, R, cells, n)
    point = point.clamp(0.5, patches - 0.5)
    centre = torch.arange(patches, device=low.device) + 0.5
    hat = (1 - (point[..., None] - centre).abs()).clamp(min=0)  # (B, R, cells, n, patches)
    counted = (number < count)[..., None, :, None]
    return (hat * counted).sum(-2) / count[..., None]
