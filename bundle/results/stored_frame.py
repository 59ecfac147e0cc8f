"""Back from the upright picture that the network saw to the file's own pixels, where they lie otherwise."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.candidate_tables import BOX, PEAK
from bundle.reading.upright import AS_STORED, Upright


def candidates_of_file(candidates: ArrayLike, turn: Upright, stored: tuple[int, int]) -> NDArray[np.float64]:
    """Candidates in stored pixels, from those of the upright picture.

    Args:
        candidates: (M, 8) table, columns of `bundle.metrics.candidate_tables.COLUMNS`.
        turn: what brought the stored pixels upright.
        stored: (H, W) of the stored picture.

    Returns:
        (M, 8).
    """
    result = np.array(candidates, np.float64)
    if turn != AS_STORED:
        back = np.linalg.inv(turn.matrix(stored))
        peak, low, high = (result[:, at] @ back[:2, :2].T + back[:2, 2] for at in (PEAK, slice(4, 6), slice(6, 8)))
        result[:, PEAK] = peak
        result[:, BOX] = np.concatenate([np.minimum(low, high), np.maximum(low, high)], 1)
    return result


def maps_of_file(maps: NDArray[Any], turn: Upright) -> NDArray[Any]:
    """Maps (..., h, w) over the stored picture, from those drawn over the upright one."""
    return maps if turn == AS_STORED else np.ascontiguousarray(turn.undo(maps))
