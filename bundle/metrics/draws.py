"""The sample and its bootstrap replicates as columns of counts: a figure is a function of counts.

Units (patients, or images where none is named) are drawn with replacement; every image of a unit comes along, with its
lesions and candidates. A column says how often each unit counts: once each in the sample, so that a column of ones
gives the figure, and as often as it was drawn in a replicate. Every figure of `bundle.metrics` sorts its scores once
and sums each column's weights along them: nothing is drawn, copied or sorted a thousand times, and a figure and its
replicates cannot be two formulas.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.records import Floats, Integers

_CHUNK = 1 << 22  # numbers in one intermediate array: 32 MiB, about what the last cache level still helps with


@dataclass(frozen=True)
class Draws:
    """How often each unit counts, and whose the rows (images, queries, questions) are.

    Attributes:
        counts: (G, C) of G units; of `of`, C = 1 + R: the sample, then R replicates.
        unit: (N,) unit of every row, 0..G-1.
    """

    counts: NDArray[np.int32]
    unit: Integers

    @classmethod
    def of(cls, group: ArrayLike, replicates: int = 0, seed: int = 0) -> "Draws":
        """The sample and `replicates` draws of it; `group` (N,) are the rows' units, any values."""
        units, unit = np.unique(np.asarray(group), return_inverse=True)
        sample = np.ones((len(units), 1), np.int32)
        drawn = [draw_counts(len(units), replicates, seed)] if replicates and len(units) else []
        return cls(np.concatenate([sample, *drawn], 1), unit)

    @classmethod
    def alone(cls, rows: int) -> "Draws":
        """The sample of so many rows, without replicates."""
        return cls(np.ones((1, 1), np.int32), np.zeros(rows, np.int64))

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Draws":
        """The same draws of some of the rows, in the order given."""
        return replace(self, unit=self.unit[rows])

    def sums(self, values: NDArray[Any]) -> Floats:
        """sum_i w_i v_i in every column: (M, N) -> (M, C)."""
        by_unit = np.stack([np.bincount(self.unit, each, len(self.counts)) for each in values])
        result = np.empty((len(by_unit), self.counts.shape[1]))
        for part, drawn in self.chunks(0):
            result[:, part] = by_unit @ drawn
        return result

    def ratio(self, part: ArrayLike, whole: ArrayLike) -> Floats:
        """sum_i w_i part_i / sum_i w_i whole_i in every column, of two (N,): (C,), NaN where the wholes are 0."""
        parts, wholes = self.sums(np.stack([np.asarray(part, np.float64), np.asarray(whole, np.float64)]))
        with np.errstate(invalid="ignore", divide="ignore"):  # nothing drawn: 0 / 0 is NaN, as it should be
            result: Floats = np.where(wholes > 0, parts / wholes, np.nan)
        return result

    def mean(self, values: ArrayLike) -> Floats:
        """Mean of the values (N,) that are defined, in every column: (C,), NaN where none is."""
        array = np.asarray(values, np.float64)
        defined = ~np.isnan(array)
        return self.ratio(np.where(defined, array, 0.0), defined)

    def chunks(self, numbers: int) -> Iterator[tuple[slice, Floats]]:
        """Columns (G, c) a part at a time, as float64, so that no array of `numbers` a column gets too large."""
        width = max(1, _CHUNK // max(numbers, len(self.counts), 1))
        for start in range(0, self.counts.shape[1], width):
            part = slice(start, start + width)
            yield part, self.counts[:, part].astype(np.float64)


def draw_counts(units: int, replicates: int, seed: int) -> NDArray[np.int32]:
    """How often each unit is drawn in each replicate.

    Args:
        units: G, from which each replicate draws G with replacement.
        replicates: R.
        seed: of the generator; the same seed gives the same counts.

    Returns:
        (G, R) multinomial counts; every column sums to G.

    Raises:
        ValueError: where there is nothing to draw or no replicate wanted.
    """
    if units < 1 or replicates < 1:
        raise ValueError(f"a bootstrap needs at least one unit and one replicate, got {units} and {replicates}")
    generator = np.random.default_rng(seed)
    counts = np.empty((units, replicates), np.int32)
    for replicate in range(replicates):
        counts[:, replicate] = np.bincount(generator.integers(units, size=units), minlength=units)
    return counts
