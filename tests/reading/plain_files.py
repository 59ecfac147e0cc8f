"""PNG, TIFF and JPEG files made byte by byte or with tags that ITK does not write."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

# How a picture is stored that a viewer shows upright for its orientation (TIFF 6.0, tag 274).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, -1),
}


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: Array, before: bytes = b"", after: bytes = b"", colour: int = 0) -> bytes:
    """A PNG file of (H, W) or (H, W, C) of 8 or 16 bits, with chunks before and after its pixels."""
    rows, columns = pixels.shape[:2]
    bits = 8 * pixels.dtype.itemsize
    lines = pixels.astype(f">u{bits // 8}").reshape(rows, -1)
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", data) + after + chunk(b"IEND", b"")


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block that states an orientation and nothing else."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)


def jpeg(pixels: Array, orientation: int | None = None) -> bytes:
    """A JPEG file of 8-bit grey, or of 8-bit colours (H, W, 3)."""
    file = BytesIO()
    block = {} if orientation is None else {"exif": b"Exif\0\0" + exif(orientation, ">")}
    Image.fromarray(pixels).save(file, "JPEG", quality=95, **block)
    return file.getvalue()
