"""Reads one grey image from PNG, JPEG, TIFF and MetaImage through ITK, and from NIfTI through nibabel."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from bundle.reading.decode_worker import DecodingError
from bundle.reading.decoder import ItkHeader, itk_header, itk_pixels
from bundle.reading.image_orientation import DisplayPlan, plan_display
from bundle.reading.jpeg_frame import has_end
from bundle.reading.metaimage import refuse_pixels_elsewhere
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph_error import refusal
from bundle.reading.value_window import (
    count_patterns,
    linear_window,
    look_up,
    percentile_limits,
    unsigned_view,
)

ITK_NAMES = {"MetaImage": "Meta"}  # of formats, where they are not ours
PRINT_FORMATS = ("PNG", "JPEG", "TIFF")  # whose integers span their type and whose resolution is a printer's
NIFTI_ERRORS: tuple[type[Exception], ...] = (ImageFileError, HeaderDataError, WrapStructError, zlib.error)
NIFTI_ERRORS += (OSError, EOFError, OverflowError, ValueError, KeyError)
GREY = "Wanted one grey channel: save the image as grey"


def read_image_file(
    path: Path, kind: str, options: ReadingOptions
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], dict[str, Any]]:
    """Reads a PNG, JPEG, TIFF, MetaImage or NIfTI file that holds one grey image.

    None of these says whether bright means dense except a TIFF's WhiteIsZero, which is inverted: bright is taken to
    be dense. What becomes 0..1: `options.value_range` if given; the range of the type for 8 and 16-bit unsigned
    PNG, JPEG and TIFF; else the percentile window.

    Args:
        path: the file.
        kind: "PNG", "JPEG", "TIFF", "MetaImage" or "NIfTI".
        options: choices that the file leaves open.

    Returns:
        The image (H, W), float32, 0..1, its stored values, and its metadata (see `read_radiograph`).

    Raises:
        RadiographError: for colour, several slices, a file that is broken, or one of NaN and infinities alone.
    """
    if kind == "NIfTI":
        plan, stored = _read_nifti(path)
    else:
        plan, stored = _read_itk(path, kind, options.isolated)
    if stored.dtype.kind not in "uif":
        raise refusal(path, f"the pixels are of type {stored.dtype}", GREY)
    patterns = unsigned_view(np.ascontiguousarray(stored))
    values: npt.NDArray[np.floating[Any]]
    if patterns is None:
        values = stored.astype(np.float64 if stored.dtype.itemsize > 4 else np.float32)
    else:  # every value that the type has, in the order of the patterns
        every = np.arange(2 ** (8 * stored.dtype.itemsize), dtype=f"u{stored.dtype.itemsize}")
        values = every.view(f"{stored.dtype.kind}{stored.dtype.itemsize}").astype(np.float64)
    if not np.isfinite(values).any():
        raise refusal(path, "no pixel has a finite value", "Export the image again")
    window: dict[str, Any]
    if options.value_range is not None:
        low, high = map(float, options.value_range)
        window = {"kind": "stated", "low": low, "high": high}
    elif kind in PRINT_FORMATS and stored.dtype in (np.uint8, np.uint16):
        low, high = 0.0, float(np.iinfo(stored.dtype).max)
        window = {"kind": "type_range", "low": low, "high": high}
    else:
        low, high = percentile_limits(
            values, options.percentiles, None if patterns is None else count_patterns(patterns)
        )
        window = {"kind": "percentile", "percentiles": list(options.percentiles), "low": low, "high": high}
    image = linear_window(values, low, high).astype(np.float32, copy=False)
    if patterns is not None:
        image = look_up(image, patterns)
    inverted = kind == "TIFF" and _is_white_zero(path)
    if inverted:
        image = 1.0 - image
        if patterns is None:
            image[~np.isfinite(values)] = 0.0
    has_spacing = kind not in PRINT_FORMATS
    return (
        image,
        stored,
        {
            "stored_size": plan.size,
            "spacing": plan.spacing if has_spacing else None,
            "spacing_source": "affine" if has_spacing else None,
            "photometric_interpretation": None,
            "window": window,
            "inverted": inverted,
            "bits_stored": None,
            "transfer_syntax": None,
            "format": kind,
            "affine": plan.affine.tolist(),
            "notes": [],
        },
    )


def image_file_size(path: Path, kind: str, isolated: bool = True) -> tuple[int, int]:
    """(rows, columns) of a PNG, JPEG, TIFF, MetaImage or NIfTI file, as `read_image_file` shows it, from its header.

    Args:
        path: the file.
        kind: as for `read_image_file`.
        isolated: whether the header is parsed in a process of its own.

    Returns:
        (H, W).

    Raises:
        RadiographError: for several slices or a broken header; colour shows only in the pixels.
    """
    if kind == "NIfTI":
        return _nifti_plan(path)[0].size
    plan, _ = _itk_plan(path, kind, isolated)
    if kind == "PNG" and not _has_png_end(path):
        raise refusal(path, "the PNG file is cut short: it has no IEND", "Copy or export the file again")
    return plan.size


def _nifti_plan(path: Path) -> tuple[DisplayPlan, Any]:
    """How a NIfTI file is shown, and nibabel's image, whose pixels are still on disk."""
    try:
        nifti: Any = nibabel.load(path)
        shape = _three(nifti.shape)
        affine = np.asarray(nifti.affine, dtype=np.float64)
        if int(nifti.header["qform_code"]) <= 0 and int(nifti.header["sform_code"]) <= 0:
            # No orientation in the file: stored order, as ITK has it. nibabel's substitute would be Analyze's, flipped.
            zooms = [float(zoom) if zoom > 0 else 1.0 for zoom in (*nifti.header.get_zooms()[:3], 1.0, 1.0)]
            affine = np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
    except NIFTI_ERRORS as error:
        found = f"the NIfTI file does not parse ({_reason(error)})"
        raise refusal(path, found, "Wanted a complete .nii or .nii.gz file") from error
    return _plan(path, shape, affine), nifti


def _read_nifti(path: Path) -> tuple[DisplayPlan, npt.NDArray[Any]]:
    """A NIfTI file's picture, its own slope and intercept applied."""
    plan, nifti = _nifti_plan(path)
    try:
        data = np.asanyarray(nifti.dataobj)
    except NIFTI_ERRORS as error:
        raise refusal(
            path, f"the NIfTI pixels are incomplete ({_reason(error)})", "Copy or export the file again"
        ) from error
    return plan, plan.apply(data.reshape(_three(data.shape)))


def _itk_plan(path: Path, kind: str, isolated: bool = True) -> tuple[DisplayPlan, ItkHeader]:
    """How an ITK file is shown, and what its header says."""
    if kind == "MetaImage":
        refuse_pixels_elsewhere(path)
    try:
        header = itk_header(path, ITK_NAMES.get(kind, kind), isolated)
    except DecodingError as error:
        raise refusal(path, f"the {kind} header does not parse ({error})", "Wanted a complete file") from error
    if header.component == "unknown":
        raise refusal(path, f"the {kind} header states no known type of pixel", "Wanted integers or floats")
    # A resolution in dots per inch says nothing about the patient.
    affine = np.eye(4) if kind in PRINT_FORMATS else header.affine
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return _plan(path, _three(header.shape), lps_to_ras @ affine), header


def _read_itk(path: Path, kind: str, isolated: bool) -> tuple[DisplayPlan, npt.NDArray[Any]]:
    """An ITK file's picture; equal colour channels become one, an opaque alpha channel goes."""
    plan, header = _itk_plan(path, kind, isolated)
    if kind == "JPEG" and not has_end(path.read_bytes()):
        raise refusal(path, "the JPEG file is cut short: it has no end of image", "Copy or export the file again")
    try:
        data = itk_pixels(path, ITK_NAMES.get(kind, kind), header, isolated)
    except DecodingError as error:
        found = f"the {kind} pixels do not decode ({error})"
        raise refusal(path, found, "Copy or export the file again") from error
    if header.channels > 1:
        data = _one_channel(path, data)
    return plan, plan.apply(data.T.reshape(_three(data.T.shape)))  # ITK's arrays are (z, y, x)


def _one_channel(path: Path, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The grey channel of (..., C) channels: 2 and 4 have alpha as their last, 3 and 4 start with red, green, blue."""
    channels = data.shape[-1]
    if channels not in (2, 3, 4):
        raise refusal(path, f"the image has {channels} channels", GREY)
    if channels in (2, 4):
        opaque = np.iinfo(data.dtype).max if data.dtype.kind == "u" else 1.0
        if data[..., -1].min() < opaque:
            raise refusal(path, "the image is partly transparent", "Wanted an opaque grey image: flatten it on black")
    grey = data[..., 0]
    if channels > 2 and not (np.array_equal(grey, data[..., 1]) and np.array_equal(grey, data[..., 2])):
        raise refusal(path, "the image is colour (its red, green and blue channels differ)", GREY)
    return np.ascontiguousarray(grey)


def _has_png_end(path: Path) -> bool:
    """Whether a PNG file has its last chunk, which nearly always is its last 12 bytes."""
    with path.open("rb") as file:
        file.seek(-min(12, path.stat().st_size), 2)
        return b"IEND" in file.read() or b"IEND" in path.read_bytes()


def _is_white_zero(path: Path) -> bool:
    """Whether a TIFF's PhotometricInterpretation is WhiteIsZero, as MONOCHROME1 is; ITK passes over it."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        return bool(tiff.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE)


def _plan(path: Path, shape: tuple[int, int, int] | None, affine: npt.NDArray[np.float64]) -> DisplayPlan:
    """The plan for a shape, refused where it is not one picture."""
    if shape is None or 1 not in shape:
        found = "the image is a volume, a time series or several pages"
        raise refusal(path, found, "Wanted one picture: write the slice or page that is meant to its own file")
    if 0 in shape:
        raise refusal(path, "the image has no pixels", "Wanted at least one")
    try:
        return plan_display(shape, affine)
    except ValueError as error:
        remedy = "Wanted a valid one; a NIfTI file with sform_code and qform_code 0 is shown in stored order"
        raise refusal(path, str(error), remedy) from error


def _three(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """A shape with ones added, or trailing ones taken away, to three dimensions; None where there are more."""
    lengths = [int(length) for length in shape]
    while len(lengths) > 3 and lengths[-1] == 1:
        lengths.pop()
    lengths += [1] * (3 - len(lengths))
    return (lengths[0], lengths[1], lengths[2]) if len(lengths) == 3 else None


def _reason(error: BaseException) -> str:
    """The last line of a library's message: ITK's begin with its own source file and line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
