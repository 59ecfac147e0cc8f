"""Slope and intercept against scikit-learn's regression, also of samples that are really drawn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bundle.metrics.draws import Draws, draw_counts
from bundle.metrics.recalibration import recalibration, undefined
from bundle.probability import calibrated, margin
from tests.metrics.drawn import NAN


def sample(seed: int, images: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = rng.beta(1, 2, images)
    label = (rng.random(images) < calibrated(probability, 0.7, -0.4)).astype(float)
    label[::11] = NAN
    return probability, label


def by_scikit_learn(probability, label, weight):
    known = ~np.isnan(label)
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000)
    fit.fit(margin(probability[known])[:, None], label[known], sample_weight=weight[known])
    return fit.coef_[0, 0], fit.intercept_[0]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_scikit_learns_fit(seed):
    probability, label = sample(seed)
    assert recalibration(probability, label)[:, 0] == pytest.approx(
        by_scikit_learn(probability, label, np.ones(120)), abs=1e-4
    )


def test_replicates_are_fits_of_drawn_patients():
    probability, label = sample(7)
    unit, counts = np.arange(120) // 2, draw_counts(60, 25, 1)
    slopes, intercepts = recalibration(probability, label, Draws(counts, unit))
    for replicate, drawn in enumerate(counts.T):
        expected = by_scikit_learn(probability, label, drawn[unit].astype(float))
        assert (slopes[replicate], intercepts[replicate]) == pytest.approx(expected, abs=1e-3)


def test_what_was_made_of_it_is_found_again():
    """Probabilities that a known slope and offset would mend, in a large sample."""
    probability, label = sample(0, 200_000)
    slope, intercept = recalibration(probability, label)[:, 0]
    assert (slope, intercept) == pytest.approx((0.7, -0.4), abs=0.03)
    assert recalibration(calibrated(probability, slope, intercept), label)[:, 0] == pytest.approx((1, 0), abs=1e-6)


def test_parted_classes_and_a_lacking_one_have_none():
    apart = np.array([0.1, 0.2, 0.3, 0.7, 0.8])
    label = np.array([0, 0, 0, 1, 1.0])
    assert np.isnan(recalibration(apart, label)).all()
    assert "part both classes" in undefined(label)
    assert np.isnan(recalibration(apart, np.zeros(5))).all()
    assert undefined(np.zeros(5)) == "no positive images"
    counts = np.array([[1, 2], [0, 0], [0, 1], [1, 1], [1, 0]], np.int32)  # parted; not parted
    slopes, _ = recalibration([0.1, 0.2, 0.3, 0.2, 0.8], label, Draws(counts, np.arange(5)))
    assert np.isnan(slopes[0])
    assert np.isfinite(slopes[1])


def test_constant_probabilities_have_no_slope():
    assert np.isnan(recalibration(np.full(6, 0.3), np.array([0, 1, 0, 1, 0, 0.0]))).all()
