"""Who hits whom, drawn by hand; the oracle against every rectangle of patches."""

import itertools

import numpy as np
import pytest
import torch

from bundle.grid import boxes_to_patch_mask
from bundle.metrics.matching import Geometry, HitCriterion, match, oracle

CENTRE = HitCriterion()
GRID = Geometry(np.diag([10.0, 10.0, 1.0]), (40, 60), (4, 6))  # 4 x 6 patches of 10 px


def candidate(peak: tuple, score: float = 0.9, finding: int = 0, box: tuple | None = None) -> list:
    x, y = peak
    return [finding, score, x, y, *(box or (x - 5, y - 5, x + 5, y + 5))]


def test_centre_includes_the_low_side_and_excludes_the_high_side():
    peaks = [(10, 20), (29.999, 39.999), (30, 25), (15, 40), (9.999, 25), (15, 19.999)]
    found = match([candidate(peak) for peak in peaks], [[10, 20, 30, 40]], [0], CENTRE)
    assert found.hits[:, 0].tolist() == [True, True, False, False, False, False]
    assert found.hit_lesion.tolist() == [0, 0, -1, -1, -1, -1]


def test_only_the_own_finding_is_hit():
    found = match([candidate((15, 15), finding=1)], [[10, 10, 20, 20]], [0], CENTRE)
    assert found.hit_lesion.tolist() == [-1]
    assert found.lesion_scores.tolist() == [-np.inf]


def test_the_lesion_takes_its_best_hit_and_the_others_are_no_false_positives():
    found = match(
        [candidate((15, 15), 0.4), candidate((16, 16), 0.7), candidate((90, 90), 0.8)], [[10, 10, 20, 20]], [0], CENTRE
    )
    assert found.lesion_scores.tolist() == [0.7]
    assert found.hit_lesion.tolist() == [0, 0, -1]


def test_a_peak_in_two_boxes_of_one_finding_scores_for_both():
    boxes = [[0, 0, 20, 20], [10, 10, 40, 40]]
    found = match([candidate((12, 12), 0.6)], boxes, [0, 0], CENTRE)
    assert found.hits.tolist() == [[True, True]]
    assert found.lesion_scores.tolist() == [0.6, 0.6]
    assert found.hit_lesion.tolist() == [0]  # the nearer centre: (10, 10), not (25, 25)
    assert match([candidate((18, 18), 0.6)], boxes, [0, 0], CENTRE).hit_lesion.tolist() == [1]


def test_nothing_to_match():
    nobody = np.zeros((0, 8))
    found = match(nobody, [[0, 0, 1, 1]], [0], CENTRE)
    assert (found.hits.shape, found.lesion_scores.tolist()) == ((0, 1), [-np.inf])
    found = match([candidate((1, 1))], np.zeros((0, 4)), [], CENTRE)
    assert (found.hits.shape, found.hit_lesion.tolist()) == ((1, 0), [-1])
    assert match(nobody, np.zeros((0, 4)), [], HitCriterion("iou", 0.5)).hits.shape == (0, 0)
    assert oracle(np.zeros((0, 4)), CENTRE, GRID).shape == (0,)


@pytest.mark.parametrize(
    ("criterion", "box", "hit"),
    [
        (HitCriterion("iou", 0.5), (0, 0, 10, 20), True),  # 200 / 400
        (HitCriterion("iou", 0.51), (0, 0, 10, 20), False),
        (HitCriterion("iou", 0.5), (0, 0, 10, 19), False),
        (HitCriterion("iobb", 1.0), (5, 5, 6, 6), True),  # small inside large
        (HitCriterion("iou", 0.1), (5, 5, 6, 6), False),
        (HitCriterion("iobb", 0.25), (10, 10, 30, 30), True),  # 100 / 400
        (HitCriterion("iobb", 0.26), (10, 10, 30, 30), False),
        (HitCriterion("iobb", 0.01), (20, 0, 40, 20), False),  # touching is not overlapping
    ],
)
def test_overlap_criteria_at_their_threshold(criterion, box, hit):
    found = match([candidate((1, 1), box=box)], [[0, 0, 20, 20]], [0], criterion)
    assert found.hits.item() is hit


class TestPatch:
    def test_the_peak_patch_must_be_positive(self):
        # the box covers patch column 1 wholly, 40% of column 2, row 1 wholly
        criterion = HitCriterion("patch", 0.5, 1.0)
        rows = [candidate((11, 11)), candidate((19.9, 19.9)), candidate((21, 15)), candidate((15, 21))]
        found = match(rows, [[10, 10, 24, 20]], [0], criterion, GRID)
        assert found.hits[:, 0].tolist() == [True, True, False, False]
        assert match(rows, [[10, 10, 24, 20]], [0], HitCriterion("patch", 0.4, 1.0), GRID).hits[2, 0]

    def test_a_patch_that_holds_a_small_box_is_positive(self):
        rows = [candidate((11, 19)), candidate((31, 19))]
        found = match(rows, [[15, 12, 17, 14]], [0], HitCriterion("patch", 0.5, 0.5), GRID)
        assert found.hits[:, 0].tolist() == [True, False]

    def test_agrees_with_the_mask_that_training_uses(self):
        rng = np.random.default_rng(0)
        low = rng.random((40, 2)) * [50, 30]
        boxes = np.concatenate([low, np.minimum(low + 1 + rng.random((40, 2)) * 30, [60, 40])], 1)
        finding = rng.integers(0, 3, 40)
        mask = boxes_to_patch_mask(torch.tensor(boxes), torch.tensor(finding), 3, (4, 6), (40, 60), 0.5, 0.5).numpy()
        rows = [candidate((10 * j + 3, 10 * i + 7), finding=k) for k, i, j in np.ndindex(3, 4, 6)]
        found = match(rows, boxes, finding, HitCriterion("patch", 0.5, 0.5), GRID)
        np.testing.assert_array_equal(found.hits.any(1).reshape(3, 4, 6), mask)

    def test_needs_geometry(self):
        with pytest.raises(ValueError, match="geometry"):
            match([candidate((1, 1))], [[0, 0, 2, 2]], [0], HitCriterion("patch", 0.5, 0.5))


class TestOracle:
    def test_a_small_box_between_centres_is_out_of_reach(self):
        boxes = [[6, 6, 14, 14], [4, 4, 6, 6], [5, 5, 6, 6], [4, 4, 5, 5], [0, 0, 60, 40]]
        assert oracle(boxes, CENTRE, GRID).tolist() == [False, True, True, False, True]

    def test_patch_is_always_within_reach(self):
        assert oracle([[6, 6, 14, 14], [9, 9, 11, 11]], HitCriterion("patch", 1.0, 1.0), GRID).all()

    @pytest.mark.parametrize("name", ["iou", "iobb"])
    @pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
    def test_equals_the_best_of_all_rectangles_of_patches(self, name, threshold):
        rng = np.random.default_rng(1)
        low = rng.random((60, 2)) * [50, 30]
        boxes = np.concatenate([low, np.minimum(low + 0.5 + rng.random((60, 2)) * 25, [57, 40])], 1)
        geometry = Geometry(np.array([[10.0, 0, -3], [0, 10, -4], [0, 0, 1]]), (36, 57), (4, 6))  # cut by the image
        x, y = np.clip(np.arange(7) * 10 - 3, 0, 57), np.clip(np.arange(5) * 10 - 4, 0, 36)
        every = [
            candidate((0, 0), box=(x0, y0, x1, y1))
            for x0, x1 in itertools.combinations(x, 2)
            for y0, y1 in itertools.combinations(y, 2)
        ]
        criterion = HitCriterion(name, threshold)
        best = match(every, boxes, np.zeros(60, int), criterion).hits.any(0)
        np.testing.assert_array_equal(oracle(boxes, criterion, geometry), best)

    def test_patches_in_the_pad_do_not_help(self):
        geometry = Geometry(np.array([[10.0, 0, -10], [0, 10, 0], [0, 0, 1]]), (40, 40), (4, 6))
        assert oracle([[0, 0, 6, 6]], CENTRE, geometry).tolist() == [True]  # column 1
        assert oracle([[36, 0, 40, 6]], CENTRE, geometry).tolist() == [False]


class TestCriterion:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("center",), "unknown hit criterion"),
            (("centre", 0.5), "takes no threshold"),
            (("iou",), "needs a threshold"),
            (("iou", 0.0), r"\(0, 1\]"),
            (("iobb", 1.1), r"\(0, 1\]"),
            (("patch", 0.5), "box_fraction"),
            (("iou", 0.5, 0.5), "box_fraction"),
        ],
    )
    def test_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            HitCriterion(*arguments)

    @pytest.mark.parametrize(
        ("criterion", "text"),
        [
            (CENTRE, "centre: the peak lies inside the box"),
            (HitCriterion("iou", 0.3), "iou: intersection over their union >= 0.3"),
            (HitCriterion("iobb", 0.5), "iobb: intersection over the candidate's box >= 0.5"),
        ],
    )
    def test_says_its_threshold(self, criterion, text):
        assert str(criterion) == text
        assert "0.25" in str(HitCriterion("patch", 0.25, 0.5))


@pytest.mark.parametrize(
    ("table", "boxes", "finding", "message"),
    [
        (np.zeros((1, 7)), [[0, 0, 1, 1]], [0], "candidates must be"),
        ([candidate((1, 1), float("nan"))], [[0, 0, 1, 1]], [0], "finite"),
        ([candidate((1, 1))], [[0, 0, 1, 1]], [0, 1], "findings of shape"),
        ([candidate((1, 1))], [[1, 0, 1, 1]], [0], "x0 < x1"),
        ([candidate((1, 1))], [[np.nan] * 4], [0], "padding"),
    ],
)
def test_faults_are_named(table, boxes, finding, message):
    with pytest.raises(ValueError, match=message):
        match(table, boxes, finding, CENTRE)


def test_overlap_criteria_refuse_an_empty_candidate():
    with pytest.raises(ValueError, match="not empty"):
        match([candidate((1, 1), box=(1, 1, 1, 1))], [[0, 0, 2, 2]], [0], HitCriterion("iou", 0.5))
