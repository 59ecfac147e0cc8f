"""Candidates from a detector's boxes: drawn cases, then brute force as the judge."""

import numpy as np
import pytest
import torch

from bundle.metrics.candidates import BOX, COLUMNS, FINDING, PEAK, SCORE
from bundle.metrics.detections import candidates_from_boxes, candidates_to_maps, image_scores

UNIT = torch.eye(3, dtype=torch.float64)


def extract(boxes, scores, size=(100, 100), affine=UNIT, **settings):
    boxes, scores = torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores, dtype=torch.float32)
    return candidates_from_boxes(boxes, scores, affine, size, **settings)


class TestDrawn:
    def test_one_box_of_two_findings_is_two_candidates(self):
        table = extract([[10, 20, 30, 60]], [[0.75, 0.5]])
        assert table.tolist() == [[0, 0.75, 20, 40, 10, 20, 30, 60], [1, 0.5, 20, 40, 10, 20, 30, 60]]
        assert table.shape[1] == len(COLUMNS)
        assert table.dtype == torch.float64

    def test_a_box_is_cut_to_the_image_and_its_peak_is_the_middle_of_what_is_left(self):
        assert extract([[-20, 90, 20, 120]], [[0.5]])[0, 2:].tolist() == [10, 95, 0, 90, 20, 100]

    def test_a_box_in_the_pad_is_dropped(self):
        # stored image of 40 x 100 (W x H) in the middle of a 100 px canvas: x is shifted by 30
        affine = torch.tensor([[1.0, 0, -30], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
        table = extract(
            [[0, 10, 30.5, 20], [75, 10, 95, 20], [40, 10, 60, 20]], [[0.9], [0.8], [0.7]], (100, 40), affine
        )
        assert table[:, BOX].tolist() == [[10, 10, 30, 20]]

    def test_floor_order_ties_and_the_most(self):
        boxes = [[n, 0, n + 10, 10] for n in range(0, 50, 10)]
        scores = [[0.25], [0.5], [0.125], [0.5], [0.0]]
        assert extract(boxes, scores, floor=0.2)[:, 4].tolist() == [10, 30, 0]
        assert extract(boxes, scores, floor=0.2, max_candidates=2)[:, 4].tolist() == [10, 30]
        assert len(extract(boxes, scores, floor=0.0, max_candidates=None)) == 4  # 0 is never one

    def test_overlap_is_within_a_finding(self):
        boxes = [[0, 0, 20, 20], [1, 0, 21, 20], [60, 60, 80, 80]]
        table = extract(boxes, [[0.9, 0.1], [0.8, 0.7], [0.5, 0.0]], overlap=0.5)
        assert table[:, [FINDING, 4]].tolist() == [[0, 0], [0, 60], [1, 1]]

    def test_no_boxes(self):
        assert extract(np.zeros((0, 4)), np.zeros((0, 3))).shape == (0, 8)
        assert image_scores(torch.zeros(0, 8), 2).tolist() == [0, 0]

    def test_the_best_candidate_speaks_for_the_image(self):
        table = extract([[0, 0, 9, 9], [20, 20, 29, 29]], [[0.25, 0, 0.5], [0.75, 0, 0.25]])
        assert image_scores(table, 3).tolist() == [0.75, 0, 0.5]


@pytest.mark.parametrize(
    ("boxes", "scores", "settings", "message"),
    [
        ([[0, 0, np.nan, 9]], [[0.5]], {}, "not finite"),
        ([[0, 0, 9, 9]], [[np.nan]], {}, "not finite"),
        ([[0, 0, 9, 9]], [[1.5]], {}, "0..1"),
        ([[0, 0, 9, 9]], [[0.5], [0.5]], {}, "must be"),
        ([[0, 0, 9, 9]], [[0.5]], {"floor": 2}, "floor"),
        ([[0, 0, 9, 9]], [[0.5]], {"overlap": -1}, "overlap"),
        ([[0, 0, 9, 9]], [[0.5]], {"max_candidates": 0}, "max_candidates"),
    ],
)
def test_what_is_refused(boxes, scores, settings, message):
    with pytest.raises(ValueError, match=message):
        extract(boxes, scores, **settings)


def random_boxes(seed, count=40):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 80, (count, 2)), rng.uniform(4, 30, (count, 2))
    return np.concatenate([corner, corner + size], 1), rng.uniform(0, 1, (count, 2))


def iou(a, b):
    side = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(side[0], 0) * max(side[1], 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize("seed", range(5))
def test_suppression_against_brute_force(seed):
    boxes, scores = random_boxes(seed)
    table = extract(boxes, scores, (200, 200), overlap=0.3, floor=0.1, max_candidates=None)
    for k in range(2):
        kept = []
        for i in sorted(range(len(boxes)), key=lambda i: -scores[i, k]):
            if scores[i, k] >= 0.1 and all(iou(boxes[i], boxes[j]) <= 0.3 for j in kept):
                kept.append(i)
        np.testing.assert_allclose(table[table[:, FINDING] == k][:, BOX], boxes[kept], rtol=1e-5)
        np.testing.assert_allclose(table[table[:, FINDING] == k][:, SCORE], scores[kept, k], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_maps_against_brute_force(seed):
    boxes, scores = random_boxes(seed, 6)
    table = extract(boxes, scores, (110, 110))
    to_stored = torch.tensor([[12.0, 0, -3], [0, 9, 5], [0, 0, 1]], dtype=torch.float64)
    maps = candidates_to_maps(table, 3, to_stored, (12, 10)).numpy()
    wanted = np.zeros((3, 12, 10))
    for row in range(12):
        for column in range(10):
            left, top = 12 * column - 3, 9 * row + 5
            for candidate in table.numpy():
                x0, y0, x1, y1 = candidate[BOX]
                if x0 < left + 12 and x1 > left and y0 < top + 9 and y1 > top:
                    k = int(candidate[FINDING])
                    wanted[k, row, column] = max(wanted[k, row, column], candidate[SCORE])
    np.testing.assert_allclose(maps, wanted, rtol=1e-6)
    assert not maps[2].any()


def test_the_peak_is_the_middle_of_the_box():
    boxes, scores = random_boxes(7)
    table = extract(boxes, scores, (200, 200))
    np.testing.assert_allclose(table[:, PEAK], (table[:, BOX][:, :2] + table[:, BOX][:, 2:]) / 2)
