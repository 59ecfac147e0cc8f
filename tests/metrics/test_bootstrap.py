"""All replicates at once against a loop that really resamples."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bundle.metrics import FROCMetric, bootstrap
from bundle.metrics.bootstrap import (
    auroc_replicates,
    draw_counts,
    fp_at_sensitivity_replicates,
    froc_replicates,
    interval,
    mean_fp_at_sensitivity_replicates,
    wafroc_replicates,
)
from bundle.metrics.froc import FP_RATES, fp_at_sensitivity, froc_curve, mean_curve, sensitivity_at, wafroc
from bundle.metrics.records import FindingRecords, of_finding
from tests.metrics.drawn import random_evaluation, resampled

NAN = float("nan")
R = 60


def evaluation(images: int, seed: int = 0) -> tuple[list[FindingRecords], np.ndarray]:
    metric = FROCMetric(["A", "B", "C"])
    metric(*random_evaluation(images, seed=seed)[:2])
    records = metric.records()
    unit = np.unique(records.images.group, return_inverse=True)[1]
    return [of_finding(records, k) for k in range(3)], unit


@pytest.mark.parametrize(("images", "seed"), [(30, 0), (31, 1), (6, 2)])
@pytest.mark.parametrize("chunk", [1 << 22, 50])
def test_equals_resampling_exactly(images, seed, chunk, monkeypatch):
    monkeypatch.setattr(bootstrap, "_CHUNK", chunk)
    selections, unit = evaluation(images, seed)
    counts = draw_counts(unit.max() + 1, R, seed)
    undefined = 0
    for data in selections:
        froc = froc_replicates(counts, data, unit, (0.0, 0.3, *FP_RATES))
        area = wafroc_replicates(counts, data, unit)
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
    monkeypatch.setattr(bootstrap, "_CHUNK", chunk)
    selections, unit = evaluation(images, seed)
    counts = draw_counts(unit.max() + 1, R, seed)
    wanted = (0.0, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.9, 1.0)
    own = np.random.default_rng(seed).random((2, R))  # a sensitivity for each replicate
    each = [fp_at_sensitivity_replicates(counts, data, unit, wanted) for data in selections]
    varied = fp_at_sensitivity_replicates(counts, selections[0], unit, own)
    mean = mean_fp_at_sensitivity_replicates(counts, selections, unit, wanted)
    for r in range(R):
        curves = []
        for k, data in enumerate(selections):
            fp, lesion, _, _, n = resampled(data, counts[unit, r])
            if not lesion:
                assert np.isnan(each[k][:, r]).all()
                assert k or np.isnan(varied[:, r]).all()
                continue
            curves.append(froc_curve(fp, lesion, n))
            assert each[k][:, r].tolist() == [fp_at_sensitivity(curves[-1], s) for s in wanted]
            if k == 0:
                assert varied[:, r].tolist() == [fp_at_sensitivity(curves[0], s) for s in own[:, r]]
        if len(curves) < 3:
            assert np.isnan(mean[:, r]).all()
        else:
            assert mean[:, r].tolist() == [fp_at_sensitivity(mean_curve(curves), s) for s in wanted]
    assert np.isinf(each).any()
    assert not np.isinf(mean[0]).any()


def test_unit_counts_give_the_point_figure():
    selections, unit = evaluation(50)
    ones = np.ones((unit.max() + 1, 1), np.int32)
    for data in selections:
        curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
        assert froc_replicates(ones, data, unit)[:, 0].tolist() == [sensitivity_at(curve, x) for x in FP_RATES]
        expected = wafroc(data.normal_score, data.lesion_score, data.lesion_image)
        assert wafroc_replicates(ones, data, unit)[0] == pytest.approx(expected, abs=1e-14)


def test_area_equals_scikit_learn_on_resampled_data():
    rng = np.random.default_rng(0)
    scores, label = np.round(rng.random(80), 1), rng.random(80) < 0.2
    unit = np.arange(80) // 3
    counts = draw_counts(27, 200, 1)
    mine = auroc_replicates(counts, scores[~label], unit[~label], scores[label], unit[label])
    for r in range(200):
        rows = np.repeat(np.arange(80), counts[unit, r])
        if label[rows].all() or not label[rows].any():
            assert np.isnan(mine[r])
        else:
            assert mine[r] == pytest.approx(roc_auc_score(label[rows], scores[rows]), abs=1e-13)


def test_area_without_one_class_is_undefined_everywhere():
    counts = draw_counts(4, 5, 0)
    nobody = np.zeros(0)
    assert np.isnan(auroc_replicates(counts, np.ones(4), np.arange(4), nobody, nobody.astype(int))).all()


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
    result = froc_replicates(counts, data, np.arange(3))
    assert result[:, 0].tolist() == [0.0] * 7
    assert np.isnan(result[:, 1]).all()


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
