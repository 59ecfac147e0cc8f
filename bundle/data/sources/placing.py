"""Boxes of a source in the pixels of the stored image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bundle.data.sources.faults import Faults
from bundle.data.sources.record import WHOLE, Box

__all__ = ["place_boxes"]

ASPECT = 0.01
"""By how much width and height of a copy may be scaled otherwise: sizes are whole numbers."""


def place_boxes(boxes: Sequence[Box], size: tuple[int, int], faults: Faults) -> tuple[list[dict[str, Any]], int]:
    """The datalist's boxes of one image, scaled to it and clipped.

    Args:
        boxes: of one image.
        size: (H, W) of the stored image.
        faults: a box that lies outside, or one drawn on a picture of another shape, is added.

    Returns:
        Boxes as a datalist has them, corners to four decimals, and how many were clipped.
    """
    height, width = size
    placed: list[dict[str, Any]] = []
    clipped = 0
    for box in boxes:
        scale = np.ones(4)
        if box.frame is not None:
            scale = np.array([width / box.frame[0], height / box.frame[1]] * 2)
            if box.frame != WHOLE and abs(scale[0] / scale[1] - 1) > ASPECT:
                wanted = f"{box.frame[0]} x {box.frame[1]}, on which the boxes were drawn, or a copy at another size"
                faults.add(box.where, "image", f"{width} x {height} pixels (columns x rows)", wanted)
                continue
        corners = (np.asarray(box.corners) * scale).round(4)
        inside = corners.clip(0, [width, height, width, height])
        if not (inside[2:] > inside[:2]).all():
            found = f"{_plain(corners)}, outside the image of {width} x {height} (columns x rows)"
            wanted = "x0, y0, x1, y1 inside it; is it in the pixels of another picture?"
            faults.add(box.where, f"box of {box.finding}", found, wanted)
            continue
        clipped += bool((inside != corners).any())
        who = {"reader": box.reader, "agreement": box.agreement}
        entry: dict[str, Any] = {"finding": box.finding, "box": _plain(inside), "caption": box.caption, **who}
        placed.append({key: value for key, value in entry.items() if value not in ("", None)})
    return placed, clipped


def _plain(corners: np.ndarray) -> list[float]:
    """Whole numbers without a point, as people write them."""
    return [int(corner) if corner == int(corner) else float(corner) for corner in corners]
