"""Turns of a picture by quarters and mirrors, numbered 1 to 8 as TIFF and EXIF number orientations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Where the body's directions lie in a picture that is shown upright: the first is the patient's left, on the right of
# the picture, or the front or the back of a lateral; the second its feet. Of an anatomical direction, such as LF, the
# first letter is the main one (PS3.3 C.7.6.1.1.1).
_ACROSS, _MIRRORED = ("L", "A", "P"), "R"
_DOWN, _UP = "F", "H"


@dataclass(frozen=True)
class Upright:
    """What brings stored pixels upright: the transposition first, then the mirrors.

    Attributes:
        transposed: whether rows become columns.
        flip_rows: whether the order of the rows is reversed then.
        flip_columns: whether that of the columns is.
    """

    transposed: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of(cls, orientation: int) -> Upright:
        """What undoes an orientation of TIFF 6.0 (tag 274) or EXIF; a number that is none changes nothing."""
        return cls(*_BY_NUMBER.get(orientation, (False, False, False)))

    @property
    def orientation(self) -> int:
        """Its number, 1 to 8."""
        mine = (self.transposed, self.flip_rows, self.flip_columns)
        return next(number for number, turn in _BY_NUMBER.items() if turn == mine)

    def size(self, stored: Sequence[int]) -> tuple[int, int]:
        """(H, W) of the upright picture, from the stored one's."""
        height, width = int(stored[0]), int(stored[1])
        return (width, height) if self.transposed else (height, width)

    def apply(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The upright picture, a view of the stored one: (..., H, W)."""
        picture = stored.swapaxes(-1, -2) if self.transposed else stored
        return picture[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def undo(self, upright: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The stored picture, a view of the upright one: (..., H, W)."""
        picture = upright[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return picture.swapaxes(-1, -2) if self.transposed else picture

    def matrix(self, stored: Sequence[int]) -> npt.NDArray[np.float64]:
        """Stored to upright frame, (3, 3), acting on (x, y, 1); pixel i covers [i, i + 1).

        Args:
            stored: (H, W) of the stored picture.
        """
        height, width = self.size(stored)
        turn = np.eye(3)
        if self.transposed:
            turn[:2] = turn[[1, 0]]
        if self.flip_columns:
            turn[0] = [0, 0, width] - turn[0]
        if self.flip_rows:
            turn[1] = [0, 0, height] - turn[1]
        return turn

    def boxes(self, boxes: npt.ArrayLike, stored: Sequence[int]) -> npt.NDArray[np.float64]:
        """Boxes (..., 4) as [x0, y0, x1, y1], from the stored to the upright frame; NaN stays.

        Args:
            boxes: in stored pixels.
            stored: (H, W) of the stored picture.
        """
        turn, values = self.matrix(stored), np.asarray(boxes, np.float64)
        low, high = (values[..., at : at + 2] @ turn[:2, :2].T + turn[:2, 2] for at in (0, 2))
        return np.concatenate([np.minimum(low, high), np.maximum(low, high)], -1)

    def affine(self, stored: Sequence[int], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The affine of the upright picture, (column, row, 0, 1) -> mm, from the stored one's, (4, 4)."""
        to_stored = np.linalg.inv(self.matrix(stored))
        # an affine counts pixels' centres, half a pixel from the edges that a frame counts
        to_stored[:2, 2] += 0.5 * to_stored[:2, :2].sum(1) - 0.5
        index = np.eye(4)
        index[:2, :2], index[:2, 3] = to_stored[:2, :2], to_stored[:2, 2]
        return affine @ index + 0.0  # no negative zeros in what is printed


AS_STORED = Upright()
_BY_NUMBER = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def patient_upright(directions: Sequence[str]) -> Upright | None:
    """What brings a radiograph upright whose Patient Orientation is given: head up, a frontal's right side on the left.

    A lateral may face either way.

    Args:
        directions: of its rows and of its columns, such as ("L", "F").

    Returns:
        The turn; None for directions that no radiograph has (of one axis, or across the body) or that are no letters.
    """
    if len(directions) != 2 or not all(directions):
        return None
    across, down = directions[0][0].upper(), directions[1][0].upper()
    transposed = across in (_DOWN, _UP)
    if transposed:
        across, down = down, across
    if across not in (*_ACROSS, _MIRRORED) or down not in (_DOWN, _UP):
        return None
    return Upright(transposed, flip_rows=down == _UP, flip_columns=across == _MIRRORED)


def upright_metadata(turn: Upright, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What of the reader's metadata is another of the turned picture."""
    aspect, spacing = meta["pixel_aspect"], meta["spacing"]
    return {
        "stored_size": turn.size(meta["stored_size"]),
        "orientation": AS_STORED.orientation,
        "pixel_aspect": 1 / aspect if turn.transposed else aspect,
        "spacing": spacing[::-1] if turn.transposed and spacing is not None else spacing,
    }
