"""Boxes through every turn, onto any canvas and grid: none is lost, and what comes back is what went."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.grid import boxes_to_patch_mask, transform_boxes
from bundle.reading.upright import Upright
from bundle.transforms.canvas import fit_to_canvas
from tests.fuzz.profiles import examples

SIDE = st.integers(1, 5000)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[tuple[int, int], Any]:
    """(H, W), and (N, 4) boxes with an area in it."""
    size = draw(SIDE), draw(SIDE)
    boxes = []
    for _ in range(draw(st.integers(1, 3))):
        axes = []
        for length in size[::-1]:
            low = draw(st.floats(0, length * 0.999))
            axes.append((low, min(float(length), low + draw(st.floats(length * 1e-4, length)))))
        (x0, x1), (y0, y1) = axes
        boxes.append([x0, y0, x1, y1])
    return size, np.array(boxes)


@given(case=pictures(), orientation=st.integers(1, 8))
@examples(150)
def test_turned_boxes_stay_in_the_picture_and_come_back(case: Any, orientation: int) -> None:
    size, boxes = case
    turn = Upright.of(orientation)
    turned, (height, width) = turn.boxes(boxes, size), turn.size(size)
    x0, y0, x1, y1 = turned.T
    assert ((x0 >= -1e-9) & (x0 < x1) & (x1 <= width + 1e-9) & (y0 >= -1e-9) & (y0 < y1) & (y1 <= height + 1e-9)).all()
    back = transform_boxes(torch.from_numpy(turned), torch.from_numpy(np.linalg.inv(turn.matrix(size)))).numpy()
    np.testing.assert_allclose(back, boxes, atol=1e-6)


@given(case=pictures(), side=st.integers(16, 900), cells=st.integers(1, 56), aspect=st.floats(0.5, 2))
@examples(150)
def test_every_box_has_a_patch_and_comes_back_from_the_canvas(case: Any, side: int, cells: int, aspect: float) -> None:
    size, boxes = case
    if max(size) > 400:  # the picture itself is made
        size, boxes = tuple(-(-n // 13) for n in size), boxes / 13
    _, affine = fit_to_canvas(torch.zeros(1, *size), (side, side), aspect)
    placed = transform_boxes(torch.from_numpy(boxes), affine.double())
    assert placed.min() >= -1e-3
    assert placed.max() <= side + 1e-3
    back = transform_boxes(placed, torch.linalg.inv(affine.double()))
    torch.testing.assert_close(back, torch.from_numpy(boxes), atol=1e-3, rtol=1e-4)
    finding = torch.arange(len(boxes))
    mask = boxes_to_patch_mask(placed, finding, len(boxes), (cells, cells), (side, side))
    assert mask.flatten(1).any(1).all()
