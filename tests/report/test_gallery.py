"""The gallery: which images it keeps, in how much memory, and that marks land on the lesion."""

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.grid import grid_to_stored
from bundle.report.gallery import FALSE_POSITIVE, HIT, MISS, Gallery, draw_sighting
from bundle.transforms.augment import warp
from bundle.transforms.canvas import fit_to_canvas

FINDINGS = ("Effusion", "Mass")
H, W, CANVAS, GRID = 60, 120, 96, 8  # twice as wide as high: the canvas has a pad above and below


def sample(index: int, scores: list[float], lesion: bool = True, boxed: bool = True) -> dict[str, Any]:
    """A Mass at [80, 10, 110, 40]; one candidate on it per score > 0 and a false positive at the left for score < 0."""
    image = torch.zeros(1, H, W)
    image[:, 10:40, 80:110] = 1.0
    canvas, affine = fit_to_canvas(image, (CANVAS, CANVAS))
    rows = [[1, abs(s), 95, 25, 80, 10, 110, 40] if s > 0 else [1, abs(s), 15, 25, 0, 10, 30, 40] for s in scores]
    return {
        "index": torch.tensor(index),
        "image": canvas,
        "canvas_from_stored": affine,
        "stored_size": torch.tensor([H, W]),
        "to_stored": grid_to_stored(affine, (CANVAS, CANVAS), (GRID, GRID)),
        "pred": torch.full((2, GRID, GRID), 0.1),
        "candidates": torch.tensor(rows, dtype=torch.float64).reshape(-1, 8),
        "label": torch.tensor([math.nan, float(lesion)]),
        "boxed": torch.tensor([False, boxed and lesion]),
        "boxes": torch.tensor([[80.0, 10, 110, 40] if lesion else [math.nan] * 4, [math.nan] * 4]),
        "box_finding": torch.tensor([1 if lesion else -1, -1]),
    }


def kept(gallery: Gallery, threshold: float = 0.5) -> list[tuple[str, int]]:
    return [(s.kind, s.index) for s in gallery.choose({0: threshold, 1: threshold})]


def test_it_keeps_the_surest_hits_the_worst_misses_and_the_surest_false_positives() -> None:
    gallery = Gallery(FINDINGS, size=6)
    for index, scores in enumerate([[0.6], [0.9], [0.7, -0.8], [0.2], [], [0.3, -0.4], [-0.95]]):
        gallery.add(sample(index, scores))
    gallery.add(sample(7, [-0.3], lesion=False))
    assert kept(gallery) == [(HIT, 1), (HIT, 2), (MISS, 4), (MISS, 6), (FALSE_POSITIVE, 6), (FALSE_POSITIVE, 2)]


def test_a_lesion_found_below_the_operating_score_is_a_miss() -> None:
    gallery = Gallery(FINDINGS, size=3)
    gallery.add(sample(0, [0.4]))
    assert kept(gallery, 0.5) == [(MISS, 0)]
    assert kept(gallery, 0.4) == [(HIT, 0)]


def test_images_that_do_not_count_are_not_shown() -> None:
    gallery = Gallery(FINDINGS, size=3)
    gallery.add(sample(0, [0.9, -0.9], boxed=False))  # positive, boxes not complete
    assert gallery.sightings() == []


def test_memory_is_bounded_and_the_order_of_images_does_not_matter() -> None:
    samples = [sample(i, [0.01 * i + 0.3, -0.01 * i - 0.01]) for i in range(40)]
    forward, backward = Gallery(FINDINGS, size=4, side=32), Gallery(FINDINGS, size=4, side=32)
    for one, other in zip(samples, reversed(samples), strict=True):
        forward.add(one)
        forward.add(one)  # samplers repeat images
        backward.add(other)
    assert len(forward.sightings()) == 3 * 2  # kinds · ceil(4 / 3), one finding
    assert all(s.picture.shape == (16, 32) and s.picture.dtype == np.uint8 for s in forward.sightings())
    assert kept(forward) == kept(backward)


def test_ranks_together_show_what_one_would() -> None:
    samples = [sample(i, [0.05 * i + 0.04, -0.03 * i - 0.01]) for i in range(12)]
    alone, ranks = Gallery(FINDINGS, size=6), [Gallery(FINDINGS, size=6) for _ in range(2)]
    for i, one in enumerate(samples):
        alone.add(one)
        ranks[i % 2].add(one)
    ranks[0].merge(ranks[1].sightings())
    assert kept(ranks[0]) == kept(alone)


def test_size_zero_keeps_nothing_and_reads_nothing() -> None:
    gallery = Gallery(FINDINGS, size=0)
    gallery.add({})
    assert gallery.choose({}) == []


def test_marks_lie_on_the_lesion_of_an_image_that_reaches_beyond_the_canvas() -> None:
    """Such as another machine's larger field."""
    gallery, case = Gallery(FINDINGS, size=3, side=240), sample(0, [0.9])
    move = torch.tensor([[1.2, 0, -0.1 * CANVAS], [0, 1.2, -0.1 * CANVAS], [0, 0, 1]], dtype=torch.float64)
    affine = move @ case["canvas_from_stored"]
    to_stored = grid_to_stored(affine, (CANVAS, CANVAS), (GRID, GRID))
    gallery.add({**case, "image": warp(case["image"], move), "canvas_from_stored": affine, "to_stored": to_stored})
    (sighting,) = (s for s in gallery.sightings() if s.kind == HIT)
    bright = np.argwhere(sighting.picture > 128)
    x0, y0, x1, y1 = sighting.boxes[0]
    assert np.abs(bright.min(0) - [y0, x0]).max() <= 1.5
    assert np.abs(bright.max(0) + 1 - [y1, x1]).max() <= 1.5


def test_marks_lie_on_the_lesion_of_an_image_that_the_canvas_padded() -> None:
    gallery = Gallery(FINDINGS, size=3, side=240)
    gallery.add(sample(0, [0.9]))
    (sighting,) = (s for s in gallery.sightings() if s.kind == HIT)
    height, width = sighting.picture.shape
    assert (height, width) == (48, 96)  # the canvas without its pad; never enlarged
    bright = np.argwhere(sighting.picture > 128)
    x0, y0, x1, y1 = sighting.boxes[0]
    assert np.abs(bright.min(0) - [y0, x0]).max() <= 1
    assert np.abs(bright.max(0) + 1 - [y1, x1]).max() <= 1
    assert sighting.candidates[0, 2:4] == pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2])
    picture = Image.open(io.BytesIO(draw_sighting(sighting, FINDINGS, 0.5)))
    assert picture.size == (width, height)
    assert picture.format == "JPEG"
