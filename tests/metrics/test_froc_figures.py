"""A figure and all its replicates at once, against a loop that really resamples."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bundle.metrics import FROCMetric, draws
from bundle.metrics.classification import auroc
from bundle.metrics.draws import Draws, draw_counts
from bundle.metrics.froc import FP_RATES, FROCCurve, froc_curve, sensitivity_at, wafroc
from bundle.metrics.froc_figures import fp_at_sensitivities, sensitivities, wafroc_area
from bundle.metrics.intervals import interval
from bundle.metrics.records import FindingRecords, of_finding
from tests.metrics.drawn import random_evaluation, resampled

NAN, MISSED = float("nan"), -np.inf
R = 60


def fp_at(curves: list[FROCCurve], sensitivity: float) -> float:
    """The lowest rate at which the mean of the curves, step by step, has the sensitivity."""
    rates = sorted({rate for curve in curves for rate in curve.fp_per_image.tolist()})
    reaching = [x for x in rates if np.mean([sensitivity_at(c, x) for c in curves]) >= sensitivity - 1e-9]
    return min(reaching, default=float("inf"))


def evaluation(images: int, seed: int = 0) -> tuple[list[FindingRecords], np.ndarray]:
    metric = FROCMetric(["A", "B", "C"])
    metric(*random_evaluation(images, seed=seed)[:2])
    records = metric.records()
    unit = np.unique(records.images.group, return_inverse=True)[1]
    return [of_finding(records, k) for k in range(3)], unit


@pytest.mark.parametrize(("images", "seed"), [(30, 0), (31, 1), (6, 2)])
@pytest.mark.parametrize("chunk", [1 << 22, 50])
def test_equals_resampling_exactly(images, seed, chunk, monkeypatch):
    monkeypatch.setattr(draws, "_CHUNK", chunk)
    selections, unit = evaluation(images, seed)
    counts = draw_counts(unit.max() + 1, R, seed)
    drawn = Draws(counts, unit)
    undefined = 0
    for data in selections:
        froc = sensitivities(drawn, data, (0.0, 0.3, *FP_RATES))
        area = wafroc_area(drawn, data)
        for r in range(R):
            fp, lesion, lesion_image, normal, n = resampled(data, counts[unit, r])
            if not lesion:
                undefined += 1
                assert np.isnan(froc[:, r]).all()
                assert np.isnan(area[r])
                continue
            curve = froc_curve(fp, lesion, n)
            assert froc[:, r].tolist() == [sensitivity_at(curve, rate) for rate in (0.0, 0.3, *FP_RATES)]
            if normal:
                assert area[r] == pytest.approx(wafroc(normal, lesion, lesion_image), abs=1e-13)
            else:
                assert np.isnan(area[r])
    assert undefined or images > 6  # the smallest case must have met the undefined replicate


@pytest.mark.parametrize(("images", "seed"), [(30, 0), (31, 1), (6, 2)])
@pytest.mark.parametrize("chunk", [1 << 22, 50])
def test_false_positives_at_a_sensitivity_equal_resampling_exactly(images, seed, chunk, monkeypatch):
    monkeypatch.setattr(draws, "_CHUNK", chunk)
    selections, unit = evaluation(images, seed)
    counts = draw_counts(unit.max() + 1, R, seed)
    drawn = Draws(counts, unit)
    wanted = (0.0, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.9, 1.0)
    own = np.random.default_rng(seed).random((2, R))  # a sensitivity for each replicate
    each = [fp_at_sensitivities(drawn, [data], wanted) for data in selections]
    varied = fp_at_sensitivities(drawn, selections[:1], own)
    mean = fp_at_sensitivities(drawn, selections, wanted)
    for r in range(R):
        curves = []
        for k, data in enumerate(selections):
            fp, lesion, _, _, n = resampled(data, counts[unit, r])
            if not lesion:
                assert np.isnan(each[k][:, r]).all()
                assert k or np.isnan(varied[:, r]).all()
                continue
            curves.append(froc_curve(fp, lesion, n))
            assert each[k][:, r].tolist() == [fp_at(curves[-1:], s) for s in wanted]
            if k == 0:
                assert varied[:, r].tolist() == [fp_at(curves[:1], s) for s in own[:, r]]
        if len(curves) < 3:
            assert np.isnan(mean[:, r]).all()
        else:
            assert mean[:, r].tolist() == [fp_at(curves, s) for s in wanted]
    assert np.isinf(each).any()
    assert not np.isinf(mean[0]).any()


def test_the_first_column_is_the_figure():
    selections, unit = evaluation(50)
    drawn = Draws.of(unit, 3)
    for data in selections:
        curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
        assert sensitivities(drawn, data)[:, 0].tolist() == [sensitivity_at(curve, x) for x in FP_RATES]
        expected = wafroc(data.normal_score, data.lesion_score, data.lesion_image)
        assert wafroc_area(drawn, data)[0] == pytest.approx(expected, abs=1e-14)


def test_area_equals_scikit_learn_on_resampled_data():
    rng = np.random.default_rng(0)
    scores, label = np.round(rng.random(80), 1), rng.random(80) < 0.2
    unit = np.arange(80) // 3
    counts = draw_counts(27, 200, 1)
    mine = auroc(scores, label.astype(float), Draws(counts, unit))
    for r in range(200):
        rows = np.repeat(np.arange(80), counts[unit, r])
        if label[rows].all() or not label[rows].any():
            assert np.isnan(mine[r])
        else:
            assert mine[r] == pytest.approx(roc_auc_score(label[rows], scores[rows]), abs=1e-13)


def test_area_without_one_class_is_undefined_everywhere():
    counts = draw_counts(4, 5, 0)
    assert np.isnan(auroc(np.ones(4), np.zeros(4), Draws(counts, np.arange(4)))).all()


def test_lesions_never_found_are_zero_not_undefined():
    data = FindingRecords(
        image=np.arange(3),
        fp_score=np.array([0.5]),
        fp_image=np.array([2]),
        lesion_score=np.array([-np.inf, -np.inf]),
        lesion_image=np.array([0, 1]),
        normal_score=np.array([0.5]),
        normal_image=np.array([2]),
        lesion_oracle=np.ones(2),
        lesion_cnr=np.ones(2),
    )
    counts = np.array([[1, 0], [1, 0], [1, 3]], np.int32)
    result = sensitivities(Draws(counts, np.arange(3)), data)
    assert result[:, 0].tolist() == [0.0] * 7
    assert np.isnan(result[:, 1]).all()


def drawn_by_hand(fp: list, lesion: list, images: int) -> FindingRecords:
    """One finding, everything in the first image."""
    at, nothing = (np.zeros(len(each), int) for each in (fp, lesion)), np.zeros(0)
    first, second = at
    return FindingRecords(
        np.arange(images),
        np.asarray(fp, float),
        first,
        np.asarray(lesion, float),
        second,
        nothing,
        nothing.astype(int),
        np.ones(len(lesion)),
        np.ones(len(lesion)),
    )


def rate_at(findings: list[FindingRecords], sensitivity: float) -> float:
    drawn = Draws.alone(len(findings[0].image))
    return float(fp_at_sensitivities(drawn, findings, [sensitivity])[0, 0])


class TestFalsePositivesAtASensitivity:
    DRAWN = drawn_by_hand([0.7, 0.3, 0.25], [0.8, 0.5, 0.2, MISSED], 2)

    def test_the_strictest_point_that_has_it(self):
        wanted = {0: 0, 0.25: 0, 0.26: 0.5, 0.5: 0.5, 0.51: 1.5, 0.75: 1.5}
        assert {s: rate_at([self.DRAWN], s) for s in wanted} == wanted

    def test_out_of_reach_is_infinite(self):
        assert rate_at([self.DRAWN], 0.76) == np.inf
        assert rate_at([drawn_by_hand([0.9], [MISSED], 1)], 0.01) == np.inf
        assert rate_at([drawn_by_hand([0.9], [MISSED], 1)], 0) == 0

    def test_equal_scores_move_together(self):
        assert rate_at([drawn_by_hand([0.5, 0.5], [0.5], 1)], 1) == 2

    def test_rounding_does_not_move_a_point(self):
        data = drawn_by_hand([0.5], [0.9] * 3 + [0.1] * 7, 1)
        assert rate_at([data], 0.1 + 0.2) == 0  # 0.30000000000000004

    def test_no_lesions(self):
        assert np.isnan(rate_at([drawn_by_hand([0.5], [], 1)], 0.5))

    @pytest.mark.parametrize("s", [-0.1, 1.1, np.nan])
    def test_refused(self, s):
        with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
            rate_at([self.DRAWN], s)

    @pytest.mark.parametrize("seed", range(6))
    def test_is_the_inverse_by_brute_force(self, seed):
        rng = np.random.default_rng(seed)
        fp, lesion = np.round(rng.random(40), 1 + seed % 2), np.round(rng.random(17), 1 + seed % 2)
        lesion[rng.random(17) < 0.3] = MISSED
        data, curve = drawn_by_hand(fp, lesion, 9), froc_curve(fp, lesion, 9)
        for s in np.linspace(0, 1, 35):
            assert rate_at([data], s) == fp_at([curve], s)
        for s in curve.sensitivity:
            assert sensitivity_at(curve, rate_at([data], s)) >= s

    def test_the_mean_of_two_by_hand(self):
        one = drawn_by_hand([0.5], [0.9, 0.1], 2)  # 1/2 at 0, 1 at 1/2
        two = drawn_by_hand([0.8, 0.7], [0.6], 2)  # 0 at 0 and 1/2, 1 at 1
        assert [rate_at([one, two], s) for s in (0.25, 0.5, 0.6, 1)] == [0, 0.5, 1, 1]


class TestDraws:
    def test_every_replicate_draws_as_many_as_there_are(self):
        counts = draw_counts(17, 300, 5)
        assert counts.shape == (17, 300)
        assert (counts.sum(0) == 17).all()
        assert abs(counts.mean(1) - 1).max() < 0.25
        assert abs(counts.var() - 16 / 17) < 0.1  # multinomial: G p (1 - p) with p = 1 / G

    def test_the_seed_decides(self):
        assert np.array_equal(draw_counts(9, 20, 3), draw_counts(9, 20, 3))
        assert not np.array_equal(draw_counts(9, 20, 3), draw_counts(9, 20, 4))
        assert np.array_equal(draw_counts(9, 20, 3), draw_counts(9, 50, 3)[:, :20])  # more replicates only add

    @pytest.mark.parametrize(("units", "replicates"), [(0, 10), (10, 0)])
    def test_nothing_to_draw(self, units, replicates):
        with pytest.raises(ValueError, match="at least one"):
            draw_counts(units, replicates, 0)

    def test_the_sample_comes_first(self):
        drawn = Draws.of([7, 7, 3, 9], 20, 1)
        assert drawn.unit.tolist() == [1, 1, 0, 2]
        assert drawn.counts[:, 0].tolist() == [1, 1, 1]
        assert np.array_equal(drawn.counts[:, 1:], draw_counts(3, 20, 1))
        assert Draws.of([7, 3]).counts.shape == (2, 1)
        assert Draws.of([], 20).counts.shape == (0, 1)


class TestInterval:
    def test_percentiles(self):
        low, high, undefined = interval(np.arange(1001.0))
        assert (low, high, undefined) == (pytest.approx(25), pytest.approx(975), 0)
        assert interval(np.arange(1001.0), 0.9)[:2] == (pytest.approx(50), pytest.approx(950))

    def test_undefined_replicates_are_counted_and_left_out(self):
        assert interval(np.array([NAN, 1, NAN, 1])) == (1, 1, 2)
        low, high, undefined = interval(np.array([NAN, NAN]))
        assert np.isnan(low)
        assert np.isnan(high)
        assert undefined == 2

    def test_infinite_replicates_take_their_place_at_the_end(self):
        inf = float("inf")
        values = np.arange(1001.0)
        values[-30:] = inf  # more than 2.5%
        assert interval(values) == (25, inf, 0)
        assert interval(-values) == (-inf, -25, 0)
        values[-30:-20] = 980
        assert interval(np.append(values, NAN)) == (25, 980, 1)  # fewer than 2.5%
        assert interval(np.array([0.0, inf])) == (0, inf, 0)  # not NaN: nothing lies between them
        assert interval(np.array([inf, inf])) == (inf, inf, 0)
