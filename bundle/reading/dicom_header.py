"""Parses the header of a DICOM image and refuses, from it alone, what is not one complete grey frame."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from bundle.reading.deflated import inflate, inflated_bytes
from bundle.reading.radiograph_error import RadiographError, refusal

REQUIRED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
# Only named attributes are read: faster, and no patient's name can reach a message, a log or the metadata.
HEADER_TAGS = tuple(map(Tag, (*REQUIRED, "NumberOfFrames", "SOPClassUID")))

# A small compressed file can claim to be any size: five times a large radiograph, and what comes before its pixels.
MAX_PIXELS = 100_000_000
MAX_HEADER_BYTES = 16_000_000

EXPORT_AGAIN = "Copy or export the file again"
UNCOMPRESSED = "Export it again, uncompressed (Explicit VR Little Endian)"

# What pydicom raises for a file that breaks off or whose elements do not parse.
PARSE_ERRORS = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Frame:
    """How the pixels of one grey frame are stored.

    Attributes:
        rows: H.
        columns: W.
        bits_allocated: of one pixel cell.
        photometric_interpretation: MONOCHROME1 or MONOCHROME2.
        syntax: the transfer syntax.
    """

    rows: int
    columns: int
    bits_allocated: int
    photometric_interpretation: str
    syntax: UID

    @property
    def size(self) -> int:
        """Bytes of the pixels, uncompressed."""
        return (self.rows * self.columns * self.bits_allocated + 7) // 8


def read_frame(path: Path, file: BinaryIO) -> Frame:
    """Reads the attributes before the pixels, and that the pixels are all there.

    Args:
        path: the file, for messages.
        file: it, opened at its start; it is left somewhere behind.

    Returns:
        How the frame is stored.

    Raises:
        RadiographError: for what is not one grey frame, has no pixel data, ends before they do, or is compressed and
            of more than `MAX_PIXELS`.
    """
    header, syntax = parse(path, file, HEADER_TAGS, stop_before_pixels=True)
    frame = _one_grey_frame(path, header, syntax)
    if (syntax.is_deflated or syntax.is_encapsulated) and frame.rows * frame.columns > MAX_PIXELS:
        found = f"the image states {frame.rows} x {frame.columns} pixels, compressed"
        raise refusal(path, found, f"Wanted at most {MAX_PIXELS // 1_000_000} million: check the header")
    if not syntax.is_deflated:  # it is inflated into memory, where the file's position says nothing
        _refuse_cut_pixels(path, file, header, frame)
    return frame


def parse(
    path: Path, file: BinaryIO, tags: tuple[BaseTag, ...], *, stop_before_pixels: bool, pixel_bytes: int = 0
) -> tuple[Dataset, UID]:
    """Parses named attributes; of a deflated file it inflates what these may take, not all that it may hold.

    Args:
        path: the file, for messages.
        file: it, opened at its start.
        tags: the attributes that are read.
        stop_before_pixels: whether to leave `file` at the pixel data; a deflated file is left at its start.
        pixel_bytes: how many the pixels have, where they are read too.

    Returns:
        The attributes and the transfer syntax.

    Raises:
        RadiographError: for a header that does not parse, or a deflated file that holds more than it may.
    """
    place = ""
    most = MAX_HEADER_BYTES + pixel_bytes
    try:
        inflated = inflate(file, most + 1)
        whole = file if inflated is None else inflated
        too_long = inflated is not None and inflated_bytes(inflated) > most
        if too_long and not stop_before_pixels:
            raise _too_long(path, most)
        header = pydicom.dcmread(whole, stop_before_pixels=stop_before_pixels, specific_tags=list(tags))
        if too_long and not whole.read(1):  # all that was inflated is read, and no pixel data have come
            raise _too_long(path, most)
        for tag in tuple(header.keys()):  # pydicom converts values on first use: now, where a failure has its name
            place = f" at {keyword_for_tag(tag)}"
            _ = header[tag].value
        stated = header.file_meta.get("TransferSyntaxUID") if inflated is None else DeflatedExplicitVRLittleEndian
        syntax = UID(stated or "")
        known = not syntax.is_private and syntax.is_transfer_syntax
    except RadiographError:
        raise
    except PARSE_ERRORS as error:
        remedy = f"It is cut short or damaged: {EXPORT_AGAIN}"
        raise refusal(path, f"the DICOM header does not parse{place}", remedy) from error
    if not syntax:
        found = "the DICOM file names no Transfer Syntax (0002,0010)"
        raise refusal(path, found, f"It is cut short or was made wrongly: {EXPORT_AGAIN}")
    if not known:
        # A damaged length can put other attributes' bytes into this value: only a well-formed UID is printed.
        name = syntax if syntax.is_valid else "(not a UID)"
        raise refusal(path, f"the Transfer Syntax {name} is not known", UNCOMPRESSED)
    return header, syntax


def _too_long(path: Path, most: int) -> RadiographError:
    found = f"inflated, the DICOM file holds more than the {most:,} bytes that its header and pixels may take"
    return refusal(path, found, "Write it uncompressed if this is meant: DCMTK's `dcmconv +te in out`")


def _one_grey_frame(path: Path, header: Dataset, syntax: UID) -> Frame:
    """The frame that the attributes describe, refused unless it is one and grey."""
    if "Rows" not in header and "Columns" not in header:
        kind = UID(str(header.get("SOPClassUID") or ""))
        name = kind.name if kind.is_valid and kind else "of no known class"
        raise refusal(path, f"the DICOM object ({name}) is not an image", "Wanted a CR, DX or other grey projection")
    missing = [keyword for keyword in REQUIRED if header.get(keyword) in (None, "")]
    if missing:
        raise refusal(path, f"the DICOM header lacks {', '.join(missing)}", f"Wanted a complete one: {EXPORT_AGAIN}")
    try:
        rows, columns, samples = int(header.Rows), int(header.Columns), int(header.SamplesPerPixel)
        bits_allocated, frames = int(header.BitsAllocated), int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError) as error:
        found = "Rows, Columns, SamplesPerPixel, BitsAllocated or NumberOfFrames is not a whole number"
        raise refusal(path, found, f"Wanted a valid header: {EXPORT_AGAIN}") from error
    if rows <= 0 or columns <= 0:
        raise refusal(path, f"the image has {rows} rows and {columns} columns", "Wanted at least one of each")
    if not 1 <= bits_allocated <= 64:  # PS3.5 8.1.1, and double floats
        raise refusal(path, f"the pixels have {bits_allocated} bits", "Wanted 1 to 64")
    photometric = str(header.PhotometricInterpretation)
    if samples != 1 or photometric not in GREY:
        named = photometric if photometric in (*GREY, *COLOUR) else "an unknown photometric interpretation"
        found = f"the image is not grey ({named}, {samples} samples per pixel)"
        raise refusal(path, found, "Wanted MONOCHROME1 or MONOCHROME2: take the original, not a colour copy")
    if frames != 1:
        raise refusal(
            path, f"the image has {frames} frames", "Wanted one: write the frame that is meant to its own file"
        )
    return Frame(rows, columns, bits_allocated, photometric, syntax)


def _refuse_cut_pixels(path: Path, file: BinaryIO, header: Dataset, frame: Frame) -> None:
    """Refuses a file that has no pixel data, or ends inside them. `file` stands at the pixel data element (PS3.5 7.1).

    Only tags and lengths are read, so that a check of thousands of files takes seconds.
    """
    implicit, little = header.original_encoding
    order = "<" if little else ">"
    size = path.stat().st_size
    start = file.tell()
    element = file.read(8 if implicit else 12)
    if len(element) < 4 or struct.unpack_from(order + "H", element)[0] != 0x7FE0:
        raise refusal(path, "the DICOM file has no pixel data", f"It is cut short, or not an image: {EXPORT_AGAIN}")
    cut = len(element) < (8 if implicit else 12)
    if not cut:
        length = struct.unpack(order + "I", element[-4:])[0]  # OB, OW and the like have 32 bits (PS3.5 7.1.2)
        if length != 0xFFFFFFFF:
            available = min(length, size - file.tell())
            wanted = (frame.rows * frame.columns * frame.bits_allocated + 7) // 8
            if available < wanted:
                pixels = f"{frame.rows} x {frame.columns} pixels of {frame.bits_allocated} bits"
                found = f"the pixel data are cut short: {available} bytes, {pixels} need {wanted}"
                raise refusal(path, found, EXPORT_AGAIN)
            return
        cut = not _fragments_are_whole(file, size)
    if cut:
        found = f"the pixel data are cut short: they break off in the file's last {size - start} bytes"
        raise refusal(path, found, EXPORT_AGAIN)


def _fragments_are_whole(file: BinaryIO, size: int) -> bool:
    """Whether encapsulated pixels (PS3.5 A.4) are items of stated length up to a sequence delimiter."""
    while len(item := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", item)
        if (group, element) == (0xFFFE, 0xE0DD):
            return True
        if (group, element) != (0xFFFE, 0xE000) or file.tell() + length > size:
            return False
        file.seek(length, 1)
    return False
