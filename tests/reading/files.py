"""What the tests of reading share: the lossless transfer syntaxes, and files by ITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import numpy as np
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

LOSSLESS = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG lossless": JPEGLosslessSV1,
}


def write_itk(array: np.ndarray[Any, Any], path: Path) -> Path:
    """Writes an array (z, y, x) or (y, x) by ITK."""
    itk.imwrite(itk.image_from_array(np.ascontiguousarray(array)), str(path))
    return path
