"""Knows an image again by its stored pixels."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt


def pixels_sha256(stored: npt.NDArray[Any]) -> str:
    """The SHA-256 of decoded pixel values, row by row and little endian, in hexadecimal digits.

    It does not depend on how the pixels are shown, or on how a file holds them without loss, and says nothing of a
    patient to who does not have the image.
    """
    little = np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()
