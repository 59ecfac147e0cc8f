"""The last look at what was read: whether anything is to be seen of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading.greys import SAMPLE, TINY

FLAT = "next to nothing of the image is to be seen: nearly all of it is shown as one grey, or as black and white alone"
_ONE_GREY = 1 / 512  # so far from the middle one of the 256 that a screen shows


def hides_what_is_stored(image: npt.NDArray[np.float32], stored: npt.NDArray[Any]) -> bool:
    """Whether an image shows one grey, or black and white alone, in all but a tiny share, and its file holds more.

    A blank image shows what is there, and so does one of two values.

    Args:
        image: (H, W), 0..1.
        stored: the values that it was made from.
    """
    step = max(1, math.isqrt(image.size // SAMPLE))
    some = image[::step, ::step]
    ordered = np.sort(some, axis=None)  # NumPy's median takes three times as long
    middle = float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2

    def shows(part: npt.NDArray[np.float32]) -> int:
        """The pixels between black and white, or of another grey than the middle one, whichever are fewer."""
        between = int(np.count_nonzero((part > 0) & (part < 1)))
        return min(between, int(np.count_nonzero(np.abs(part - middle) > _ONE_GREY)))

    least = TINY * image.size
    if shows(some) > least or shows(image) > least:
        return False
    one_grey = np.count_nonzero(np.abs(image - middle) > _ONE_GREY) <= least
    return np.unique(stored[np.isfinite(stored)]).size > (1 if one_grey else 2)
