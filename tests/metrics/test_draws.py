"""Means and ratios of per-image figures, against a loop that really resamples."""

import numpy as np
import pytest

from bundle.metrics import draws
from bundle.metrics.draws import Draws, draw_counts

NAN = float("nan")


def figures(images: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((images, 3)) < 0.5, rng.random((images, 3)), NAN)


def nanmean(values: np.ndarray) -> float:
    defined = [value for value in values.ravel().tolist() if value == value]
    return sum(defined) / len(defined) if defined else NAN


@pytest.mark.parametrize(("images", "chunk"), [(40, 1 << 22), (40, 90), (5, 1 << 22)])
def test_replicates_equal_resampling(images, chunk, monkeypatch):
    monkeypatch.setattr(draws, "_CHUNK", chunk)
    values, unit = figures(images, images), np.arange(images) // 2
    counts = draw_counts(unit.max() + 1, 50, 0)
    replicates = np.stack([Draws(counts, unit).mean(column) for column in values.T])
    for r in range(50):
        sample = np.repeat(values, counts[unit, r], axis=0)
        wanted = [nanmean(column) for column in sample.T]
        assert replicates[:, r] == pytest.approx(wanted, abs=1e-14, nan_ok=True)
    assert np.isnan(replicates).any() == (images == 5)


def test_the_first_is_the_mean_of_what_is_defined():
    drawn = Draws.of(np.arange(40) // 3, 20)
    values = figures(40, 1)[:, 0]
    assert drawn.mean(values)[0] == pytest.approx(np.nanmean(values), abs=1e-14)
    assert np.isnan(drawn.mean(np.full(40, NAN))).all()
    assert np.isnan(Draws.of([]).mean([])).all()


def test_a_ratio_of_sums():
    drawn = Draws.of([0, 0, 1], 30, 2)
    part, whole = np.array([1.0, 0, 2]), np.array([2.0, 0, 3])
    first, second = drawn.counts
    wanted = (first + 2 * second) / (2 * first + 3 * second)
    assert drawn.ratio(part, whole).tolist() == pytest.approx(wanted.tolist())


def test_some_rows_keep_their_units():
    drawn = Draws.of([5, 5, 9], 30, 2)
    assert drawn.at(np.array([2, 0])).unit.tolist() == [1, 0]
    assert np.array_equal(drawn.at(np.array([True, False, True])).mean([1.0, 3.0]), drawn.mean([1.0, NAN, 3.0]))
