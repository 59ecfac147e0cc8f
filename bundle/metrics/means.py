"""Means of figures that every image has for itself (an IoU, a hit in retrieval), with bootstrap intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.bootstrap import Interval, draw_counts, interval
from bundle.metrics.records import Floats, Integers

_CHUNK = 1 << 22  # numbers of one block of counts as float64: 32 MiB


@dataclass(frozen=True)
class Means:
    """Means over images, per column and over columns, with percentile intervals.

    Attributes:
        value: (K,) mean of the images at which the column is defined; NaN where it is at none.
        images: (K,) how many these are.
        macro: mean of the defined `value`s: every finding counts the same. NaN if none is defined.
        pooled: mean of all defined values of all columns: every finding counts by its number of images.
        intervals: K, of `value`.
        macro_interval: of `macro`; a replicate counts where all defined columns are defined in it too.
        pooled_interval: of `pooled`.
    """

    value: Floats
    images: Integers
    macro: float
    pooled: float
    intervals: tuple[Interval, ...]
    macro_interval: Interval
    pooled_interval: Interval


def mean_with_intervals(
    values: ArrayLike, group: ArrayLike | None = None, replicates: int = 1000, seed: int = 0, level: float = 0.95
) -> Means:
    """Mean of each column and over columns, with intervals by a bootstrap over patients.

    Draws are those of `bundle.metrics.bootstrap.draw_counts`: equal groups and seed give the draws, hence the pairing,
    of every other figure of the evaluation.

    Args:
        values: (I, K) one value per image and column (finding), NaN where undefined.
        group: (I,) the patient of each image; None where images are independent.
        replicates: R.
        seed: of the draws.
        level: of confidence.

    Returns:
        The means. Without images, or where a column is nowhere defined, NaN.

    Raises:
        ValueError: where shapes do not fit or a value is infinite.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise ValueError(f"values must be (I, K), got {table.shape}")
    if np.isinf(table).any():
        raise ValueError(f"a value is infinite: row, column {np.argwhere(np.isinf(table))[0].tolist()}")
    names = np.arange(len(table)) if group is None else np.asarray(group)
    if names.shape != (len(table),):
        raise ValueError(f"{len(table)} images but groups of shape {names.shape}")
    units, unit = np.unique(names, return_inverse=True)
    defined = ~np.isnan(table)
    used = defined.any(0)
    if len(units):
        counts = draw_counts(len(units), replicates, seed)
        draws = mean_replicates(counts, table, unit)
        pooled_draws = mean_replicates(counts, table.reshape(-1, 1), np.repeat(unit, table.shape[1]))[0]
    else:
        draws, pooled_draws = np.full((table.shape[1], replicates), np.nan), np.full(replicates, np.nan)
    value = np.array([_mean(column) for column in table.T])
    return Means(
        value=value,
        images=defined.sum(0),
        macro=_mean(value),
        pooled=_mean(table.ravel()),
        intervals=tuple(interval(row, level) for row in draws),
        macro_interval=interval(draws[used].mean(0) if used.any() else np.full(replicates, np.nan), level),
        pooled_interval=interval(pooled_draws, level),
    )


def mean_replicates(counts: NDArray[np.int32], values: Floats, unit: Integers) -> Floats:
    """Mean of each column in each replicate: sum_i w_i v_i / sum_i w_i over the rows at which v is defined.

    Args:
        counts: (G, R) from `bundle.metrics.bootstrap.draw_counts`; w_i is the count of row i's unit.
        values: (I, K), NaN where undefined.
        unit: (I,) unit of every row, 0..G-1.

    Returns:
        (K, R); NaN in replicates that drew no defined value.
    """
    defined = ~np.isnan(values)
    total, number = np.zeros((2, len(counts), values.shape[1]))
    np.add.at(total, unit, np.where(defined, values, 0.0))
    np.add.at(number, unit, defined)
    with np.errstate(invalid="ignore"):  # nothing drawn: 0 / 0 is NaN, as it should be
        return drawn_sums(counts, total.T) / drawn_sums(counts, number.T)


def drawn_sums(counts: NDArray[np.int32], weight: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    """Sum over units of their weight times how often they are drawn, a block of replicates at a time.

    Args:
        counts: (G, R) from `bundle.metrics.bootstrap.draw_counts`.
        weight: (M, G).

    Returns:
        (M, R).
    """
    result = np.empty((len(weight), counts.shape[1]))
    width = max(1, _CHUNK // max(1, len(counts)))
    for start in range(0, counts.shape[1], width):
        part = slice(start, start + width)
        result[:, part] = weight.astype(np.float64) @ counts[:, part].astype(np.float64)
    return result


def _mean(values: Floats) -> float:
    """Mean of what is defined; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
