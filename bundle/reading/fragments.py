"""Walks encapsulated pixel data (PS3.5 A.4) by its tags and lengths, and tells by its first bytes what it holds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000MCLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from bundle.reading.jpeg_frame import END_OF_IMAGE, JP2, SOC_SIZ, frame_marker

SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_ITEM = 0xFFFEE000
_LOOK = 4096  # bytes of the first fragment: a frame header stands within them
# What a stream is, and the transfer syntaxes under which it may stand; the first is taken where it stands under none.
_KINDS: dict[str, tuple[UID, ...]] = {
    "JPEG 2000": (JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000MC, JPEG2000MCLossless),
    "JPEG-LS": (JPEGLSNearLossless, JPEGLSLossless),
    "JPEG lossless": (JPEGLossless, JPEGLosslessSV1),
    "JPEG baseline": (JPEGBaseline8Bit, JPEGExtended12Bit),
    "JPEG extended": (JPEGExtended12Bit,),
    "RLE": (RLELossless,),
}
_NAMES = frozenset(syntax for syntaxes in _KINDS.values() for syntax in syntaxes)
_OF_MARKER = {0xC0: "JPEG baseline", 0xC1: "JPEG extended", 0xC3: "JPEG lossless", 0xF7: "JPEG-LS"}


@dataclass(frozen=True)
class Fragments:
    """What the walk found.

    Attributes:
        start: the first bytes of the first fragment behind the Basic Offset Table.
        end: where the sequence delimiter should be, if it is missing or damaged; None where it is there.
    """

    start: bytes
    end: int | None


def walk(file: BinaryIO, size: int) -> Fragments | None:
    """Walk from the first item to the sequence delimiter.

    Without a delimiter the fragments must hold a whole frame: a stream that ends as its kind does. (RLE has no mark of
    its end; its decoder refuses what is short.)

    Args:
        file: it, at the first item; left somewhere behind.
        size: of the file.

    Returns:
        What was found; None where the fragments break off.
    """
    items: list[tuple[int, int]] = []  # place and length of what they hold
    end: int | None = None
    while True:
        place = file.tell()
        head = file.read(8)
        if head[:4] == SEQUENCE_END[:4]:
            end = None if len(head) == 8 else place
            break
        tag, length = _tag_and_length(head)
        if tag != _ITEM:
            end = place
            break
        if place + 8 + length > size:
            return None
        items.append((place + 8, length))
        file.seek(length, 1)
    fragments = [(place, length) for place, length in items[1:] if length]
    if not fragments:
        return Fragments(b"", None) if end is None else None
    start = _read(file, fragments[0][0], min(fragments[0][1], _LOOK))
    if end is not None and kind_of(start) != "RLE":
        last = b"".join(_read(file, place + max(0, length - 64), min(length, 64)) for place, length in fragments[-2:])
        if not last.rstrip(b"\0").endswith(END_OF_IMAGE):
            return None
    return Fragments(start, end)


def kind_of(stream: bytes) -> str:
    """What a compressed stream is, by its beginning; "" for what is not known."""
    if stream.startswith((SOC_SIZ, JP2)):
        return "JPEG 2000"
    if stream.startswith(b"\xff\xd8"):
        return _OF_MARKER.get(frame_marker(stream), "")
    segments, first = struct.unpack_from("<II", stream.ljust(8, b"\0"))
    return "RLE" if 1 <= segments <= 15 and first == 64 else ""  # PS3.5 G.5


def syntax_of(stream: bytes, named: UID) -> UID:
    """The transfer syntax that a stream is in: as named, unless its beginning says that it cannot be.

    A file that names what is not read here, such as video, is not looked into.
    """
    syntaxes = _KINDS.get(kind_of(stream), ())
    unread = named.is_encapsulated and named not in _NAMES
    return named if unread or not syntaxes or named in syntaxes else syntaxes[0]


def _tag_and_length(head: bytes) -> tuple[int, int]:
    group, element, length = struct.unpack("<HHI", head.ljust(8, b"\0"))
    return group << 16 | element, length


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)
