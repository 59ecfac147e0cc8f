"""Intervals against published and other programs' values, by hand, and at their ends."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from bundle.metrics.intervals import (
    Area,
    Difference,
    Share,
    area_interval,
    difference_interval,
    mean_kind,
    share_interval,
    wilson,
)

NAN = math.nan


def area(positive: int, negative: int) -> Area:
    return Area(((positive, negative),), ((positive, negative),))


@pytest.mark.parametrize(("count", "of"), [(0, 9), (9, 9), (5, 9), (30, 62), (62, 62)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_that_of_scipy(count, of, level):
    expected = binomtest(count, of).proportion_ci(level, method="wilson")
    assert wilson(count / of, of, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_next_to_an_end_it_reaches_the_poisson_limit():
    assert wilson(1 / 12, 12)[0] == pytest.approx(-math.log(0.95) / 12)  # chance of none is .95
    assert wilson(11 / 12, 12) == pytest.approx(tuple(1 - end for end in wilson(1 / 12, 12)[::-1]))


@pytest.mark.parametrize("lesions", [12, 62, 200])
@pytest.mark.parametrize("truth", [0.9, 0.97, 0.99])
def test_it_holds_the_truth_exactly_so_often(lesions, truth):
    held = [
        k for k in range(lesions + 1) if wilson(k / lesions, lesions)[0] <= truth <= wilson(k / lesions, lesions)[1]
    ]
    assert binom.pmf(held, lesions, truth).sum() >= 0.94


class TestShare:
    def test_its_variance_says_of_how_many(self):
        draws = np.array([0.5, 0.7] * 50)  # m = .6, Var = .01: as of 24
        assert share_interval(0.6, draws, Share(100, 1e9)) == pytest.approx(wilson(0.6, 24))
        assert share_interval(0.6, draws, Share(20, 1e9)) == pytest.approx(wilson(0.6, 20))  # no more than there are

    def test_one_more_miss_is_of_a_patient_whose_lesions_go_together(self):
        draws = np.array([0.5, 0.7] * 50)  # as of 24 · 12 / 13 = 22.15, of which .4 are missed: 8.86
        once = 1 / ((8.861538 / 22.153846 + 1 / 13) / 9.861538)
        assert share_interval(0.6, draws, Share(100, 13)) == pytest.approx(wilson(0.6, once))
        none = share_interval(0.9999, np.array([0.9998, 1.0] * 50), Share(62, 40))  # hardly any: nearly of the patients
        assert none == pytest.approx(wilson(0.9999, 40), abs=1e-3)

    def test_where_replicates_agree_it_is_of_the_patients(self):
        assert share_interval(1.0, np.ones(9), Share(62, 40)) == pytest.approx(wilson(1.0, 40))

    def test_undefined_replicates_do_not_count(self):
        draws = np.array([0.5, 0.7] * 50)
        assert share_interval(0.6, np.append(draws, NAN), Share(30, 13)) == share_interval(0.6, draws, Share(30, 13))
        assert np.isnan(share_interval(0.6, np.full(3, NAN), Share(30, 13))).all()


class TestArea:
    def test_that_of_the_r_package_singlecasees(self):
        """NAP of (20, 20, 26, 25, 22, 23) and (28, 25, 24, 27, 30, 30, 29), as its tests have it."""
        alike = np.full(2, 38.5 / 42)
        assert area_interval(38.5 / 42, alike, area(7, 6)) == pytest.approx((0.5973193600, 0.9859976894), abs=1e-9)
        expected = 0.6591091902, 0.9822247871
        assert area_interval(38.5 / 42, alike, area(7, 6), 0.9) == pytest.approx(expected, abs=1e-9)

    def test_at_an_end_it_has_width(self):
        low, high = area_interval(1.0, np.ones(9), area(5, 4))
        assert (low, high) == (pytest.approx(0.6115, abs=1e-4), 1.0)
        assert area_interval(0.0, np.zeros(9), area(5, 4)) == (0.0, pytest.approx(1 - low))

    def test_variance_between_patients_widens_it(self):
        some = np.array([0.7, 0.9] * 50)
        low, high = area_interval(0.8, some, area(20, 20))
        wide_low, wide_high = area_interval(0.8, 0.8 + 2 * (some - 0.8), area(20, 20))
        assert wide_low < low < 0.8 < high < wide_high

    def test_a_mean_of_equal_areas_is_narrower_than_each(self):
        mean = mean_kind([area(12, 60)] * 4)
        alone, together = (area_interval(0.9, np.full(9, 0.9), kind) for kind in (area(12, 60), mean))
        assert together[1] - together[0] == pytest.approx((alone[1] - alone[0]) / 2, rel=0.15)


class TestDifference:
    def test_percentiles_where_they_have_width(self):
        draws = np.linspace(-0.1, 0.3, 1001)
        assert difference_interval(0.1, draws, Difference(9)) == pytest.approx((-0.09, 0.29))

    def test_where_no_patient_differs_some_of_all_still_may(self):
        share = wilson(0.0, 62)[1]
        assert difference_interval(0.0, np.zeros(9), Difference(62)) == pytest.approx((-share, share))
        assert difference_interval(1.0, np.ones(9), Difference(62)) == pytest.approx((1 - 2 * share, 1))

    def test_it_is_of_the_fewer_patients(self):
        assert Difference.of(area(5, 40)) == Difference(5)
        assert Difference.of(Share(62, 40)) == Difference(40)
        assert Difference.of(None) is None


def test_a_mean_is_of_one_kind_or_of_none():
    assert mean_kind([Share(6, 3), Share(12, 6)]) == Share(pytest.approx(16), pytest.approx(8))
    assert mean_kind([Share(6, 3), None]) is None
    assert mean_kind([Share(6, 3), area(3, 3)]) is None
    assert mean_kind([Difference(3), Difference(3)]) == Difference(pytest.approx(6))
