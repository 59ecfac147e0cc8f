"""Reads NIfTI files through nibabel and MetaImage files through ITK: pictures that lie somewhere in a patient."""

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
from bundle.reading.image_orientation import LPS_IDENTITY, DisplayPlan
from bundle.reading.metaimage import refuse_pixels_elsewhere
from bundle.reading.one_picture import COPY_AGAIN, one_channel, picture_plan, three
from bundle.reading.radiograph_error import refusal

NIFTI_ERRORS: tuple[type[Exception], ...] = (ImageFileError, HeaderDataError, WrapStructError, zlib.error)
NIFTI_ERRORS += (OSError, EOFError, OverflowError, ValueError, KeyError)


def nifti_plan(path: Path) -> tuple[DisplayPlan, Any]:
    """How a NIfTI file is shown, and nibabel's image, whose pixels are still on disk.

    A file that states no orientation is shown as it is stored, first axis to the right, second axis down. That is one
    whose sform_code and qform_code are 0, which ITK reads so; and an axial one whose affine is the identity, or it
    with lengths, without an origin: no radiograph is axial, and this is what people give nibabel for one that has no
    orientation. One that was turned to RAS in earnest has an origin at its other end.
    """
    try:
        nifti: Any = nibabel.load(path)
        affine = np.asarray(nifti.affine, dtype=np.float64)
        as_stored = False
        if int(nifti.header["qform_code"]) <= 0 and int(nifti.header["sform_code"]) <= 0:
            # nibabel's substitute would be Analyze's, flipped.
            zooms = [float(zoom) if zoom > 0 else 1.0 for zoom in (*nifti.header.get_zooms()[:3], 1.0, 1.0)]
            affine = np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
        elif np.array_equal(affine, np.diag(affine.diagonal())) and (affine.diagonal() > 0).all():
            as_stored = True
    except NIFTI_ERRORS as error:
        found = f"the NIfTI file does not parse ({_reason(error)})"
        raise refusal(path, found, "Wanted a complete .nii or .nii.gz file") from error
    return picture_plan(path, nifti.shape, affine, as_stored=as_stored), nifti


def nifti_pixels(path: Path, plan: DisplayPlan, nifti: Any) -> npt.NDArray[Any]:
    """A NIfTI file's picture (H, W), its own slope and intercept applied."""
    try:
        data = np.asanyarray(nifti.dataobj)
    except NIFTI_ERRORS as error:
        raise refusal(path, f"the NIfTI pixels are incomplete ({_reason(error)})", COPY_AGAIN) from error
    return plan.apply(data.reshape(three(data.shape)))


def metaimage_plan(path: Path, isolated: bool) -> tuple[DisplayPlan, ItkHeader]:
    """How a MetaImage file is shown, and what its header says."""
    refuse_pixels_elsewhere(path)
    try:
        header = itk_header(path, "Meta", isolated)
    except DecodingError as error:
        raise refusal(path, f"the MetaImage header does not parse ({error})", "Wanted a complete file") from error
    if header.component == "unknown":
        raise refusal(path, "the MetaImage header states no known type of pixel", "Wanted integers or floats")
    return picture_plan(path, header.shape, LPS_IDENTITY @ header.affine), header


def metaimage_pixels(
    path: Path, plan: DisplayPlan, header: ItkHeader, isolated: bool, notes: list[str]
) -> npt.NDArray[Any]:
    """A MetaImage file's picture (H, W); equal colour channels become one, an opaque alpha channel goes."""
    try:
        data = itk_pixels(path, "Meta", header, isolated)
    except DecodingError as error:
        raise refusal(path, f"the MetaImage pixels do not decode ({error})", COPY_AGAIN) from error
    if header.channels > 1:
        data = one_channel(path, data, notes)
    return plan.apply(data.T.reshape(three(data.T.shape)))  # ITK's arrays are (z, y, x)


def _reason(error: BaseException) -> str:
    """The last line of a library's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
