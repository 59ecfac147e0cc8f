"""Reads one grey DICOM image: its pixels, its photometry and its geometry, and nothing that identifies a patient."""

from __future__ import annotations

import math
import struct
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder, pixel_array
from pydicom.tag import Tag
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from bundle.reading.decode_worker import GDCM_EXTENDED
from bundle.reading.decoder import decode_frame
from bundle.reading.dicom_header import EXPORT_AGAIN, PIXELS, UNCOMPRESSED, Frame, parse, read_frame
from bundle.reading.dicom_photometry import to_unit_range
from bundle.reading.dicom_values import PhotometryError
from bundle.reading.fragments import SEQUENCE_END
from bundle.reading.jpeg_frame import frame_precision, jpeg2000_fault, jpeg_fault
from bundle.reading.options import ReadingOptions
from bundle.reading.padding import RECTANGLE
from bundle.reading.pixel_aspect import pixel_aspect
from bundle.reading.radiograph_error import refusal
from bundle.reading.upright import AS_STORED, Upright, patient_upright
from bundle.reading.voi import offered

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
ASPECT_TAGS = ("PixelAspectRatio",)
VALUE_TAGS = ("BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit")
VOI_TAGS = tuple(map(Tag, ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")))
GREY_TAGS = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth")
SHOWN_TAGS = ("VOILUTFunction", "PresentationLUTShape", "PresentationIntentType")
GREY_REMEDY = "Mend the attribute, or state reading#value_range in place of the file's window"
INTENSITY_TAGS = ("PixelIntensityRelationship", "PixelIntensityRelationshipSign")
CIRCLE = ("CenterOfCircularShutter", "RadiusOfCircularShutter")
SHUTTER_TAGS = ("ShutterShape", *RECTANGLE, *CIRCLE, "VerticesOfThePolygonalShutter")
IMAGE_TAGS = tuple(
    Tag(keyword)
    for keywords in (SPACING_TAGS, ASPECT_TAGS, VALUE_TAGS, GREY_TAGS, SHOWN_TAGS, INTENSITY_TAGS, SHUTTER_TAGS)
    for keyword in keywords
)

JPEG_LS_FAMILY = (JPEGLSLossless, JPEGLSNearLossless)
JPEG_FAMILY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, *JPEG_LS_FAMILY)
JPEG2000_FAMILY = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
# What is read, in the order in which it is wished for: a sender that has the choice must not take one with losses.
TRANSFER_SYNTAXES = tuple(sorted((*NATIVE, RLELossless, *JPEG_FAMILY, *JPEG2000_FAMILY), key=LOSSY.__contains__))
# Which pip package brings a decoder; uncompressed, deflated and RLE pixels need none.
CODEC_PACKAGES = {
    **dict.fromkeys(JPEG_FAMILY, "python-gdcm"),
    **dict.fromkeys(JPEG2000_FAMILY, "pylibjpeg pylibjpeg-openjpeg"),
}
# The fastest decoders, by pydicom's names: OpenJPEG by pylibjpeg, and CharLS without GDCM around it.
FASTEST = dict.fromkeys(JPEG2000_FAMILY, "pylibjpeg") | dict.fromkeys(JPEG_LS_FAMILY, "pyjpegls")
# What pydicom and its plugins raise for pixels that do not decode.
DECODE_ERRORS = (AttributeError, EOFError, IndexError, KeyError, MemoryError, OSError, OverflowError, RuntimeError)
DECODE_ERRORS += (TypeError, ValueError, struct.error)  # type: ignore[assignment]


def read_dicom(path: Path, options: ReadingOptions) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], dict[str, Any]]:
    """Reads a DICOM file (PS3.10) that holds one grey image.

    Args:
        path: the file.
        options: choices that the file leaves open.

    Returns:
        The image (H, W), float32, 0..1, bright = dense, its stored values, and its metadata (see `read_radiograph`).

    Raises:
        RadiographError: for what is not one complete grey image, or cannot be decoded here.
    """
    with path.open("rb") as file:
        frame = read_frame(path, file, IMAGE_TAGS)
        whole: BinaryIO = file
        if frame.end is not None:
            file.seek(0)
            whole = BytesIO(file.read(frame.end) + SEQUENCE_END)
        pixels = parse(path, whole, PIXELS, stop_before_pixels=False, pixel_bytes=frame.size, writing=frame.rest)
    header = frame.header.dataset
    header.update(pixels.dataset)
    header.file_meta.TransferSyntaxUID = frame.syntax
    stored = _decode(path, header, frame, options.isolated)
    packed_low = frame.syntax.is_encapsulated and frame.syntax != RLELossless
    try:
        image, photometry = to_unit_range(stored, header, options, packed_low=packed_low)
    except PhotometryError as error:
        raise refusal(path, str(error), GREY_REMEDY) from error
    notes = [*frame.header.notes, *frame.notes, *photometry.pop("notes")]
    spacing, source = _spacing(header)
    row_mm, column_mm = spacing or (1.0, 1.0)
    return (
        image,
        stored,
        {
            **photometry,
            "stored_size": (frame.rows, frame.columns),
            "spacing": spacing,
            "spacing_source": source,
            "pixel_aspect": pixel_aspect(*(spacing or _aspect_ratio(header)), notes),
            "orientation": _upright(frame, notes).orientation,
            "transfer_syntax": str(frame.syntax),
            "format": "DICOM",
            "not_assessed": frame.not_frontal,
            "affine": [
                [-column_mm, 0.0, 0.0, 0.0],
                [0.0, -row_mm, 0.0, 0.0],
                [0.0, 0.0, 1.0, 0.0],
                [0.0, 0.0, 0.0, 1.0],
            ],
            "notes": notes,
        },
    )


def dicom_layout(path: Path, options: ReadingOptions) -> tuple[tuple[int, int], int, str | None]:
    """What a DICOM file's header says of its picture, after the refusals that a header allows.

    Args:
        path: the file.
        options: with which it will be read.

    Returns:
        (H, W), the orientation (see `read_radiograph`), and why the image is no frontal chest radiograph, None where
        the header does not say that.

    Raises:
        RadiographError: for what is not one grey image, ends before its pixels do, or lacks the VOI LUT or window
            that the options choose.
    """
    with path.open("rb") as file:
        chosen = bool(options.voi_index) and options.value_range is None
        frame = read_frame(path, file, VOI_TAGS if chosen else ())
    if chosen:
        try:
            offered(frame.header.dataset, options, [])
        except PhotometryError as error:
            raise refusal(path, str(error), GREY_REMEDY) from error
    return (frame.rows, frame.columns), _upright(frame, []).orientation, frame.not_frontal


def _upright(frame: Frame, notes: list[str]) -> Upright:
    """What brings the stored picture upright, by Patient Orientation."""
    if not frame.directions:
        return AS_STORED
    turn = patient_upright(frame.directions)
    if turn is None:
        notes.append("PatientOrientation is that of no frontal and no lateral; it was passed over")
        return AS_STORED
    if turn != AS_STORED:
        stated = "\\".join(direction[:1] for direction in frame.directions)
        notes.append(
            f"PatientOrientation is {stated}: the network sees it upright; boxes and maps are of stored pixels"
        )
    return turn


def _aspect_ratio(header: Dataset) -> tuple[float, float]:
    """Pixel Aspect Ratio, vertical and horizontal (PS3.3 C.7.6.3.1.7); that of square pixels where there is none."""
    try:
        down, across = (float(value) for value in header.get("PixelAspectRatio") or (1, 1))
    except (TypeError, ValueError):
        return 1.0, 1.0
    return (down, across) if down > 0 and across > 0 else (1.0, 1.0)


def _decode(path: Path, header: Dataset, frame: Frame, isolated: bool) -> npt.NDArray[Any]:
    """The stored values, (H, W), their unused bits as in the file."""
    syntax = frame.syntax
    if not any(header.get(keyword) for keyword in PIXEL_KEYWORDS):
        raise refusal(path, "the DICOM file has no pixel data", f"It is cut short, or not an image: {EXPORT_AGAIN}")
    missing = [keyword for keyword in ("BitsStored", "PixelRepresentation") if header.get(keyword) is None]
    if "PixelData" in header and missing:
        raise refusal(path, f"the DICOM header lacks {', '.join(missing)}", f"Wanted a complete one: {EXPORT_AGAIN}")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise refusal(path, f"pixels in {syntax.name} ({syntax}) are not decoded here", UNCOMPRESSED) from error
    if not decoder.is_available:
        package = CODEC_PACKAGES.get(syntax, "pylibjpeg")
        raise refusal(path, f"there is no decoder for {syntax.name} ({syntax})", f"pip install {package}")
    try:
        if syntax.is_encapsulated:
            _refuse_other_streams(header, frame)
            attributes = _attributes(header, frame)
            plugin = FASTEST[syntax] if FASTEST.get(syntax) in decoder.available_plugins else ""
            if syntax == JPEGExtended12Bit and (precision := frame_precision(_stream(header))) > 8:
                plugin, attributes["bits_stored"] = GDCM_EXTENDED, precision
            stored = decode_frame(header.PixelData, syntax, plugin, attributes, isolated)
        else:
            stored = pixel_array(header, raw=True, correct_unused_bits=False, view_only=True)
    except DECODE_ERRORS as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines())
        found = f"the pixels, in {syntax.name} ({syntax}), do not decode: {reason}"
        raise refusal(path, found, UNCOMPRESSED) from error
    if stored.shape != (frame.rows, frame.columns):
        found = f"the decoded pixels have the shape {stored.shape}, the header states {frame.rows} x {frame.columns}"
        raise refusal(path, found, EXPORT_AGAIN)
    return np.asarray(stored)


def _refuse_other_streams(header: Dataset, frame: Frame) -> None:
    """Refuses a stream whose own header states another frame, before a decoder allocates what it states."""
    for family, fault_of in ((JPEG_FAMILY, jpeg_fault), (JPEG2000_FAMILY, jpeg2000_fault)):
        if frame.syntax in family:
            fault = fault_of(_stream(header), frame.rows, frame.columns, frame.bits_allocated)
            if fault is not None:
                raise ValueError(fault)


def _stream(header: Dataset) -> bytes:
    """What the fragments of the one frame make together."""
    return get_frame(header.PixelData, 0, number_of_frames=1)


def _attributes(header: Dataset, frame: Frame) -> dict[str, Any]:
    """What a decoder must know of the frame beside its stream."""
    return {
        "rows": frame.rows,
        "columns": frame.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": frame.photometric_interpretation,
        "bits_allocated": frame.bits_allocated,
        "bits_stored": int(header.BitsStored),
        "pixel_representation": int(header.PixelRepresentation),
    }


def _spacing(header: Dataset) -> tuple[tuple[float, float] | None, str | None]:
    """(row, column) distance in mm and the attribute it comes from; None where the file has no usable one.

    Pixel Spacing goes first: it is calibrated, or else equal to the others (PS3.3 10.7). Imager Pixel Spacing is
    measured at the detector, where the projected body is magnified: lengths taken with it are too long.
    """
    for keyword in SPACING_TAGS:
        try:
            values = tuple(float(value) for value in header.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if len(values) == 2 and all(math.isfinite(value) and value > 0 for value in values):
            return (values[0], values[1]), keyword
    return None, None
