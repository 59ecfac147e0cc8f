"""Thresholds chosen and judged, and average precision, against scikit-learn, formulas and real resampling."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, confusion_matrix, roc_curve

from bundle.metrics import operating_point
from bundle.metrics.bootstrap import draw_counts
from bundle.metrics.operating_point import (
    FIGURES,
    average_precision,
    average_precision_replicates,
    operating_figures,
    operating_replicates,
    proportion,
    sensitivity_threshold,
    youden_threshold,
)

NAN = float("nan")


def random_case(seed: int, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, labels of which some are unknown (their scores are NaN)."""
    rng = np.random.default_rng(seed)
    label = rng.choice([0.0, 0.0, 1.0, NAN], images)
    scores = np.round(rng.random(images) + 0.3 * (label == 1), 1)
    return np.where(np.isnan(label), NAN, scores), label


class TestYouden:
    def test_by_hand(self):
        scores, label = np.array([0.1, 0.4, 0.35, 0.8, 0.9]), np.array([0.0, 0, 1, 1, 1])
        assert youden_threshold(scores, label) == (0.8, None)  # J = 2/3; at .35 it is 1/2

    def test_of_equal_ones_the_highest(self):
        scores, label = np.array([1.0, 2, 3, 4]), np.array([0.0, 1, 0, 1])
        assert youden_threshold(scores, label) == (4, None)  # J = 1/2 at 4 and at 2

    def test_constant_scores_give_that_constant(self):
        assert youden_threshold(np.full(3, 0.5), np.array([0.0, 1, 1])) == (0.5, None)

    @pytest.mark.parametrize("seed", range(20))
    def test_reaches_scikit_learns_best(self, seed):
        scores, label = random_case(seed)
        known = ~np.isnan(label)
        fpr, tpr, _ = roc_curve(label[known], scores[known], drop_intermediate=False)
        threshold, _ = youden_threshold(scores, label)
        figures = operating_figures(scores, label, threshold)
        reached = figures.sensitivity.value + figures.specificity.value - 1
        assert reached == pytest.approx((tpr - fpr).max(), abs=1e-12)
        assert threshold in scores

    @pytest.mark.parametrize(("label", "reason"), [([0, 0], "no positive images"), ([1, NAN], "no negative images")])
    def test_one_class(self, label, reason):
        value, said = youden_threshold(np.array([0.1, 0.2]), np.array(label, float))
        assert np.isnan(value)
        assert said == reason


class TestWantedSensitivity:
    @pytest.mark.parametrize("wanted", [0.01, 0.5, 0.9, 0.95, 1.0])
    @pytest.mark.parametrize("seed", range(5))
    def test_is_the_highest_threshold_that_reaches_it(self, wanted, seed):
        scores, label = random_case(seed)
        positives = scores[label == 1]
        threshold, reason = sensitivity_threshold(scores, label, wanted)
        assert reason is None
        reaching = [t for t in np.unique(positives) if (positives >= t).mean() >= wanted - 1e-12]
        assert threshold == max(reaching)

    def test_rounding_does_not_ask_for_one_more(self):
        scores, label = np.arange(100.0), np.ones(100)
        for percent in range(1, 101):  # .07 · 100 is a little more than 7
            assert sensitivity_threshold(scores, label, percent / 100)[0] == 100 - percent

    def test_without_positives(self):
        assert sensitivity_threshold(np.ones(2), np.zeros(2), 0.9)[1] == "no positive images"

    @pytest.mark.parametrize("wanted", [0, 1.1, NAN])
    def test_out_of_range(self, wanted):
        with pytest.raises(ValueError, match="sensitivity must lie"):
            sensitivity_threshold(np.ones(2), np.ones(2), wanted)


class TestFigures:
    @pytest.mark.parametrize("seed", range(5))
    def test_counts_are_scikit_learns(self, seed):
        scores, label = random_case(seed)
        known = ~np.isnan(label)
        (tn, fp), (fn, tp) = confusion_matrix(label[known], scores[known] >= 0.6)
        figures = operating_figures(scores, label, 0.6)
        assert (figures.sensitivity.count, figures.sensitivity.of) == (tp, tp + fn)
        assert (figures.specificity.count, figures.specificity.of) == (tn, tn + fp)
        assert (figures.ppv.count, figures.ppv.of) == (tp, tp + fp)
        assert (figures.npv.count, figures.npv.of) == (tn, tn + fn)
        assert figures.ppv.value == pytest.approx(tp / (tp + fp))

    def test_the_threshold_itself_is_called(self):
        assert operating_figures([0.5, 0.4], [1, 0], 0.5).sensitivity.value == 1
        assert operating_figures([0.5, 0.4], [1, 0], 0.4).specificity.value == 0

    def test_wilsons_formula(self):
        for k, n in ((0, 7), (3, 7), (7, 7), (90, 100)):
            z, p = 1.959963984540054, k / n
            middle = (p + z * z / (2 * n)) / (1 + z * z / n)
            half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
            share = proportion(k, n)
            assert (share.value, share.reason) == (p, None)
            assert (share.low, share.high) == pytest.approx((middle - half, middle + half), abs=1e-12)
        assert proportion(3, 7, 0.9).low > proportion(3, 7, 0.95).low

    @pytest.mark.parametrize(
        ("threshold", "name", "reason"),
        [(np.inf, "ppv", "no image is called positive"), (-np.inf, "npv", "no image is called negative")],
    )
    def test_nothing_to_count(self, threshold, name, reason):
        share = getattr(operating_figures([0.5, 0.4], [1, 0], threshold), name)
        assert np.isnan([share.value, share.low, share.high]).all()
        assert (share.of, share.reason) == (0, reason)

    def test_missing_classes(self):
        assert operating_figures([0.5], [0], 0.5).sensitivity.reason == "no positive images"
        assert operating_figures([0.5], [1], 0.5).specificity.reason == "no negative images"

    def test_replicates_equal_resampling(self):
        scores, label = random_case(1, 24)
        unit = np.arange(24) // 2
        counts = draw_counts(12, 150, 0)
        replicates = operating_replicates(counts, scores, label, unit, 0.9)
        assert tuple(replicates) == FIGURES
        for r in range(150):
            rows = np.repeat(np.arange(24), counts[unit, r])
            figures = operating_figures(scores[rows], label[rows], 0.9)
            for name in FIGURES:
                assert replicates[name][r] == pytest.approx(getattr(figures, name).value, abs=1e-14, nan_ok=True)

    def test_a_threshold_that_was_never_found(self):
        with pytest.raises(ValueError, match="threshold is NaN"):
            operating_figures([0.5], [1], NAN)
        with pytest.raises(ValueError, match="threshold is NaN"):
            operating_replicates(np.ones((1, 1), np.int32), [0.5], [1], np.zeros(1, int), NAN)


class TestAveragePrecision:
    def test_by_hand(self):
        value, _ = average_precision([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
        assert value == pytest.approx((1 + 2 / 3) / 2)

    @pytest.mark.parametrize("seed", range(5))
    def test_is_scikit_learns_and_a_loops(self, seed):
        scores, label = random_case(seed)
        known = ~np.isnan(label)
        area, before = 0.0, 0.0
        for threshold in sorted(set(scores[known]), reverse=True):
            called = label[known & (scores >= threshold)]
            recall = called.sum() / (label == 1).sum()
            area, before = area + (recall - before) * called.mean(), recall
        value, reason = average_precision(scores, label)
        assert (value, reason) == (pytest.approx(area, abs=1e-12), None)
        assert value == pytest.approx(average_precision_score(label[known], scores[known]), abs=1e-12)

    def test_equal_scores_are_one_step(self):
        assert average_precision(np.full(4, 0.5), [1, 0, 0, 0])[0] == pytest.approx(1 / 4)

    @pytest.mark.parametrize(("label", "reason"), [([0, 0], "no positive images"), ([1, NAN], "no negative images")])
    def test_one_class(self, label, reason):
        value, said = average_precision([0.1, 0.2], label)
        assert np.isnan(value)
        assert said == reason

    @pytest.mark.parametrize(("images", "chunk"), [(60, 1 << 22), (60, 100), (8, 1 << 22)])
    def test_replicates_equal_resampling(self, images, chunk, monkeypatch):
        monkeypatch.setattr(operating_point, "_CHUNK", chunk)
        scores, label = random_case(3, images)
        unit = np.arange(images) // 2
        counts = draw_counts(images // 2, 150, 2)
        replicates = average_precision_replicates(counts, scores, label, unit)
        undefined = 0
        for r in range(150):
            rows = np.repeat(np.arange(images), counts[unit, r])
            rows = rows[~np.isnan(label[rows])]
            if len(set(label[rows])) < 2:
                undefined += 1
                assert np.isnan(replicates[r])
            else:
                assert replicates[r] == pytest.approx(average_precision_score(label[rows], scores[rows]), abs=1e-12)
        assert undefined or images > 8  # the smallest case must have met the undefined replicate

    def test_replicates_without_labels(self):
        nobody = np.full(2, NAN)
        assert np.isnan(average_precision_replicates(np.ones((2, 3), np.int32), nobody, nobody, np.arange(2))).all()


@pytest.mark.parametrize(
    ("scores", "label", "message"),
    [
        ([0.1, NAN], [0, 1], "score at row 1 is nan"),
        ([np.inf, 0.1], [0, 1], "score at row 0 is inf"),
        ([0.1, 0.2], [0, 2], "label at row 1 is 2"),
        ([0.1], [0, 1], r"must both be \(I,\)"),
        ([[0.1]], [[0]], "of one finding"),
    ],
)
@pytest.mark.parametrize("figure", [youden_threshold, average_precision, lambda s, y: operating_figures(s, y, 0.5)])
def test_faults_are_named(figure, scores, label, message):
    with pytest.raises(ValueError, match=message):
        figure(scores, label)


def test_tensors_are_taken_too():
    scores, label = torch.tensor([0.1, 0.9]), torch.tensor([0, 1])
    assert average_precision(scores, label) == (1.0, None)
    assert average_precision_replicates(np.ones((2, 1), np.int32), scores, label, np.arange(2)).tolist() == [1.0]
