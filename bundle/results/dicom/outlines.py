"""Boxes and maps as lines in DICOM's coordinates, which are the stored frame of `bundle.grid`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.measure import approximate_polygon, find_contours

_MOST_POINTS = 8000  # an FL of 16-bit length holds 8191 points (PS3.5 7.1.2)
_TOLERANCE = 0.25  # map pixels: maps are smooth, and half as many points show the same line


def box_outline(box: Sequence[float], stored_size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The closed outline of a box, clockwise from the top left: (5, 2) of (column, row).

    DICOM's spatial coordinates (PS3.3 C.18.6.1.2) and a presentation state's PIXEL units (C.10.5.1) are the stored
    frame of `bundle.grid`: the top left corner of the top left pixel is (0, 0), the bottom right corner of the last is
    (Columns, Rows). So the numbers are the box's own, x1 and y1 the outer edges of the last pixels.

    Args:
        box: [x0, y0, x1, y1], stored pixels, x1 and y1 exclusive.
        stored_size: (H, W); rounding that left the image is taken back.
    """
    x0, y0, x1, y1 = np.clip(np.asarray(box, np.float64), 0, np.tile(np.asarray(stored_size[::-1], np.float64), 2))
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])


def map_contours(
    probability: npt.NDArray[np.floating[Any]], stored_size: tuple[int, int], level: float
) -> list[npt.NDArray[np.float64]]:
    """Closed contours of a map at a level, in stored pixels.

    Args:
        probability: (h, w) over the whole stored image, pixel i of w covering [i, i + 1) · W / w; NaN counts as 0.
        stored_size: (H, W).
        level: of the contour.

    Returns:
        (N, 2) of (column, row) each, the first point again at the end, within the image.
    """
    h, w = probability.shape
    # A rim of 0 closes contours at the image's edge.
    rimmed = np.pad(np.nan_to_num(np.asarray(probability, np.float64)), 1)
    scale = np.array([stored_size[1] / w, stored_size[0] / h])
    contours = []
    for line in find_contours(rimmed, level):
        line = approximate_polygon(line, _TOLERANCE)
        if len(line) > _MOST_POINTS:
            line = np.concatenate([line[:-1][:: -(-len(line) // _MOST_POINTS)], line[-1:]])
        if len(line) < 4:  # a closed line of fewer encloses nothing
            continue
        # (row, column) of centres in the rimmed map -> (column, row) of continuous stored pixels
        points = (line[:, ::-1] - 1 + 0.5) * scale
        contours.append(np.clip(points, 0, stored_size[::-1]))
    return contours
