"""Baselines that see no map: greedy cover by brute force, candidates by hand, what is said to be localised."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bundle.comparison import Atlas, NoLookMarker, training_boxes
from bundle.comparison.box_places import TrainingBoxes
from bundle.comparison.unseeing import greedy_cover, judge_unseeing
from bundle.metrics.candidates import BOX, FINDING, PEAK, SCORE
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import Floats, of_finding
from tests.tiny import FINDINGS, write_tiny_data


def covered(box: Floats, point: tuple[float, float]) -> set[int]:
    return {i for i, (x0, y0, x1, y1) in enumerate(box) if x0 <= point[0] < x1 and y0 <= point[1] < y1}


@pytest.mark.parametrize("seed", range(8))
def test_greedy_cover_is_that_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.8, (12, 2))
    box = np.column_stack([low, np.minimum(low + rng.uniform(0.02, 0.5, (12, 2)), 1)])
    lattice, most = 5, 4
    points = [((i + 0.5) / lattice, (j + 0.5) / lattice) for i, j in itertools.product(range(lattice), repeat=2)]
    place, gained = greedy_cover(box, lattice, most)
    left = set(range(12))
    for x, y in place:
        adds = {point: len(left & covered(box, point)) for point in points}
        mine = min(points, key=lambda p: abs(p[0] - x) + abs(p[1] - y))
        assert mine == pytest.approx((x, y))
        assert adds[mine] == max(adds.values()) > 0
        left -= covered(box, mine)
    found = 12 - len(left)
    assert gained.sum() == found
    if len(place) < most:  # it ended because no point covers another box
        assert not any(left & covered(box, point) for point in points)
    best = max(len(set().union(*(covered(box, p) for p in each))) for each in itertools.combinations(points, 2))
    assert gained[:2].sum() >= (1 - 1 / np.e) * best


def test_of_equal_points_the_one_in_the_middle() -> None:
    place, gained = greedy_cover(np.array([[0.0, 0.2, 1.0, 0.8]]), 5, 3)
    assert place.tolist() == [[0.5, 0.5]]
    assert gained.tolist() == [1]


def test_without_boxes_there_are_no_points() -> None:
    place, gained = greedy_cover(np.empty((0, 4)), 4, 3)
    assert place.shape == (0, 2)
    assert gained.shape == (0,)


def test_training_boxes_are_shares_of_the_image_and_only_the_complete_ones(tmp_path: Path) -> None:
    path = write_tiny_data(tmp_path)
    document = json.loads(path.read_text())
    document["training"][0]["boxed"] = ["Effusion"]  # its Mass may be one of several
    path.write_text(json.dumps(document))
    boxes = training_boxes(path, "training", FINDINGS)
    wanted = []
    for i, entry in enumerate(document["training"]):
        height, width = (96, 112) if i % 2 else (120, 90)
        for box in entry["boxes"]:
            if box["finding"] in entry["boxed"]:
                x0, y0, x1, y1 = box["box"]
                wanted.append([FINDINGS.index(box["finding"]), x0 / width, y0 / height, x1 / width, y1 / height])
    assert len(wanted) == 9  # 6 Mass, 4 Effusion, less one
    np.testing.assert_allclose(np.column_stack([boxes.finding, boxes.box]), wanted)
    assert boxes.prevalence.tolist() == [4 / 12, 6 / 12]


def made(box: list[list[float]], finding: list[int]) -> TrainingBoxes:
    return TrainingBoxes(("A", "B"), np.array(box).reshape(-1, 4), np.array(finding, np.int64), np.array([0.5, 0.25]))


THREE = made([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5], [0.75, 0.75, 1, 1], [0.4, 0.4, 0.6, 0.6]], [0, 0, 0, 1])


def truth(index: int, boxes: list[list[float]], finding: list[int], size: tuple[int, int]) -> dict[str, Any]:
    label = torch.tensor([float(k in finding) for k in range(2)])
    return {
        "index": index,
        "label": label,
        "boxed": torch.ones(2, dtype=torch.bool),
        "boxes": torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        "box_finding": torch.tensor(finding, dtype=torch.int64),
        "stored_size": torch.tensor(size),
        "grid_size": (8, 8),
        "to_stored": torch.diag(torch.tensor([size[1] / 8, size[0] / 8, 1.0], dtype=torch.float64)),
    }


TRUTHS = [truth(0, [[0, 0, 50, 25]], [0], (50, 100)), truth(1, [[60, 120, 100, 200]], [0], (200, 100))]


def test_the_markers_table_by_hand() -> None:
    (first, second), scores = NoLookMarker(THREE, lattice=2).say(
        torch.tensor([[50, 100], [200, 100]]), torch.rand(2, 2)
    )
    assert first[:, FINDING].tolist() == [0, 0]  # the box of B holds no point of so coarse a lattice
    assert first[:, SCORE].tolist() == pytest.approx([1, 1 / 3])
    assert first[:, PEAK].tolist() == [[25, 12.5], [75, 37.5]]
    assert first[:, BOX].tolist() == [[0, 0, 50, 25], [50, 25, 100, 50]]
    assert second[:, PEAK].tolist() == [[25, 50], [75, 150]]
    assert scores.tolist() == [[0.5, 0.25]] * 2


def test_the_markers_records_count_as_any_methods() -> None:
    records = judge_unseeing(NoLookMarker(THREE, lattice=2), TRUTHS, torch.rand(2, 2), HitCriterion())
    data = of_finding(records, 0)
    assert data.lesion_score.tolist() == pytest.approx([1, 1 / 3])
    assert sorted(data.fp_score.tolist()) == pytest.approx([1 / 3, 1])
    assert records.images.scores["image"].tolist() == [[0.5, 0.25]] * 2


def test_the_atlas_ranks_images_by_their_score_and_points_where_boxes_lie() -> None:
    probability, sizes = torch.tensor([[0.2, 0.0], [0.8, 0.1]]), torch.tensor([[50, 100], [200, 100]])
    (first, second), scores = Atlas(THREE, side=4).say(sizes, probability)
    assert scores is probability
    # finding A: 1 in the upper left quarter, 1/2 in the lower right corner; B: a plateau of four cells; 0 at p = 0
    assert first[:, FINDING].tolist() == [0, 0]
    assert first[:, SCORE].tolist() == pytest.approx([0.2, 0.1])
    assert second[:, SCORE].tolist() == pytest.approx([0.8, 0.4, 0.1])
    assert first[:, PEAK].tolist() == [[25, 12.5], [87.5, 43.75]]
    assert second[:, BOX].tolist() == [[0, 0, 50, 100], [75, 150, 100, 200], [25, 50, 75, 150]]
