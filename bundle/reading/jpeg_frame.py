"""Looks at the headers of a JPEG, JPEG-LS or JPEG 2000 stream before a decoder does."""

from __future__ import annotations

import struct
from collections.abc import Iterator

END_OF_IMAGE, START_OF_SCAN = b"\xff\xd9", b"\xff\xda"
# Start of frame: JPEG's own, without the tables that share its range (ITU-T T.81 table B.1), and JPEG-LS's (T.87).
FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
APP1, EXIF = 0xE1, b"Exif\0\0"
STANDALONE = {0x01, *range(0xD0, 0xD8)}
# Start of codestream and, at once behind it, image and tile size (ITU-T T.800 A.4.1, A.5.1); the first box of JP2.
SOC_SIZ, JP2 = b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "


def jpeg_fault(stream: bytes, rows: int, columns: int, bits_allocated: int) -> str | None:
    """What is wrong with a stream for one grey frame, as far as its headers tell.

    Decoders do not say: libjpeg fills what is missing with grey, and GDCM ends the whole process over some damaged
    JPEG-LS headers.

    Args:
        stream: the whole stream.
        rows: the height that the file around it states.
        columns: the width.
        bits_allocated: the most bits that a sample may have.

    Returns:
        The fault in words, or None.
    """
    shape = _frame_shape(stream)
    if shape is None:
        return "the JPEG stream has no frame header"
    precision, height, width, components = shape
    if (height, width, components) != (rows, columns, 1) or not 2 <= precision <= bits_allocated:
        stated = f"{height} x {width} pixels of {precision} bits and {components} components"
        return f"the JPEG stream states {stated}, the file {rows} x {columns} of up to {bits_allocated} bits and one"
    return None if has_end(stream) else "the JPEG stream is cut short: it has no end of image"


def jpeg2000_fault(stream: bytes, rows: int, columns: int, bits_allocated: int) -> str | None:
    """What is wrong with a JPEG 2000 stream for one grey frame: 3 kB can state gigabytes, which a decoder takes first.

    Args:
        stream: the whole codestream; a JP2 file around it, which DICOM forbids but files have, is passed over.
        rows: the height that the file around it states.
        columns: the width.
        bits_allocated: the most bits that a sample may have.

    Returns:
        The fault in words, or None.
    """
    size = stream[_codestream(stream) :][:43]
    if len(size) < 43 or not size.startswith(SOC_SIZ):
        return "the JPEG 2000 stream has no size header"
    right, bottom, left, top = struct.unpack_from(">4I", size, 8)
    components, precision = int.from_bytes(size[40:42], "big"), (size[42] & 0x7F) + 1
    height, width = bottom - top, right - left
    if (height, width, components) == (rows, columns, 1) and precision <= bits_allocated:
        return None
    stated = f"{height} x {width} pixels of {precision} bits and {components} components"
    return f"the JPEG 2000 stream states {stated}, the file {rows} x {columns} of up to {bits_allocated} bits and one"


def _codestream(stream: bytes) -> int:
    """Where the codestream begins: in a JP2 file, behind the header of its box jp2c (T.800 I.4)."""
    place = 0
    if not stream.startswith(JP2):
        return place
    while place + 16 <= len(stream):
        length, kind = struct.unpack_from(">I4s", stream, place)
        start = place + (16 if length == 1 else 8)
        if kind == b"jp2c":
            return start
        length = struct.unpack_from(">Q", stream, place + 8)[0] if length == 1 else length
        if length < 8:  # 0 is a last box, others are damaged
            break
        place += length
    return len(stream)


def has_end(stream: bytes) -> bool:
    """Whether an end of image follows the last start of scan; neither occurs within coded samples."""
    return stream.rfind(END_OF_IMAGE) > stream.rfind(START_OF_SCAN) >= 0


def frame_marker(stream: bytes) -> int:
    """The second byte of the first frame header's marker, which says what kind of JPEG it is; 0 where there is none."""
    return _frame_header(stream)[0]


def frame_precision(stream: bytes) -> int:
    """The bits of a sample, as the first frame header states them; 0 where there is none."""
    shape = _frame_shape(stream)
    return 0 if shape is None else shape[0]


def exif_block(stream: bytes) -> bytes | None:
    """The first EXIF block before the first scan, from its byte order on; None where there is none."""
    blocks = (body for marker, body in _segments(stream) if marker == APP1 and body.startswith(EXIF))
    return next(blocks, EXIF)[len(EXIF) :] or None


def _frame_shape(stream: bytes) -> tuple[int, int, int, int] | None:
    """(precision, height, width, components) of the first frame header (T.81 B.2.2); None where there is none."""
    body = _frame_header(stream)[1]
    if len(body) < 6:
        return None
    return body[0], int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5]


def _frame_header(stream: bytes) -> tuple[int, bytes]:
    """Marker and content of the first frame header; (0, b"") where there is none."""
    frames = ((marker, body) for marker, body in _segments(stream) if marker in FRAME_MARKERS and len(body) >= 6)
    return next(frames, (0, b""))


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of the segments before the first scan (T.81 B.1.1.4)."""
    if stream[:2] != b"\xff\xd8":
        return
    place = 2
    while place + 4 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker in STANDALONE or marker == 0xFF:  # without a length, or a fill byte
            place += 1 if marker == 0xFF else 2
            continue
        if marker in (0xDA, 0xD9):
            return
        segment = stream[place + 4 : place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")]
        yield marker, segment
        place += 4 + len(segment)
