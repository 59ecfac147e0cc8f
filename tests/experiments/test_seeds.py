"""Intervals over few trainings: by hand, at their ends, and how often they hold the truth."""

import numpy as np
import pytest
from scipy.stats import norm, t

from bundle.experiments.seeds import interval_over_seeds, seeds_interval

WAVE = np.tile([-1.0, 1.0], 50)  # replicates of variance 1


def test_by_hand():
    low, high = seeds_interval([0.4, 0.5, 0.6], [value + 0.1 * WAVE for value in (0.4, 0.5, 0.6)])
    between, patients = 0.01 / 3, 0.01
    freedom = 2 * ((between + patients) / between) ** 2
    assert freedom == pytest.approx(32)
    half = t.ppf(0.975, freedom) * np.sqrt(between + patients)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


def test_patients_alone():
    """One training, or equal ones: nothing is known of the seeds, or they do nothing."""
    half = norm.ppf(0.975) * 0.1
    for number in (1, 3):
        expected = pytest.approx((0.5 - half, 0.5 + half))
        assert seeds_interval([0.5] * number, [0.5 + 0.1 * WAVE] * number) == expected


def test_seeds_alone():
    low, high = seeds_interval([0.4, 0.5, 0.6], [np.full(9, value) for value in (0.4, 0.5, 0.6)])
    half = t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


def test_it_ends_where_figures_do():
    draws = [0.98 + 0.1 * WAVE] * 3
    assert seeds_interval([0.98] * 3, draws)[1] == 1.0
    assert seeds_interval([-0.05] * 3, draws)[0] == 0.0
    assert seeds_interval([-0.05] * 3, draws, least=-1.0)[0] < -0.2


def test_a_number_an_image_may_exceed_one():
    low, high = interval_over_seeds([1.14, 1.06, 1.1], 0.01, most=np.inf)
    assert low < 1.1 < high
    assert interval_over_seeds([1.0, 0.9, 1.0], 0.01)[1] == 1.0


def test_without_width_there_is_none():
    assert seeds_interval([1.0] * 3, [np.ones(9)] * 3) == (None, None)


@pytest.mark.parametrize(("seeds", "patients"), [(0.05, 0.01), (0.02, 0.02), (0.01, 0.05)])
def test_three_seeds_hold_the_truth(seeds, patients):
    """Percentiles over three drawn seeds held it in .75 at worst."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        common = rng.normal(0, patients)
        values = 0.5 + common + rng.normal(0, seeds, 3)
        replicates = rng.normal(0, patients, 200)
        low, high = seeds_interval(values.tolist(), [value + replicates for value in values])
        held += low <= 0.5 <= high
    assert held / 400 >= 0.92
