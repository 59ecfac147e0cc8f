"""Looks at the chunks of a PNG file before ITK does, which says nothing of most of them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

SIGNATURE = 8  # bytes before the first chunk
COLOUR, PALETTE = 2, 3  # of the colour type: a bit, and a value
NEEDED = (b"IHDR", b"PLTE", b"IDAT")  # to show the picture
_MOST = 2**20  # bytes of a chunk that is looked at, or at once


@dataclass(frozen=True)
class PngChunks:
    """What the chunks of a PNG file say.

    Attributes:
        whole: whether its last chunk is there.
        is_colour: whether its pixels are stored as colours.
        significant: the bits of a sample that meant something where it came from (sBIT); None where not said, or for
            a palette.
        exif: the block of its eXIf chunk.
        deep: whether its samples have 16 bits.
        transparent: whether a colour, or colours of its palette, stand for transparency (tRNS).
        plain: what takes its sBIT away, (where, hexadecimal digits): ITK would drop bits that sBIT does not count.
    """

    whole: bool
    is_colour: bool
    significant: int | None
    exif: bytes | None
    deep: bool
    transparent: bool
    plain: list[tuple[int, str]]


def read_chunks(path: Path) -> PngChunks:
    """Goes from chunk to chunk; pixels are passed over.

    Args:
        path: a file with PNG's signature.

    Returns:
        What they say, as far as they go.
    """
    found: dict[bytes, tuple[int, bytes]] = {}
    whole = transparent = False
    with path.open("rb") as file:
        file.seek(SIGNATURE)
        while len(head := file.read(8)) == 8 and not whole:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"IHDR", b"sBIT", b"eXIf") and length <= _MOST:
                found.setdefault(kind, (file.tell() - 4, file.read(length)))
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)
            transparent |= kind == b"tRNS"
            whole = kind == b"IEND"
    header = found.get(b"IHDR", (0, b""))[1]
    depth, colour = header[8:10] if len(header) == 13 else (0, 0)
    place, bits = found.get(b"sBIT", (0, b""))
    plain = []
    if place:  # another ancillary chunk of the same length, which no decoder knows
        chunk = b"siBT" + bits
        plain = [(place, (chunk + zlib.crc32(chunk).to_bytes(4, "big")).hex())]
    return PngChunks(
        whole=whole,
        is_colour=bool(colour & COLOUR),
        significant=max(bits[: 3 if colour & COLOUR else 1]) if bits and colour != PALETTE else None,
        deep=depth == 16,
        transparent=transparent,
        exif=found[b"eXIf"][1] if b"eXIf" in found else None,
        plain=plain,
    )


def damage(path: Path) -> str | None:
    """What is wrong with the chunks that the picture needs and Pillow does not see; None for nothing.

    A chunk whose checksum is wrong, or pixels that end before the last row: Pillow shows the rest black.

    Args:
        path: a file with PNG's signature.
    """
    wanted = got = 0
    stream, broken = zlib.decompressobj(), ""
    with path.open("rb") as file:
        file.seek(SIGNATURE)
        while len(head := file.read(8)) == 8:
            left, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind not in NEEDED:
                file.seek(left + 4, 1)
                continue
            value = zlib.crc32(kind)
            while left > 0 and (part := file.read(min(left, _MOST))):
                value, left = zlib.crc32(part, value), left - len(part)
                if kind == b"IHDR":
                    wanted = _inflated(part)
                while kind == b"IDAT" and part and got < wanted and not (stream.eof or broken):
                    try:
                        got += len(stream.decompress(part, _MOST))
                    except zlib.error as error:
                        broken = f"the pixels do not inflate ({error})"
                    part = stream.unconsumed_tail
            if file.read(4) != value.to_bytes(4, "big"):
                return f"the checksum of its {kind.decode()} is wrong"
            if broken:
                return broken
    return "the pixels end before the last row" if got < wanted else None


def _inflated(header: bytes) -> int:
    """How many bytes the pixels have, each row with its filter's, of an IHDR's content; 0 where it says too little."""
    if len(header) != 13:
        return 0
    width, height, depth, colour, _, _, passes = struct.unpack(">IIBBBBB", header)
    bits = depth * {COLOUR: 3, 4: 2, 6: 4}.get(colour, 1)
    # first column, first row, steps of Adam7's passes
    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    total = 0
    for x, y, right, down in adam7 if passes else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // right), -(-(height - y) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total
