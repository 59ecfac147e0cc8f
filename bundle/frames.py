"""The frames of `bundle.grid` for who has NumPy alone: where a radiograph lies on its canvas, and patches in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Where a radiograph lies on a canvas.

    Attributes:
        height: rows of the resized radiograph; it has square pixels.
        width: columns of it.
        top: rows of the canvas above it.
        left: columns of the canvas to its left.
        affine: (3, 3), stored pixels to canvas pixels, by the exact ratio of each axis.
    """

    height: int
    width: int
    top: int
    left: int
    affine: Affine


def fit(stored: tuple[int, int], canvas: tuple[int, int], pixel_aspect: float = 1.0) -> Fit:
    """The largest place on a canvas that keeps the body's proportions, centred.

    With pixels a times as high as wide the scale is s = min(Hc / (a·H), Wc / W); the resized image has round(s·a·H) x
    round(s·W) pixels.

    Args:
        stored: (H, W) of the radiograph.
        canvas: (Hc, Wc).
        pixel_aspect: a, row distance / column distance.
    """
    height, width = stored
    scale = min(canvas[0] / (pixel_aspect * height), canvas[1] / width)
    h, w = max(1, round(scale * pixel_aspect * height)), max(1, round(scale * width))
    top, left = (canvas[0] - h) // 2, (canvas[1] - w) // 2
    return Fit(h, w, top, left, np.array([[w / width, 0, left], [0, h / height, top], [0, 0, 1]], np.float64))


def grid_to_stored(canvas_from_stored: Affine, canvas: tuple[int, int], grid: tuple[int, int]) -> Affine:
    """`bundle.grid.grid_to_stored` of one image: inverse(canvas_from_stored) · diag(Wc / Gw, Hc / Gh, 1)."""
    patch = np.diag([canvas[1] / grid[1], canvas[0] / grid[0], 1.0])
    return np.asarray(np.linalg.inv(canvas_from_stored) @ patch)
