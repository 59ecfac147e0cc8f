"""Reads PNG and JPEG files: pictures for screens, whose integers span their type, and which know no millimetres.

By Pillow, or by ITK what Pillow would change: 16 bits a colour, transparency by colour, and inks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading.decode_worker import DecodingError
from bundle.reading.decoder import ItkHeader, itk_header, itk_pixels
from bundle.reading.exif import exif_orientation
from bundle.reading.image_orientation import DisplayPlan, plan_turn
from bundle.reading.jpeg_frame import exif_block, has_end
from bundle.reading.one_picture import COPY_AGAIN, one_channel, one_plane
from bundle.reading.picture_decoder import pillow_header, pillow_pixels
from bundle.reading.png_chunks import damage, read_chunks
from bundle.reading.radiograph_error import refusal
from bundle.reading.upright import Upright

DEEP = "I;16"
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", DEEP)  # Pillow's, of which every bit stays


@dataclass(frozen=True)
class PrintHeader:
    """What a PNG or JPEG file says before its pixels.

    Attributes:
        plan: how it is shown.
        is_grey: whether it is stored as grey; colours may be equal all the same.
        header: of the file.
        significant: of PNG, the bits that sBIT counts; None where it does not say.
        patches: what ITK must read in place of some bytes.
    """

    plan: DisplayPlan
    is_grey: bool
    header: ItkHeader
    significant: int | None = None
    patches: list[tuple[int, str]] = field(default_factory=list)


def print_header(path: Path, kind: str, isolated: bool) -> PrintHeader:
    """Reads what comes before the pixels, and that they end.

    The orientation that EXIF states is undone, as every viewer of such files does, and box drawing tools do.

    Args:
        path: the file.
        kind: "PNG" or "JPEG".
        isolated: whether in a process of its own.

    Raises:
        RadiographError: the header does not parse, or the file is cut short.
    """
    chunks = read_chunks(path) if kind == "PNG" else None
    try:
        header = None if chunks and chunks.transparent else pillow_header(path, kind, isolated)
        if header is None or header.mode not in MODES or (chunks and chunks.deep and header.mode != DEEP):
            header = itk_header(path, kind, isolated)
    except DecodingError as error:
        raise refusal(path, f"the {kind} header does not parse ({error})", "Wanted a complete file") from error
    width, height = one_plane(path, header.shape)
    if chunks:
        if not chunks.whole:
            raise refusal(path, "the PNG file is cut short: it has no IEND", COPY_AGAIN)
        turn = Upright.of(exif_orientation(chunks.exif))
        plan = plan_turn((height, width), turn)
        return PrintHeader(plan, not chunks.is_colour, header, chunks.significant, chunks.plain)
    content = path.read_bytes()
    if not has_end(content):
        raise refusal(path, "the JPEG file is cut short: it has no end of image", COPY_AGAIN)
    turn = Upright.of(exif_orientation(exif_block(content)))
    return PrintHeader(plan_turn((height, width), turn), header.channels < 3, header)


def print_pixels(
    path: Path, kind: str, header: PrintHeader, isolated: bool, notes: list[str]
) -> tuple[npt.NDArray[Any], int]:
    """Reads the pixels.

    Samples of fewer significant bits are scaled up to their type's range (PNG, sBIT). Where none exceeds what sBIT
    counts, and the bits below would be needed, they were not: then sBIT's range is theirs.

    Args:
        path, kind, header, isolated: as for `print_header`.
        notes: what was found otherwise than stated is added.

    Returns:
        The picture (H, W), and the greatest value of its range, from 0.

    Raises:
        RadiographError: they do not decode, or are colours.
    """
    try:
        if header.header.mode:
            if kind == "PNG" and (wrong := damage(path)):
                raise DecodingError(wrong)
            data = pillow_pixels(path, kind, header.header, isolated)
        else:
            data = itk_pixels(path, kind, header.header, isolated, header.patches)
    except DecodingError as error:
        raise refusal(path, f"the {kind} pixels do not decode ({error})", COPY_AGAIN) from error
    if header.header.channels > 1:
        data = one_channel(path, data, notes)
    top = int(np.iinfo(data.dtype).max)
    unused = 8 * data.dtype.itemsize - (header.significant or 8 * data.dtype.itemsize)
    if unused > 0 and data.max() <= top >> unused and (data & ((1 << unused) - 1)).any():
        top >>= unused
        notes.append(f"sBIT counts {header.significant} bits, and no value has more: 0 to {top} was taken as the range")
    return header.plan.apply(data.T[..., np.newaxis]), top
