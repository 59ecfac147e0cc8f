"""Images in an array of an HDF5 file, each named like a file in a folder: FILE.h5/ARRAY/ROW, read in place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading.decode_worker import DecodingError
from bundle.reading.decoder import hdf5_array, hdf5_row
from bundle.reading.image_orientation import DisplayPlan, plan_turn
from bundle.reading.one_picture import COPY_AGAIN, one_plane
from bundle.reading.radiograph_error import refusal
from bundle.reading.upright import AS_STORED

SUFFIXES = (".h5", ".hdf5")
HOW = "Wanted FILE.h5/ARRAY/ROW: one picture of an array (N, H, W), rows from 0"


def file_of(path: Path) -> Path:
    """The file that an image is in: that of the path, or the HDF5 file that it leads into."""
    return hdf5_of(path) or path


@dataclass(frozen=True)
class Hdf5Image:
    """Where an image of an HDF5 file is, and how it lies.

    Attributes:
        file: the HDF5 file.
        array: the name of its array.
        row: of the image in it.
        plan: how it is shown: as it is stored.
    """

    file: Path
    array: str
    row: int
    plan: DisplayPlan


def hdf5_of(path: Path) -> Path | None:
    """The HDF5 file that a path leads into; None where it leads into none."""
    inside = (parent for parent in path.parents if parent.name.lower().endswith(SUFFIXES))
    return next((parent for parent in inside if parent.is_file()), None)


def hdf5_image(path: Path, isolated: bool) -> Hdf5Image:
    """Finds an image.

    Args:
        path: FILE.h5/ARRAY/ROW.
        isolated: whether the file is opened in a process of its own.

    Raises:
        RadiographError: there is no such file, array or row, or the array does not hold grey pictures.
    """
    file = hdf5_of(path)
    if file is None:
        raise refusal(path, "it leads into no HDF5 file", HOW)
    *groups, row = path.relative_to(file).parts
    if not groups or not row.isdecimal():
        raise refusal(path, "it names no row of an array", HOW)
    array = "/".join(groups)
    try:
        shape, dtype = hdf5_array(file, array, isolated)
    except DecodingError as error:
        raise refusal(path, f"the array {array} cannot be read: {error}", HOW) from error
    if len(shape) != 3 or np.dtype(dtype).kind not in "uif":
        raise refusal(path, f"the array {array} has the shape {shape} and the type {dtype}", HOW)
    if int(row) >= shape[0]:
        raise refusal(path, f"the array {array} has {shape[0]} rows", HOW)
    one_plane(path, shape[:0:-1])
    return Hdf5Image(file, array, int(row), plan_turn((shape[1], shape[2]), AS_STORED))


def hdf5_pixels(path: Path, image: Hdf5Image, isolated: bool) -> tuple[npt.NDArray[Any], int | None]:
    """Reads an image.

    Args:
        path, isolated: as for `hdf5_image`.
        image: what that found.

    Returns:
        The picture (H, W), and the greatest value of its range: that of unsigned integers' type, None for others.

    Raises:
        RadiographError: it cannot be read.
    """
    try:
        data = hdf5_row(image.file, image.array, image.row, image.plan.size, isolated)
    except DecodingError as error:
        raise refusal(path, f"the pixels cannot be read: {error}", COPY_AGAIN) from error
    return data, int(np.iinfo(data.dtype).max) if data.dtype.kind == "u" else None
