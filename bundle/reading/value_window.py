"""From pixel values to 0..1 by a window: percentiles, and tables for small integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

MIDDLE = (0.5, 99.5)  # percentiles: what the brightest and darkest pixels do, a burnt-in letter say, does not count
# The least share of 0..1 that the middle of the pixels must take. 12-bit values in 16 bits take a sixteenth, 14-bit
# values a quarter; a chest radiograph takes more than half of the bits that it was made for.
LEAST_OF_RANGE = 0.25

TABLE_BITS = 16  # integers up to here go through a table of all their values
BLOCK = 2**17  # pixels at a time: the indices that NumPy makes of them stay in the cache


def linear_window(values: FloatArray, low: float, high: float) -> FloatArray:
    """clip((values - low) / (high - low), 0, 1); zeros where high <= low. Values that are not finite become 0."""
    if not high > low:
        return np.zeros_like(values)
    scaled = (values - values.dtype.type(low)) * values.dtype.type(1.0 / (high - low))
    np.clip(scaled, 0.0, 1.0, out=scaled)
    finite = np.isfinite(values)  # asked of the input: clipping has turned +inf into 1
    if not finite.all():
        scaled[~finite] = 0.0
    return scaled


def percentile_limits(
    values: FloatArray, percentiles: Sequence[float], counts: npt.NDArray[np.integer[Any]] | None = None
) -> tuple[float, float]:
    """The values at two percentiles: the smallest value v with share(values <= v) >= percentile / 100.

    Args:
        values: pixel values, any shape; those that are not finite do not count.
        percentiles: low and high, in percent.
        counts: how many pixels have each of `values` (same shape), where `values` is a table; None counts each once.

    Returns:
        (low, high); (0, 0) where nothing is finite.
    """
    keep = np.isfinite(values)
    if counts is not None:
        keep &= counts > 0
    kept = values[keep]
    if kept.size == 0:
        return 0.0, 0.0
    shares = np.asarray(percentiles, dtype=np.float64) / 100.0
    if counts is None:
        ordered = np.sort(kept)  # NumPy's percentile takes three times as long
        places = np.ceil(shares * kept.size).astype(np.int64) - 1
    else:
        order = np.argsort(kept, kind="stable")
        ordered, cumulative = kept[order], np.cumsum(counts[keep][order])
        places = np.searchsorted(cumulative, shares * cumulative[-1], side="left")
    low, high = ordered[np.clip(places, 0, kept.size - 1)]
    return float(low), float(high)


def unsigned_view(stored: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Small integers as the bit patterns of their cells, which index a table; None for what has no small table."""
    if stored.dtype.kind not in "ui" or stored.dtype.itemsize * 8 > TABLE_BITS:
        return None
    return stored.view(stored.dtype.str.replace("i", "u"))  # of the same byte order


def count_patterns(patterns: npt.NDArray[Any], size: int) -> npt.NDArray[np.int64]:
    """How many pixels have each of the bit patterns below `size`, which none exceeds, (size,)."""
    counts = np.zeros(size, dtype=np.int64)
    flat = patterns.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        counts += np.bincount(flat[start : start + BLOCK], minlength=size)
    return counts


def look_up(table: npt.NDArray[np.float32], patterns: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """table[patterns], of the patterns' shape."""
    flat = patterns.reshape(-1)
    result = np.empty(flat.shape, dtype=table.dtype)
    for start in range(0, flat.size, BLOCK):
        np.take(table, flat[start : start + BLOCK], out=result[start : start + BLOCK], mode="clip")
    return result.reshape(patterns.shape)
