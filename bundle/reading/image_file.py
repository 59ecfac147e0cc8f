"""Reads one grey image from a file of another format than DICOM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading.hdf5_file import hdf5_image, hdf5_pixels
from bundle.reading.image_orientation import DisplayPlan
from bundle.reading.medical_file import metaimage_pixels, metaimage_plan, nifti_pixels, nifti_plan
from bundle.reading.one_picture import GREY
from bundle.reading.options import ReadingOptions
from bundle.reading.pixel_aspect import pixel_aspect
from bundle.reading.print_file import print_header, print_pixels
from bundle.reading.radiograph_error import refusal
from bundle.reading.tiff_file import read_tiff_header, read_tiff_pixels
from bundle.reading.upright import AS_STORED
from bundle.reading.value_window import (
    LEAST_OF_RANGE,
    MIDDLE,
    count_patterns,
    linear_window,
    look_up,
    percentile_limits,
    unsigned_view,
)

WITHOUT_MM = ("PNG", "JPEG", "TIFF", "HDF5")  # whose resolution is a printer's, or none


def read_image_file(
    path: Path, kind: str, options: ReadingOptions
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], dict[str, Any]]:
    """Reads a PNG, JPEG, TIFF, MetaImage or NIfTI file that holds one grey image, or one of an HDF5 file's.

    None of these says whether bright means dense except a TIFF's WhiteIsZero, which is inverted: bright is taken to
    be dense. What becomes 0..1: `options.value_range` if given; the range of 8 and 16-bit unsigned PNG, JPEG, TIFF and
    HDF5, unless the middle of the pixels takes less than `LEAST_OF_RANGE` of 16 bits, as 12 bits in them do; else the
    percentile window.

    Args:
        path: the file.
        kind: "PNG", "JPEG", "TIFF", "MetaImage", "NIfTI" or "HDF5".
        options: choices that the file leaves open.

    Returns:
        The image (H, W), float32, 0..1, its stored values, and its metadata (see `read_radiograph`).

    Raises:
        RadiographError: for colour, several slices, a file that is broken, or one of NaN and infinities alone.
    """
    notes: list[str] = []
    plan, stored, top, inverted = _pixels(path, kind, options.isolated, notes)
    if stored.dtype.kind not in "uif":
        raise refusal(path, f"the pixels are of type {stored.dtype}", GREY)
    patterns = unsigned_view(np.ascontiguousarray(stored))
    values: npt.NDArray[np.floating[Any]]
    if patterns is None:
        values = stored.astype(np.float64 if stored.dtype.itemsize > 4 else np.float32)
    else:  # the type's values in the order of their patterns, up to the last that there is
        every = np.arange(int(patterns.max(initial=0)) + 1, dtype=f"u{stored.dtype.itemsize}")
        values = every.view(f"{stored.dtype.kind}{stored.dtype.itemsize}").astype(np.float64)
    if not np.isfinite(values).any():
        raise refusal(path, "no pixel has a finite value", "Export the image again")
    window = _window(values, patterns, top, options, notes)
    image = linear_window(values, window["low"], window["high"]).astype(np.float32, copy=False)
    if patterns is not None:
        image = look_up(image, patterns)
    if inverted:
        image = 1.0 - image
        if patterns is None:
            image[~np.isfinite(values)] = 0.0
    has_spacing = kind not in WITHOUT_MM
    return (
        image,
        stored,
        {
            "stored_size": plan.size,
            "spacing": plan.spacing if has_spacing else None,
            "spacing_source": "affine" if has_spacing else None,
            "pixel_aspect": pixel_aspect(*plan.spacing, notes),
            "orientation": AS_STORED.orientation,
            "photometric_interpretation": None,
            "window": window,
            "inverted": inverted,
            "bits_stored": None,
            "transfer_syntax": None,
            "format": kind,
            "affine": plan.affine.tolist(),
            "notes": notes,
        },
    )


def image_file_size(path: Path, kind: str, isolated: bool = True) -> tuple[tuple[int, int], bool]:
    """What a PNG, JPEG, TIFF, MetaImage or NIfTI file's header says of its picture, as `read_image_file` shows it.

    Args:
        path: the file.
        kind: as for `read_image_file`.
        isolated: whether the header is parsed in a process of its own.

    Returns:
        (H, W), and whether the header shows that it is grey: else the pixels may be colours.

    Raises:
        RadiographError: for several slices or a broken header.
    """
    if kind == "NIfTI":
        return nifti_plan(path)[0].size, True
    if kind == "HDF5":
        return hdf5_image(path, isolated).plan.size, True
    if kind == "MetaImage":
        plan, itk = metaimage_plan(path, isolated)
        return plan.size, itk.channels < 3
    header = read_tiff_header(path, isolated) if kind == "TIFF" else print_header(path, kind, isolated)
    return header.plan.size, header.is_grey


def _pixels(
    path: Path, kind: str, isolated: bool, notes: list[str]
) -> tuple[DisplayPlan, npt.NDArray[Any], int | None, bool]:
    """How a file is shown, its picture, the greatest value of its range if it has one, and whether white is 0."""
    if kind == "NIfTI":
        plan, nifti = nifti_plan(path)
        return plan, nifti_pixels(path, plan, nifti), None, False
    if kind == "HDF5":
        image = hdf5_image(path, isolated)
        return image.plan, *hdf5_pixels(path, image, isolated), False
    if kind == "MetaImage":
        plan, itk = metaimage_plan(path, isolated)
        return plan, metaimage_pixels(path, plan, itk, isolated, notes), None, False
    if kind == "TIFF":
        tiff = read_tiff_header(path, isolated)
        white_is_zero = tiff.tags.photometric == "MINISWHITE"
        return tiff.plan, *read_tiff_pixels(path, tiff, isolated, notes), white_is_zero
    header = print_header(path, kind, isolated)
    return header.plan, *print_pixels(path, kind, header, isolated, notes), False


def _window(
    values: npt.NDArray[np.floating[Any]],
    patterns: npt.NDArray[Any] | None,
    top: int | None,
    options: ReadingOptions,
    notes: list[str],
) -> dict[str, Any]:
    """What becomes 0..1, as `window` of the metadata."""
    if options.value_range is not None:
        low, high = map(float, options.value_range)
        return {"kind": "stated", "low": low, "high": high}
    if top is not None and top <= 255:
        return {"kind": "type_range", "low": 0.0, "high": float(top)}
    counts = None if patterns is None else count_patterns(patterns, values.size)
    if top is not None:
        low, high = percentile_limits(values, MIDDLE, counts)
        if not 0 < high - low < LEAST_OF_RANGE * top:
            return {"kind": "type_range", "low": 0.0, "high": float(top)}
        notes.append("the pixels take a small part of the range of their type; a percentile window was taken")
    low, high = percentile_limits(values, options.percentiles, counts)
    return {"kind": "percentile", "percentiles": list(options.percentiles), "low": low, "high": high}
