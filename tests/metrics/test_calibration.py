"""Calibration against scikit-learn, loops, and probabilities whose truth is known."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from bundle.metrics.calibration import (
    NO_LABELS,
    brier_score,
    by_other_half,
    calibration_error,
    fit_platt,
    reliability_curve,
)
from bundle.metrics.draws import Draws, draw_counts
from bundle.probability import calibrated

NAN = float("nan")


def random_case(seed: int, images: int = 200, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = rng.random(images)
    probability = np.round(probability, 1) if ties else probability
    label = (rng.random(images) < probability**2).astype(float)
    label[rng.random(images) < 0.1] = NAN
    return np.where(np.isnan(label), NAN, probability), label


class TestReliability:
    @pytest.mark.parametrize("ties", [False, True])
    @pytest.mark.parametrize("bins", [1, 2, 10, 37])
    @pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
    def test_is_scikit_learns(self, ties, bins, binning, strategy):
        probability, label = random_case(bins, ties=ties)
        known = ~np.isnan(label)
        observed, predicted = calibration_curve(label[known], probability[known], n_bins=bins, strategy=strategy)
        curve = reliability_curve(probability, label, bins, binning)
        np.testing.assert_allclose(curve.observed, observed, atol=1e-14)
        np.testing.assert_allclose(curve.predicted, predicted, atol=1e-14)
        assert curve.count.sum() == known.sum()

    def test_equal_mass_is_equal_mass(self):
        probability = np.random.default_rng(0).random(100) ** 3
        curve = reliability_curve(probability, np.arange(100) % 2, 5, "equal_mass")
        assert curve.count.tolist() == [20] * 5
        assert reliability_curve(probability, np.arange(100) % 2, 5).count.tolist() != [20] * 5

    def test_intervals_are_wilsons(self):
        curve = reliability_curve([0.1, 0.1, 0.1, 0.9], [0, 0, 1, 1], 2, level=0.9)
        z, p, n = 1.6448536269514722, 1 / 3, 3
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        assert (curve.low[0], curve.high[0]) == pytest.approx((middle - half, middle + half), abs=1e-12)

    def test_nothing(self):
        assert len(reliability_curve([NAN], [NAN]).count) == 0

    @pytest.mark.parametrize("options", [{"bins": 0}, {"binning": "uniform"}])
    def test_settings(self, options):
        with pytest.raises(ValueError, match="bins must be"):
            reliability_curve([0.5], [1], **options)


class TestError:
    def test_by_hand(self):
        # below 1/2: .2 and .4, one of two positive; above: .9, .7 and .6, two of three positive
        value = calibration_error([0.2, 0.4, 0.9, 0.7, 0.6], [0, 1, 1, 1, 0], bins=2)
        assert value == pytest.approx(2 / 5 * 0.2 + 3 / 5 * abs(2 / 3 - 2.2 / 3))

    def test_in_a_loop(self):
        probability, label = random_case(4)
        known = ~np.isnan(label)
        p, y = probability[known], label[known]
        edges = np.linspace(0, 1, 8)
        total = 0.0
        for b in range(7):
            mine = (p > edges[b]) & (p <= edges[b + 1])
            if b == 0:
                mine |= p <= edges[0]
            if mine.any():
                total += mine.sum() / len(p) * abs(y[mine].mean() - p[mine].mean())
        assert calibration_error(probability, label, bins=7)[0] == pytest.approx(total, abs=1e-14)

    def test_calibrated_is_small_and_overconfident_is_not(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(size=20_000)
        label = rng.random(20_000) < expit(logits)
        assert calibration_error(expit(logits), label)[0] < 0.012
        assert calibration_error(expit(4 * logits), label)[0] > 0.1

    def test_nothing(self):
        assert np.isnan(calibration_error([NAN], [NAN])).all()
        assert NO_LABELS == "no labelled images"


class TestBrier:
    def test_is_scikit_learns(self):
        probability, label = random_case(5)
        known = ~np.isnan(label)
        wanted = brier_score_loss(label[known], probability[known])
        assert brier_score(probability, label).tolist() == [pytest.approx(wanted, abs=1e-15)]

    def test_extremes(self):
        assert brier_score([1, 0], [1, 0]) == [0]
        assert brier_score([1, 0], [0, 1]) == [1]
        assert np.isnan(brier_score([NAN], [NAN])).all()


class TestPlatt:
    @pytest.mark.parametrize("seed", range(4))
    def test_is_the_minimum_of_the_smoothed_loss(self, seed):
        probability, label = random_case(seed)
        slope, offset, reason = fit_platt(probability, label)
        assert reason is None
        known = ~np.isnan(label)
        z, y = logit(np.clip(probability[known], 1e-6, 1 - 1e-6)), label[known]
        hits = y.sum()
        target = np.where(y == 1, (hits + 1) / (hits + 2), 1 / (len(y) - hits + 2))

        def loss(ab):
            p = expit(ab[0] * z + ab[1])
            return -np.mean(target * np.log(p) + (1 - target) * np.log1p(-p))

        searched = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}).x
        assert [slope, offset] == pytest.approx(searched, rel=1e-4, abs=1e-4)

    def test_finds_what_was_done_to_the_margin(self):
        rng = np.random.default_rng(0)
        truth = rng.normal(-2, 1.5, 40_000)
        label = (rng.random(len(truth)) < expit(truth)).astype(float)
        shifted = expit((truth + 3) / 0.5)  # far too high, far too sure
        slope, offset, _ = fit_platt(shifted, label)
        assert slope == pytest.approx(0.5, rel=0.05)
        assert offset == pytest.approx(-3, rel=0.05)
        assert calibration_error(shifted, label)[0] > 0.3
        assert calibration_error(calibrated(shifted, slope, offset), label)[0] < 0.015

    def test_scores_that_part_both_classes_have_one_too(self):
        slope, offset, reason = fit_platt([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
        assert reason is None
        assert np.isfinite([slope, offset]).all()

    @pytest.mark.parametrize(
        ("probability", "label", "reason"),
        [
            ([0.2, 0.4], [0, 0], "no positive images"),
            ([0.2, 0.4], [1, 1], "no negative images"),
            ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], "do not rise with the label"),
            ([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1], "do not rise with the label"),
        ],
    )
    def test_what_cannot_be_mended_says_why(self, probability, label, reason):
        slope, offset, said = fit_platt(probability, label)
        assert np.isnan([slope, offset]).all()
        assert reason in said


def test_replicates_of_the_error_are_those_of_resampling_moved_to_the_figure():
    probability, label = random_case(3)
    unit = np.arange(len(label)) // 2
    counts = draw_counts(unit[-1] + 1, 30, 5)
    drawn = []
    for column in counts.T:
        rows = np.repeat(np.arange(len(label)), column[unit])
        drawn.append(calibration_error(probability[rows], label[rows])[0])
    value = calibration_error(probability, label)[0]
    wanted = np.maximum(np.array(drawn) - np.mean(drawn) + value, 0)
    sample = np.concatenate([np.ones_like(counts[:, :1]), counts], 1)
    np.testing.assert_allclose(calibration_error(probability, label, Draws(sample, unit)), [value, *wanted])


@pytest.mark.parametrize("figure", [reliability_curve, calibration_error, brier_score])
@pytest.mark.parametrize(
    ("probability", "message"), [([0.5, NAN], "row 1 is nan"), ([0.5, 1.5], r"0\.\.1"), ([-0.1, 1], r"0\.\.1")]
)
def test_faults(figure, probability, message):
    with pytest.raises(ValueError, match=message):
        figure(probability, [0, 1])


def test_one_half_of_the_patients_mends_the_other():
    """Probabilities from another hospital, all too high; several images a patient; and where a half cannot teach."""
    rng = np.random.default_rng(0)
    truth = rng.random(4000)
    label = (rng.random(4000) < truth).astype(float)
    shifted, unit = expit(0.5 * logit(truth) + 2), np.arange(4000) // 2
    mended, reason = by_other_half(shifted, label, unit)
    assert reason is None
    assert calibration_error(shifted, label)[0] > 0.2
    assert calibration_error(mended, label)[0] < 0.03
    teaching = unit % 2 == 1
    wanted = calibrated(shifted[~teaching], *fit_platt(shifted[teaching], label[teaching])[:2])
    np.testing.assert_array_equal(mended[~teaching], wanted)  # no patient calibrates himself
    label[unit % 2 == 0] = 0
    assert "half of the patients" in by_other_half(shifted, label, unit)[1]
