"""Sees that a file holds one grey picture, whatever its format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading.dicom_header import MAX_PIXELS
from bundle.reading.image_orientation import DisplayPlan, plan_display
from bundle.reading.radiograph_error import RadiographError, refusal

COPY_AGAIN = "Copy or export the file again"
GREY = "Wanted one grey channel: save the image as grey"
NEAR_GREY = 5 / 255  # of the range: what JPEG and resampling make of equal channels; a coloured mark has far more


def picture_plan(
    path: Path, shape: tuple[int, ...], affine: npt.NDArray[np.float64], *, as_stored: bool = False
) -> DisplayPlan:
    """The plan of `plan_display` for a shape, refused where it is not one picture."""
    lengths = three(shape)
    if lengths is None or 1 not in lengths:
        raise several(path)
    _refuse_size(path, lengths)
    try:
        return plan_display(lengths, affine, as_stored=as_stored)
    except ValueError as error:
        remedy = "Wanted a valid one; a NIfTI file with sform_code and qform_code 0 is shown in stored order"
        raise refusal(path, str(error), remedy) from error


def one_plane(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """(X, Y) of a shape (X, Y, ...), refused where there is more than one plane."""
    if len(shape) < 2 or any(length != 1 for length in shape[2:]):
        raise several(path)
    _refuse_size(path, shape)
    return shape[0], shape[1]


def _refuse_size(path: Path, shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise refusal(path, "the image has no pixels", "Wanted at least one")
    if math.prod(shape) > MAX_PIXELS:
        found = f"the image states {math.prod(shape):,} pixels"
        raise refusal(path, found, f"Wanted at most {MAX_PIXELS // 1_000_000} million: check the header")


def several(path: Path) -> RadiographError:
    """The error for more than one picture."""
    found = "the image is a volume, a time series or several pages"
    return refusal(path, found, "Wanted one picture: write the slice or page that is meant to its own file")


def three(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """A shape with ones added, or trailing ones taken away, to three dimensions; None where there are more."""
    lengths = [int(length) for length in shape]
    while len(lengths) > 3 and lengths[-1] == 1:
        lengths.pop()
    lengths += [1] * (3 - len(lengths))
    return (lengths[0], lengths[1], lengths[2]) if len(lengths) == 3 else None


def one_channel(path: Path, data: npt.NDArray[Any], notes: list[str]) -> npt.NDArray[Any]:
    """The grey channel of (..., C) channels: 2 and 4 have alpha as their last, 3 and 4 start with red, green, blue.

    Colours that differ by no more than `NEAR_GREY` are grey all the same: their mean, with a note.

    Raises:
        RadiographError: they are colours, or partly transparent.
    """
    channels = data.shape[-1]
    if channels not in (2, 3, 4):
        raise refusal(path, f"the image has {channels} channels", GREY)
    most = np.iinfo(data.dtype).max if data.dtype.kind == "u" else 1.0
    if channels in (2, 4) and data[..., -1].min() < most:
        raise refusal(path, "the image is partly transparent", "Wanted an opaque grey image: flatten it on black")
    red, green, blue = (data[..., min(channel, channels - 2 if channels == 2 else 2)] for channel in range(3))
    if channels == 2 or (np.array_equal(red, green) and np.array_equal(red, blue)):
        return np.ascontiguousarray(red)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if data.dtype.kind != "u" or spread.max() > NEAR_GREY * most:
        raise refusal(path, "the image is colour (its red, green and blue channels differ)", GREY)
    notes.append(f"red, green and blue differ by up to {spread.max()} of {most}; their mean was taken")
    return ((red.astype(np.uint32) + green + blue + 1) // 3).astype(data.dtype)
