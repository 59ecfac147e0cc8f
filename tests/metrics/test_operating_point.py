"""Thresholds chosen and judged, and average precision, against scikit-learn, formulas and real resampling."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, confusion_matrix, roc_curve

from bundle.metrics import draws
from bundle.metrics.draws import Draws, draw_counts
from bundle.metrics.operating_point import (
    NOTHING,
    average_precision,
    operating_figures,
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
        reached = figures["sensitivity"][0][0] + figures["specificity"][0][0] - 1
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
        for name, count, of in (
            ("sensitivity", tp, tp + fn),
            ("specificity", tn, tn + fp),
            ("ppv", tp, tp + fp),
            ("npv", tn, tn + fn),
        ):
            figure, own = figures[name]
            assert (figure.tolist(), own.sum()) == ([pytest.approx(count / of)], of)

    def test_the_threshold_itself_is_called(self):
        assert operating_figures([0.5, 0.4], [1, 0], 0.5)["sensitivity"][0] == [1]
        assert operating_figures([0.5, 0.4], [1, 0], 0.4)["specificity"][0] == [0]

    @pytest.mark.parametrize(
        ("label", "threshold", "name", "reason"),
        [
            ([1, 0], np.inf, "ppv", "no image is called positive"),
            ([1, 0], -np.inf, "npv", "no image is called negative"),
            ([0, NAN], 0.5, "sensitivity", "no positive images"),
            ([1, NAN], 0.5, "specificity", "no negative images"),
        ],
    )
    def test_nothing_to_count(self, label, threshold, name, reason):
        figure, own = operating_figures([0.5, 0.4], label, threshold)[name]
        assert np.isnan(figure).all()
        assert (own.sum(), NOTHING[name]) == (0, reason)

    def test_replicates_equal_resampling(self):
        scores, label = random_case(1, 24)
        unit = np.arange(24) // 2
        counts = draw_counts(12, 150, 0)
        replicates = operating_figures(scores, label, 0.9, Draws(counts, unit))
        assert tuple(replicates) == tuple(NOTHING)
        for r in range(150):
            rows = np.repeat(np.arange(24), counts[unit, r])
            figures = operating_figures(scores[rows], label[rows], 0.9)
            for name in NOTHING:
                assert replicates[name][0][r] == pytest.approx(figures[name][0][0], abs=1e-14, nan_ok=True)

    def test_a_threshold_that_was_never_found(self):
        with pytest.raises(ValueError, match="threshold is NaN"):
            operating_figures([0.5], [1], NAN)


class TestAveragePrecision:
    def test_by_hand(self):
        value = average_precision([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
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
        (value,) = average_precision(scores, label)
        assert value == pytest.approx(area, abs=1e-12)
        assert value == pytest.approx(average_precision_score(label[known], scores[known]), abs=1e-12)

    def test_equal_scores_are_one_step(self):
        assert average_precision(np.full(4, 0.5), [1, 0, 0, 0])[0] == pytest.approx(1 / 4)

    @pytest.mark.parametrize("label", [[0, 0], [1, NAN], [NAN, NAN]])
    def test_one_class(self, label):
        assert np.isnan(average_precision([0.1, 0.2], label)).all()

    @pytest.mark.parametrize(("images", "chunk"), [(60, 1 << 22), (60, 100), (8, 1 << 22)])
    def test_replicates_equal_resampling(self, images, chunk, monkeypatch):
        monkeypatch.setattr(draws, "_CHUNK", chunk)
        scores, label = random_case(3, images)
        unit = np.arange(images) // 2
        counts = draw_counts(images // 2, 150, 2)
        replicates = average_precision(scores, label, Draws(counts, unit))
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
    assert average_precision(scores, label).tolist() == [1.0]
