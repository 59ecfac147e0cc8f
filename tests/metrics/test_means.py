"""Means of per-image figures, against a loop that really resamples."""

import numpy as np
import pytest

from bundle.metrics.bootstrap import draw_counts
from bundle.metrics.means import mean_replicates, mean_with_intervals

NAN = float("nan")


def figures(images: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((images, 3)) < 0.5, rng.random((images, 3)), NAN)


def nanmean(values: np.ndarray) -> float:
    defined = [value for value in values.ravel().tolist() if value == value]
    return sum(defined) / len(defined) if defined else NAN


@pytest.mark.parametrize(("images", "chunk"), [(40, 1 << 22), (40, 90), (5, 1 << 22)])
def test_replicates_equal_resampling(images, chunk, monkeypatch):
    monkeypatch.setattr("bundle.metrics.means._CHUNK", chunk)
    values, unit = figures(images, images), np.arange(images) // 2
    counts = draw_counts(unit.max() + 1, 50, 0)
    replicates = mean_replicates(counts, values, unit)
    for r in range(50):
        sample = np.repeat(values, counts[unit, r], axis=0)
        wanted = [nanmean(column) for column in sample.T]
        assert replicates[:, r] == pytest.approx(wanted, abs=1e-14, nan_ok=True)
    assert np.isnan(replicates).any() == (images == 5)


def test_macro_and_pooled():
    means = mean_with_intervals([[1, 0], [1, NAN], [0.4, NAN]], replicates=20)
    assert means.value.tolist() == pytest.approx([0.8, 0])
    assert means.images.tolist() == [3, 1]
    assert means.macro == pytest.approx(0.4)
    assert means.pooled == pytest.approx(0.6)


def test_intervals_are_percentiles_of_the_shared_draws():
    values, group = figures(40, 1), np.arange(40) // 3 * 10
    means = mean_with_intervals(values, group, replicates=200, seed=7, level=0.9)
    counts, unit = draw_counts(14, 200, 7), np.arange(40) // 3
    macro, pooled = [], []
    for r in range(200):
        sample = np.repeat(values, counts[unit, r], axis=0)
        macro.append(np.mean([nanmean(column) for column in sample.T]))
        pooled.append(nanmean(sample))
    assert means.macro_interval[:2] == pytest.approx(np.quantile(macro, [0.05, 0.95]))
    assert means.pooled_interval[:2] == pytest.approx(np.quantile(pooled, [0.05, 0.95]))
    assert means.intervals[2][:2] != pytest.approx(means.intervals[1][:2])
    alone = mean_with_intervals(values, replicates=200, seed=7, level=0.9)
    assert alone.macro_interval != means.macro_interval  # patients, not images, were drawn


def test_a_column_without_values_is_left_out():
    means = mean_with_intervals([[1, NAN], [0, NAN]], replicates=30)
    assert np.isnan(means.value[1])
    assert (means.macro, means.pooled) == (0.5, 0.5)
    assert means.intervals[1].undefined == 30
    assert means.macro_interval == means.intervals[0]


def test_a_replicate_without_one_of_the_columns_does_not_count_for_their_mean():
    means = mean_with_intervals([[1, NAN], [0, 1], [1, NAN]], replicates=50)
    assert means.macro_interval.undefined == means.intervals[1].undefined > 0
    assert means.pooled_interval.undefined == 0


@pytest.mark.parametrize("values", [np.zeros((0, 2)), np.full((3, 2), NAN)])
def test_nothing_defined(values):
    means = mean_with_intervals(values, replicates=10)
    assert np.isnan([*means.value, means.macro, means.pooled, means.macro_interval.low]).all()
    assert means.pooled_interval.undefined == 10


@pytest.mark.parametrize(
    ("values", "group", "message"),
    [([1.0], None, r"\(I, K\)"), ([[np.inf]], None, "infinite"), ([[1.0]], [1, 2], "groups of shape")],
)
def test_faults(values, group, message):
    with pytest.raises(ValueError, match=message):
        mean_with_intervals(values, group)
