"""Reads TIFF files: by tifffile what it decodes, else by ITK, and never fewer bits than they have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading.decode_worker import DecodingError
from bundle.reading.decoder import ItkHeader, TiffHeader, itk_pixels, tiff_header, tiff_pixels
from bundle.reading.image_orientation import LPS_IDENTITY, DisplayPlan, plan_turn
from bundle.reading.one_picture import COPY_AGAIN, GREY, one_channel, one_plane, several
from bundle.reading.radiograph_error import refusal
from bundle.reading.upright import Upright

UNCOMPRESSED = "Save it uncompressed"
TIFFFILE = ("NONE", "DEFLATE", "ADOBE_DEFLATE", "PACKBITS", "LZMA")  # the codecs that it has by itself
HORIZONTAL = 2  # the predictor that it has
GREYS = ("MINISBLACK", "MINISWHITE")
COLOURS = ("RGB", "PALETTE")


@dataclass(frozen=True)
class TiffFile:
    """What a TIFF file says before its pixels.

    Attributes:
        plan: how it is shown.
        is_grey: whether it is stored as grey; colours may be equal all the same.
        tags: what it says.
    """

    plan: DisplayPlan
    is_grey: bool
    tags: TiffHeader


def read_tiff_header(path: Path, isolated: bool) -> TiffFile:
    """Reads the tags. The orientation that they state is undone, as viewers do.

    Args:
        path: the file.
        isolated: whether in a process of its own.

    Raises:
        RadiographError: they do not parse, or state what is not one picture.
    """
    try:
        tags = tiff_header(path, isolated)
    except DecodingError as error:
        raise refusal(path, f"the TIFF header does not parse ({error})", "Wanted a complete file") from error
    if tags.pages != 1 or tags.axes not in ("YX", "YXS", "SYX"):
        raise several(path)
    rows, columns = (tags.shape[tags.axes.index(axis)] for axis in "YX")
    width, height = one_plane(path, (columns, rows))
    turn = Upright.of(tags.orientation)
    # ITK, and viewers with it, undo mirrors, and of quarter turns only the mirror that is half of them.
    seen = Upright.of(tags.orientation - 4) if turn.transposed else turn
    to_seen = seen.affine((height, width), np.eye(4))
    place = LPS_IDENTITY @ np.linalg.inv(to_seen)
    plan = plan_turn((height, width), turn, place)
    return TiffFile(plan, tags.photometric in GREYS, tags)


def read_tiff_pixels(
    path: Path, header: TiffFile, isolated: bool, notes: list[str]
) -> tuple[npt.NDArray[Any], int | None]:
    """Reads the pixels.

    Args:
        path, header, isolated: as for `read_tiff_header`.
        notes: what was found otherwise than stated is added.

    Returns:
        The picture (H, W), and the greatest value of its range, from 0; None for signed and large integers and floats.

    Raises:
        RadiographError: they do not decode with all their bits, or are colours.
    """
    tags = header.tags
    try:
        if tags.compression in TIFFFILE and tags.predictor <= HORIZONTAL:
            data = tiff_pixels(path, tags, isolated)
        else:
            data = _by_itk(path, tags, isolated)
    except DecodingError as error:
        found = f"the TIFF pixels do not decode ({error})"
        raise refusal(path, found, f"{COPY_AGAIN}, or: {UNCOMPRESSED}") from error
    if tags.photometric not in (*GREYS, *COLOURS, "YCBCR"):
        raise refusal(path, f"the image is not grey ({tags.photometric})", GREY)
    if tags.axes == "SYX" and data.ndim == 3:
        data = np.moveaxis(data, 0, -1)
    if data.ndim == 3:
        data = one_channel(path, data, notes)
    top = None
    if data.dtype in (np.uint8, np.uint16):
        top = int(np.iinfo(data.dtype).max) if tags.photometric == "PALETTE" else 2**tags.bits - 1
    return header.plan.apply(data.T[..., np.newaxis]), top


def _by_itk(path: Path, tags: TiffHeader, isolated: bool) -> npt.NDArray[Any]:
    """The pixels as they are stored, by ITK, which has more codecs but knows strips alone.

    What is in tiles, in planes, or turned, it makes into 8 bits; of which a turn can be taken out of its sight.
    """
    samples = 1 if len(tags.shape) == 2 else tags.shape[-1]
    if not tags.plain or tags.photometric not in (*GREYS, "RGB", "YCBCR") or samples == 2:
        raise DecodingError(f"{tags.compression} in this layout")
    rows, columns = tags.shape[:2]
    promised = ItkHeader((columns, rows), np.eye(4), samples, "")
    patches = [] if tags.patch is None or tags.orientation == 1 else [tags.patch]
    data = itk_pixels(path, "TIFF", promised, isolated, patches)
    if data.dtype != np.dtype(f"{tags.type}{tags.bits // 8}"):
        raise DecodingError(f"{tags.bits} bits became {8 * data.dtype.itemsize}")
    return data
