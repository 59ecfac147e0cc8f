"""Calibration against scikit-learn, loops, and probabilities whose truth is known."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from bundle.metrics.calibration import (
    brier_score,
    calibration_error,
    fit_temperature,
    fit_temperatures,
    reliability_curve,
    scaled_probability,
)
from bundle.metrics.operating_point import proportion

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
        share = proportion(1, 3, 0.9)
        assert (curve.low[0], curve.high[0]) == (share.low, share.high)

    def test_nothing(self):
        assert len(reliability_curve([NAN], [NAN]).count) == 0

    @pytest.mark.parametrize("options", [{"bins": 0}, {"binning": "uniform"}])
    def test_settings(self, options):
        with pytest.raises(ValueError, match="bins must be"):
            reliability_curve([0.5], [1], **options)


class TestError:
    def test_by_hand(self):
        # below 1/2: .2 and .4, one of two positive; above: .9, .7 and .6, two of three positive
        value, _ = calibration_error([0.2, 0.4, 0.9, 0.7, 0.6], [0, 1, 1, 1, 0], 2)
        assert value == pytest.approx(2 / 5 * 0.2 + 3 / 5 * abs(2 / 3 - 2.2 / 3))

    @pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
    def test_in_a_loop(self, binning):
        probability, label = random_case(4)
        known = ~np.isnan(label)
        p, y = probability[known], label[known]
        edges = np.linspace(0, 1, 8) if binning == "equal_width" else np.quantile(p, np.linspace(0, 1, 8))
        total = 0.0
        for b in range(7):
            mine = (p > edges[b]) & (p <= edges[b + 1])
            if b == 0:
                mine |= p <= edges[0]
            if mine.any():
                total += mine.sum() / len(p) * abs(y[mine].mean() - p[mine].mean())
        assert calibration_error(probability, label, 7, binning)[0] == pytest.approx(total, abs=1e-14)

    def test_calibrated_is_small_and_overconfident_is_not(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(size=20_000)
        label = rng.random(20_000) < expit(logits)
        assert calibration_error(expit(logits), label)[0] < 0.012
        assert calibration_error(expit(4 * logits), label)[0] > 0.1

    def test_nothing(self):
        assert calibration_error([NAN], [NAN])[1] == "no labelled images"


class TestBrier:
    def test_is_scikit_learns(self):
        probability, label = random_case(5)
        known = ~np.isnan(label)
        wanted = brier_score_loss(label[known], probability[known])
        assert brier_score(probability, label) == (pytest.approx(wanted, abs=1e-15), None)

    def test_extremes(self):
        assert brier_score([1, 0], [1, 0]) == (0, None)
        assert brier_score([1, 0], [0, 1]) == (1, None)
        assert brier_score([NAN], [NAN])[1] == "no labelled images"


class TestTemperature:
    @pytest.mark.parametrize("unit", [1e-3, 1.0, 50.0])
    @pytest.mark.parametrize("seed", range(4))
    def test_is_the_likeliest(self, seed, unit):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=150) * 3
        label = (rng.random(150) < expit(logits / 2)).astype(float)
        label[:10] = NAN
        temperature, reason = fit_temperature(np.where(np.isnan(label), NAN, logits) * unit, label)
        assert reason is None
        known = ~np.isnan(label)

        def loss(log_t: float) -> float:
            return log_loss(label[known], expit(logits[known] / np.exp(log_t)))

        searched = np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10}).x)
        assert temperature / unit == pytest.approx(searched, rel=1e-5)
        assert 1 < searched < 4  # the truth is 2

    def test_scaling_mends_overconfidence(self):
        rng = np.random.default_rng(1)
        truth = rng.normal(size=20_000)
        label = rng.random(20_000) < expit(truth)
        temperature, _ = fit_temperature(4 * truth, label)
        assert temperature == pytest.approx(4, rel=0.05)
        assert calibration_error(scaled_probability(4 * truth, temperature), label)[0] < 0.015

    @pytest.mark.parametrize(
        ("logits", "label", "reason"),
        [
            ([1, 2], [0, 0], "no positive images"),
            ([1, 2], [1, NAN], "no negative images"),
            ([1, -2, -1], [1, 0, 0], "sign is right for every image"),
            ([-1, 2], [1, 0], "do not point towards the labels"),
            ([0, 0], [1, 0], "do not point towards the labels"),
        ],
    )
    def test_undefined(self, logits, label, reason):
        value, said = fit_temperature(logits, label)
        assert np.isnan(value)
        assert reason in said

    def test_a_wrong_sign_however_small_gives_a_finite_one(self):
        value, reason = fit_temperature([5.0, -5.0, -1e-6], [1, 0, 1])
        assert reason is None
        assert 0 < value < 1

    def test_one_per_finding(self):
        rng = np.random.default_rng(2)
        logits = rng.normal(size=(100, 3)) * [1, 2, 1]
        label = np.where(rng.random((100, 3)) < expit(logits / [1, 2, 1]), 1.0, 0.0)
        label[:, 2] = 0
        temperatures, reasons = fit_temperatures(logits, label)
        assert temperatures[:2].tolist() == [fit_temperature(logits[:, k], label[:, k])[0] for k in range(2)]
        assert np.isnan(temperatures[2])
        assert reasons == (None, None, "no positive images")
        scaled = scaled_probability(logits[:, :2], temperatures[:2])
        np.testing.assert_allclose(scaled, 1 / (1 + np.exp(-logits[:, :2] / temperatures[:2])))
        assert ((scaled > 0.5) == (logits[:, :2] > 0)).all()

    @pytest.mark.parametrize("temperature", [0, -1, NAN, np.inf])
    def test_temperatures_are_checked(self, temperature):
        with pytest.raises(ValueError, match="above 0"):
            scaled_probability([1.0], temperature)

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"\(I, K\)"):
            fit_temperatures([1.0], [1])


@pytest.mark.parametrize("figure", [reliability_curve, calibration_error, brier_score])
@pytest.mark.parametrize(
    ("probability", "message"), [([0.5, NAN], "row 1 is nan"), ([0.5, 1.5], r"0\.\.1"), ([-0.1, 1], r"0\.\.1")]
)
def test_faults(figure, probability, message):
    with pytest.raises(ValueError, match=message):
        figure(probability, [0, 1])
