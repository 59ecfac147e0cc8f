"""Reads the orientation in an EXIF block."""

from __future__ import annotations

import struct
import warnings

ORIENTATION = 274
_ERRORS = (SyntaxError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError, struct.error)


def exif_orientation(block: bytes | None) -> int:
    """The orientation that an EXIF block states, 1 to 8; 1 where it states none, or cannot be parsed.

    Args:
        block: from the byte order on, or None.
    """
    if not block:
        return 1
    from PIL import Image  # only for those who read such files

    exif = Image.Exif()
    try:
        with warnings.catch_warnings():  # of damage to other entries
            warnings.simplefilter("ignore")
            exif.load(b"Exif\0\0" + block)
            orientation = exif.get(ORIENTATION, 1)
    except _ERRORS:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
