"""The pixels of an image as values that can be counted: all of them, or quickly some."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading.value_window import FloatArray, count_patterns, percentile_limits

Mask = npt.NDArray[np.bool_]

SAMPLE = 2**14  # pixels that are looked at where all would take too long
TINY = 0.001  # a share of the pixels that is as good as none: 7,500 of 3000 x 2500


class Greys:
    """The visible pixels of an image, each with a value.

    Args:
        values: of each bit pattern up to the greatest there is, where `patterns` are there; else of each pixel (H, W).
        patterns: the pixels' bit patterns (H, W), or None.
        hidden: the pixels that do not count, or None for none.
    """

    def __init__(self, values: FloatArray, patterns: npt.NDArray[Any] | None, hidden: Mask | None = None) -> None:
        self.values, self.patterns, self.hidden = values, patterns, hidden

    @property
    def _pixels(self) -> npt.NDArray[Any]:
        return self.values if self.patterns is None else self.patterns

    @cached_property
    def visible(self) -> int:
        """How many pixels count."""
        return self._pixels.size - (0 if self.hidden is None else int(np.count_nonzero(self.hidden)))

    @cached_property
    def counts(self) -> npt.NDArray[np.int64] | None:
        """How many visible pixels have each pattern; None where there are no patterns."""
        if self.patterns is None:
            return None
        visible = self.patterns if self.hidden is None else self.patterns[~self.hidden]
        return count_patterns(visible, self.values.size)

    def sample(self, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What a table like `values` holds for some of the visible pixels, evenly spread: all of a small image."""
        step = max(1, math.isqrt(self._pixels.size // SAMPLE))
        of_pixels = self._pixels[::step, ::step] if self.patterns is None else self.patterns[::step, ::step]
        shown = table[::step, ::step] if self.patterns is None else table[of_pixels]
        return shown.ravel() if self.hidden is None else shown[~self.hidden[::step, ::step]]

    def has(self, table: Mask) -> bool:
        """Whether more than a tiny share of the visible pixels is true in a table like `values`."""
        least = TINY * self.visible
        if np.count_nonzero(self.sample(table)) > least:  # then all of them are more still
            return True
        if self.counts is not None:
            return int(self.counts[table].sum()) > least
        return int(np.count_nonzero(table if self.hidden is None else table & ~self.hidden)) > least

    def limits(self, table: FloatArray, percentiles: Sequence[float]) -> tuple[float, float]:
        """The values of a table like `values` at two percentiles of the visible pixels (`percentile_limits`)."""
        if self.counts is None:
            return percentile_limits(table if self.hidden is None else table[~self.hidden], percentiles)
        return percentile_limits(table, percentiles, self.counts)
