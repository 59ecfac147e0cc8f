"""Inflates a deflated DICOM file (PS3.5 A.5) within bounds: pydicom inflates all of it, and 1 MB may hold 1 GB."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import BinaryIO

from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

PREAMBLE = 132  # bytes, with "DICM"
_EXPLICIT = str(ExplicitVRLittleEndian).encode() + b"\0"
# What an inflated data set is, as a file: the preamble, and the one element of file meta information that is needed.
_START = bytes(128) + b"DICM" + struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", len(_EXPLICIT)) + _EXPLICIT


def inflate(file: BinaryIO, most: int) -> BytesIO | None:
    """A deflated file's first bytes, inflated, as a file in Explicit VR Little Endian.

    Args:
        file: the DICOM file, whose preamble is there; it is left at its start.
        most: how many bytes of the data set are inflated; the file may hold more.

    Returns:
        The inflated file, shorter than the whole where that has more than `most`; None for one that is not deflated.

    Raises:
        EOFError: the deflated data end before `most` bytes and before their own end.
        zlib.error: they are damaged; file meta information that does not parse raises as pydicom does.
    """
    file.seek(PREAMBLE)
    # The file meta information is not deflated (PS3.10 7.1): what follows it is.
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 0x0002)
    if str(meta.get("TransferSyntaxUID") or "") != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return None
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(file.read(), most)
    file.seek(0)
    if len(content) < most and not inflater.eof:
        raise EOFError("the deflated data are cut short")
    return BytesIO(_START + content)


def inflated_bytes(file: BytesIO) -> int:
    """How many bytes of the data set are in a file that `inflate` made."""
    return file.getbuffer().nbytes - len(_START)
