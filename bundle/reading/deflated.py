"""Inflates a deflated data set (PS3.5 A.5) within bounds: pydicom inflates all of it, and 1 MB may hold 1 GB."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import BinaryIO


def inflate(file: BinaryIO, most: int) -> BytesIO:
    """The first bytes of a deflated data set, inflated.

    Args:
        file: the file, at the start of the data set; it is left there.
        most: how many bytes of the data set are inflated; it may hold more.

    Returns:
        The inflated bytes, as a file at its start.

    Raises:
        EOFError: the deflated data end before `most` bytes and before their own end.
        zlib.error: they are damaged.
    """
    start = file.tell()
    content = file.read()
    file.seek(start)
    inflater = zlib.decompressobj(_window_bits(content))
    inflated = inflater.decompress(content, most)
    if len(inflated) < most and not inflater.eof:
        raise EOFError("the deflated data are cut short")
    return BytesIO(inflated)


def inflated_start(head: bytes, most: int) -> bytes:
    """The beginning of what deflated bytes hold, b"" where they are none."""
    try:
        return zlib.decompressobj(_window_bits(head)).decompress(head, most)
    except zlib.error:
        return b""


def _window_bits(content: bytes) -> int:
    """What zlib wants to be told: DICOM wants bare deflated data, and some files have zlib's two bytes before them."""
    wrapped = content[:1] == b"\x78" and int.from_bytes(content[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
