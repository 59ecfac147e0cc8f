"""Looks at the chunks of a PNG file before ITK does, which says nothing of most of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

SIGNATURE = 8  # bytes before the first chunk
COLOUR, PALETTE = 2, 3  # of the colour type: a bit, and a value
_MOST = 2**20  # bytes of a chunk that is looked at


@dataclass(frozen=True)
class PngChunks:
    """What the chunks of a PNG file say.

    Attributes:
        whole: whether its last chunk is there.
        is_colour: whether its pixels are stored as colours.
        significant: the bits of a sample that meant something where it came from (sBIT); None where not said, or for
            a palette.
        exif: the block of its eXIf chunk.
        plain: what takes its sBIT away, (where, hexadecimal digits): ITK would drop bits that sBIT does not count.
    """

    whole: bool
    is_colour: bool
    significant: int | None
    exif: bytes | None
    plain: list[tuple[int, str]]


def read_chunks(path: Path) -> PngChunks:
    """Goes from chunk to chunk; pixels are passed over.

    Args:
        path: a file with PNG's signature.

    Returns:
        What they say, as far as they go.
    """
    found: dict[bytes, tuple[int, bytes]] = {}
    whole = False
    with path.open("rb") as file:
        file.seek(SIGNATURE)
        while len(head := file.read(8)) == 8 and not whole:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"IHDR", b"sBIT", b"eXIf") and length <= _MOST:
                found.setdefault(kind, (file.tell() - 4, file.read(length)))
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)
            whole = kind == b"IEND"
    colour = found[b"IHDR"][1][9] if len(found.get(b"IHDR", (0, b""))[1]) == 13 else 0
    place, bits = found.get(b"sBIT", (0, b""))
    plain = []
    if place:  # another ancillary chunk of the same length, which no decoder knows
        chunk = b"siBT" + bits
        plain = [(place, (chunk + zlib.crc32(chunk).to_bytes(4, "big")).hex())]
    return PngChunks(
        whole=whole,
        is_colour=bool(colour & COLOUR),
        significant=max(bits[: 3 if colour & COLOUR else 1]) if bits and colour != PALETTE else None,
        exif=found[b"eXIf"][1] if b"eXIf" in found else None,
        plain=plain,
    )
