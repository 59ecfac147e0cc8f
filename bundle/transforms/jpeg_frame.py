"""Looks at the headers of a JPEG or JPEG-LS stream before a decoder does."""

from __future__ import annotations

END_OF_IMAGE, START_OF_SCAN = b"\xff\xd9", b"\xff\xda"
# Start of frame: JPEG's own, without the tables that share its range (ITU-T T.81 table B.1), and JPEG-LS's (T.87).
FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
STANDALONE = {0x01, *range(0xD0, 0xD8)}


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


def has_end(stream: bytes) -> bool:
    """Whether an end of image follows the last start of scan; neither occurs within coded samples."""
    return stream.rfind(END_OF_IMAGE) > stream.rfind(START_OF_SCAN) >= 0


def _frame_shape(stream: bytes) -> tuple[int, int, int, int] | None:
    """(precision, height, width, components) of the first frame header (T.81 B.2.2); None where there is none."""
    if stream[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 4 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker in STANDALONE or marker == 0xFF:  # without a length, or a fill byte
            place += 1 if marker == 0xFF else 2
            continue
        segment = stream[place + 4 : place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")]
        if marker in FRAME_MARKERS and len(segment) >= 6:
            height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
            return segment[0], height, width, segment[5]
        if marker in (0xDA, 0xD9):
            return None
        place += 4 + len(segment)
    return None
