"""Reads one grey DICOM image: its pixels, its photometry and its geometry, and nothing that identifies a patient."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder, pixel_array
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from bundle.transforms.dicom_photometry import PhotometryError, to_unit_range
from bundle.transforms.radiograph_error import refusal
from bundle.transforms.value_window import WindowOptions

logger = logging.getLogger(__name__)

REQUIRED_TAGS = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
PIXEL_TAGS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# Only named attributes are read: faster, and no patient's name can reach a message, a log or the metadata.
HEADER_TAGS = tuple(map(Tag, (*REQUIRED_TAGS, "NumberOfFrames", "SOPClassUID")))
IMAGE_TAGS = HEADER_TAGS + tuple(
    map(
        Tag,
        (
            *PIXEL_TAGS,
            *SPACING_TAGS,
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "PlanarConfiguration",
            "ExtendedOffsetTable",
            "ExtendedOffsetTableLengths",
            "PixelPaddingValue",
            "PixelPaddingRangeLimit",
            "ModalityLUTSequence",
            "RescaleSlope",
            "RescaleIntercept",
            "VOILUTSequence",
            "WindowCenter",
            "WindowWidth",
            "VOILUTFunction",
            "PresentationLUTShape",
            "PresentationIntentType",
        ),
    )
)
# What pydicom raises for a file that breaks off or whose elements do not parse.
PARSE_ERRORS: tuple[type[Exception], ...] = (InvalidDicomError, EOFError, OSError, struct.error, zlib.error, ValueError)
PARSE_ERRORS += (TypeError, KeyError, AttributeError, IndexError, NotImplementedError, OverflowError)
DECODE_ERRORS = (ValueError, RuntimeError, AttributeError, TypeError, EOFError, OSError, struct.error, IndexError)
# Which pip package brings a decoder; uncompressed, deflated and RLE pixels need none.
CODEC_PACKAGES = {
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), "python-gdcm"),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), "python-gdcm"),
    **dict.fromkeys((JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), "pylibjpeg-openjpeg"),
}
TRANSCODE = "Export it again, uncompressed (Explicit VR Little Endian)"
# python-gdcm and Pillow refuse 12-bit samples; the decoder that takes them is GPL, and so the user's own choice.
TWELVE_BIT = "Write it uncompressed with DCMTK's `dcmdjpeg in out`, or pip install pylibjpeg-libjpeg (GPL)"


def read_dicom(path: Path, options: WindowOptions) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """Reads a DICOM file (PS3.10) that holds one grey image.

    Args:
        path: the file.
        options: choices that the file leaves open.

    Returns:
        The image (H, W), float32, 0..1, bright = dense, and its metadata (see `read_radiograph`).

    Raises:
        RadiographError: for what is not one complete grey image, or cannot be decoded here.
    """
    with path.open("rb") as file:
        _checked_header(path, file)
        file.seek(0)
        header = _parse(path, file, IMAGE_TAGS, stop_before_pixels=False)
    syntax = header.file_meta.TransferSyntaxUID
    stored = _decode(path, header, syntax)
    try:
        image, photometry = to_unit_range(
            stored, header, options, packed_low=syntax.is_encapsulated and syntax != RLELossless
        )
    except PhotometryError as error:
        raise refusal(
            path, str(error), "Mend the attribute, or state value_range in place of the file's window"
        ) from error
    for note in photometry["notes"]:
        logger.warning("%s: %s", path, note)
    spacing, source = _spacing(header)
    rows_mm, columns_mm = spacing or (1.0, 1.0)
    return image, {
        **photometry,
        "stored_size": (int(header.Rows), int(header.Columns)),
        "spacing": spacing,
        "spacing_source": source,
        "transfer_syntax": str(syntax),
        "format": "DICOM",
        "affine": [[-columns_mm, 0.0, 0.0, 0.0], [0.0, -rows_mm, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
    }


def dicom_size(path: Path) -> tuple[int, int]:
    """(rows, columns) of a DICOM file from its header alone, after the refusals that a header allows.

    Args:
        path: the file.

    Returns:
        (H, W).

    Raises:
        RadiographError: for what is not one grey image, or ends before its pixels do.
    """
    with path.open("rb") as file:
        header = _checked_header(path, file)
    return int(header.Rows), int(header.Columns)


def _checked_header(path: Path, file: BinaryIO) -> Dataset:
    """The attributes before the pixels, refused unless they describe one grey frame whose bytes are all there."""
    header = _parse(path, file, HEADER_TAGS, stop_before_pixels=True)
    _refuse_unless_one_grey_frame(path, header)
    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_deflated:  # pydicom inflates into memory, where the file's position says nothing
        _refuse_cut_pixels(path, file, header)
    return header


def _parse(path: Path, file: BinaryIO, tags: tuple[BaseTag, ...], *, stop_before_pixels: bool) -> Dataset:
    """Parses the attributes that are named."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=stop_before_pixels, specific_tags=list(tags))
        for element in header:  # pydicom converts values on first use: now, where a failure has its name
            _ = element.value
    except PARSE_ERRORS as error:
        raise refusal(
            path, "the DICOM header does not parse", "Wanted a complete DICOM file: export it again"
        ) from error
    syntax = header.file_meta.get("TransferSyntaxUID")
    if not syntax:
        remedy = "The file is cut short or was made wrongly: export it again"
        raise refusal(path, "the DICOM file names no Transfer Syntax (0002,0010)", remedy)
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise refusal(path, f"the Transfer Syntax {syntax} is not known", TRANSCODE)
    return header


def _refuse_unless_one_grey_frame(path: Path, header: Dataset) -> None:
    """Refuses what the attributes show not to be one grey image."""
    if "Rows" not in header and "Columns" not in header:
        kind = UID(header.get("SOPClassUID") or "").name or "of no stated class"
        raise refusal(path, f"the DICOM object ({kind}) is not an image", "Wanted a CR, DX or other grey projection")
    missing = [keyword for keyword in REQUIRED_TAGS if header.get(keyword) in (None, "")]
    if missing:
        found = f"the DICOM header lacks {', '.join(missing)}"
        raise refusal(path, found, "Wanted a complete image header: export it again")
    try:
        rows, columns, samples = int(header.Rows), int(header.Columns), int(header.SamplesPerPixel)
        frames = int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError) as error:
        found = "Rows, Columns, SamplesPerPixel or NumberOfFrames is not a whole number"
        raise refusal(path, found, "Wanted a valid image header: export it again") from error
    if rows <= 0 or columns <= 0:
        raise refusal(path, f"the image has {rows} rows and {columns} columns", "Wanted at least one of each")
    photometric = str(header.PhotometricInterpretation)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise refusal(
            path,
            f"the image is not grey ({photometric}, {samples} samples per pixel)",
            "Wanted MONOCHROME1 or MONOCHROME2: take the original image, not a colour copy",
        )
    if frames != 1:
        raise refusal(
            path, f"the image has {frames} frames", "Wanted one: write the frame that is meant to its own file"
        )


def _refuse_cut_pixels(path: Path, file: BinaryIO, header: Dataset) -> None:
    """Refuses a file that has no pixel data, or ends inside them. `file` stands at the pixel data element (PS3.5 7.1).

    Only tags and lengths are read, so that a check of thousands of files takes seconds.
    """
    implicit, little = header.original_encoding
    order = "<" if little else ">"
    start = file.tell()
    size = path.stat().st_size
    group_element = file.read(4)
    if len(group_element) < 4 or struct.unpack(order + "HH", group_element)[0] != 0x7FE0:
        raise refusal(path, "the DICOM file has no pixel data", "It is cut short, or not an image: export it again")
    field = file.read(4 if implicit else 8)
    cut = len(field) < (4 if implicit else 8)
    if not cut:
        wide = implicit or field[:2] in (b"OB", b"OW", b"OF", b"OD", b"UN")
        length = struct.unpack(order + "I", field[-4:])[0] if wide else struct.unpack(order + "H", field[2:4])[0]
        if length != 0xFFFFFFFF:
            available = min(length, size - file.tell())
            wanted = (int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) + 7) // 8
            if available < wanted:
                size_text = f"{header.Rows} x {header.Columns} pixels of {header.BitsAllocated} bits"
                found = f"the pixel data are cut short: {available} bytes, {size_text} need {wanted}"
                raise refusal(path, found, "Copy or export the file again")
            return
        while not cut:  # encapsulated (PS3.5 A.4): items of stated length up to a sequence delimiter
            item = file.read(8)
            if len(item) < 8:
                cut = True
                break
            group, element, length = struct.unpack("<HHI", item)
            if (group, element) == (0xFFFE, 0xE0DD):
                return
            cut = (group, element) != (0xFFFE, 0xE000) or file.tell() + length > size
            file.seek(length, 1)
    raise refusal(
        path,
        f"the pixel data are cut short: the file ends or breaks off in them, {size - start} bytes after their start",
        "Copy or export the file again",
    )


def _decode(path: Path, header: Dataset, syntax: UID) -> npt.NDArray[Any]:
    """The stored values, (H, W), their unused bits as in the file."""
    if not any(header.get(keyword) is not None for keyword in PIXEL_TAGS):
        raise refusal(path, "the DICOM file has no pixel data", "It is cut short, or not an image: export it again")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise refusal(path, f"pixels in {syntax.name} ({syntax}) are not decoded here", TRANSCODE) from error
    if not decoder.is_available:
        package = CODEC_PACKAGES.get(syntax, "pylibjpeg")
        raise refusal(path, f"there is no decoder for {syntax.name} ({syntax})", f"Install one: pip install {package}")
    try:
        stored = pixel_array(header, raw=True, correct_unused_bits=False)
    except DECODE_ERRORS as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines())
        remedy = TWELVE_BIT if syntax == JPEGExtended12Bit else TRANSCODE
        raise refusal(path, f"the pixels, in {syntax.name} ({syntax}), do not decode: {reason}", remedy) from error
    if stored.shape != (int(header.Rows), int(header.Columns)):
        found = f"the decoded pixels have the shape {stored.shape}, the header states {header.Rows} x {header.Columns}"
        raise refusal(path, found, "Export the file again")
    return np.asarray(stored)


def _spacing(header: Dataset) -> tuple[tuple[float, float] | None, str | None]:
    """(row, column) distance in mm and the attribute it comes from; None where the file has no usable one.

    Pixel Spacing goes first: it is calibrated, or else equal to the others (PS3.3 10.7.1.3). Imager Pixel Spacing is
    measured at the detector, where the projected body is magnified: lengths taken with it are too long.
    """
    for keyword in SPACING_TAGS:
        try:
            values = tuple(float(value) for value in header.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if len(values) == 2 and all(np.isfinite(value) and value > 0 for value in values):
            return (values[0], values[1]), keyword
    return None, None
