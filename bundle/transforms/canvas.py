"""The network's input: the whole radiograph on a canvas of fixed size, the proportions of the body kept."""

import torch
import torch.nn.functional as F


def fit_to_canvas(
    image: torch.Tensor, size: tuple[int, int], pixel_aspect: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resize to fit, centre, and pad with 0 (black).

    With pixels a times as high as wide the scale is s = min(Hc / (a·H), Wc / W); the resized image has round(s·a·H) x
    round(s·W) square pixels. The affine map uses the exact ratio of each axis, so that no box is off by the rounding.

    Args:
        image: (1, H, W) float.
        size: (Hc, Wc) of the canvas.
        pixel_aspect: a, row distance / column distance.

    Returns:
        The canvas (1, Hc, Wc) and the (3, 3) float64 affine from stored pixels to canvas pixels (`bundle.grid` has
        the frames).
    """
    height, width = image.shape[-2:]
    scale = min(size[0] / (pixel_aspect * height), size[1] / width)
    h, w = max(1, round(scale * pixel_aspect * height)), max(1, round(scale * width))
    if (h, w) != (height, width):
        image = F.interpolate(image[None], (h, w), mode="bilinear", antialias=True, align_corners=False)[0]
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    canvas = F.pad(image, (left, size[1] - w - left, top, size[0] - h - top))
    affine = torch.tensor([[w / width, 0, left], [0, h / height, top], [0, 0, 1]], dtype=torch.float64)
    return canvas, affine
