"""Turns the array of an image file (x, y, z and an affine, or a stated turn) into rows down and columns right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from bundle.reading.upright import Upright

RIGHT, ANTERIOR, SUPERIOR = 0, 1, 2  # world axes of RAS+
LPS_IDENTITY = np.diag([-1.0, -1.0, 1.0, 1.0])  # the identity of ITK, in RAS+
_PARALLEL = 1e-6  # the sine of an angle between axes that are one


@dataclass(frozen=True)
class DisplayPlan:
    """Which stored axis runs along the rows and the columns of the picture, and which way.

    Attributes:
        size: (H, W) of the picture.
        affine: 4x4, picture index (column, row, 0, 1) -> mm, RAS+.
        spacing: (row, column) distance in mm.
    """

    size: tuple[int, int]
    affine: npt.NDArray[np.float64]
    spacing: tuple[float, float]
    slice_axis: int
    row_axis: int
    flip_rows: bool
    flip_columns: bool

    def apply(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The picture, (H, W), of a stored array (X, Y, Z) with one slice."""
        plane = np.moveaxis(data, self.slice_axis, 0)[0]  # a view of the two other axes, in stored order
        picture = plane if self.row_axis == min({0, 1, 2} - {self.slice_axis}) else plane.T
        return picture[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def plan_display(
    shape: tuple[int, int, int], affine: npt.NDArray[np.float64], *, as_stored: bool = False
) -> DisplayPlan:
    """How a one-slice image is shown, from its affine.

    The rule is that of radiological display: columns run to the patient's left, or to the back in a sagittal plane;
    rows run to the back in an axial plane, else to the feet. An image written by ITK or SimpleITK from a radiograph
    without an orientation has the identity direction of LPS, an axial plane, whose first axis then runs to the right
    of the picture and second axis down: as in the DICOM, PNG or TIFF it came from.

    Args:
        shape: (X, Y, Z) of the stored array, one of them 1.
        affine: 4x4, stored index -> mm, RAS+. A slice axis that it maps to nothing, as 2-D images may have it, becomes
            the normal of the plane.
        as_stored: whether an axial plane is shown as it is stored, its first axis to the right, its second down,
            whatever the affine says of them.

    Returns:
        The plan.

    Raises:
        ValueError: for an image of several slices, or an affine that maps its pixels to no plane.
    """
    if 1 not in shape:
        raise ValueError(f"the image is a volume of {' x '.join(map(str, shape))}")
    slice_axis = max(axis for axis in range(3) if shape[axis] == 1)
    first, second = (axis for axis in range(3) if axis != slice_axis)
    affine = _spanning(np.asarray(affine, dtype=np.float64), slice_axis, first, second)
    world = nibabel.orientations.io_orientation(affine)
    along_columns = RIGHT if int(world[slice_axis, 0]) != RIGHT else ANTERIOR
    column_axis = first if int(world[first, 0]) == along_columns else second
    row_axis = second if column_axis == first else first
    # LPS and feet are where RAS coordinates fall: an axis along which they rise is turned round.
    flip_columns, flip_rows = bool(world[column_axis, 1] > 0), bool(world[row_axis, 1] > 0)
    if as_stored and int(world[slice_axis, 0]) == SUPERIOR:
        column_axis, row_axis, flip_columns, flip_rows = first, second, False, False
    to_stored = np.zeros((4, 4))
    to_stored[column_axis, 0] = -1 if flip_columns else 1
    to_stored[row_axis, 1] = -1 if flip_rows else 1
    to_stored[slice_axis, 2] = 1
    to_stored[column_axis, 3] = shape[column_axis] - 1 if flip_columns else 0
    to_stored[row_axis, 3] = shape[row_axis] - 1 if flip_rows else 0
    to_stored[3, 3] = 1
    shown = affine @ to_stored
    lengths = np.linalg.norm(shown[:3, :2], axis=0)
    return DisplayPlan(
        size=(shape[row_axis], shape[column_axis]),
        affine=shown + 0.0,  # no negative zeros in what is printed
        spacing=(float(lengths[1]), float(lengths[0])),
        slice_axis=slice_axis,
        row_axis=row_axis,
        flip_rows=flip_rows,
        flip_columns=flip_columns,
    )


def plan_turn(size: tuple[int, int], turn: Upright, place: npt.NDArray[np.float64] = LPS_IDENTITY) -> DisplayPlan:
    """How a picture without any place in a patient is shown: turned upright.

    Args:
        size: (H, W) as it is stored.
        turn: what brings it upright.
        place: 4x4, stored (column, row, 0, 1) -> where viewers on ITK put it, RAS+.

    Returns:
        The plan, for the stored array (X, Y, 1).
    """
    return DisplayPlan(
        size=turn.size(size),
        affine=turn.affine(size, place),
        spacing=(1.0, 1.0),
        slice_axis=2,
        row_axis=0 if turn.transposed else 1,
        flip_rows=turn.flip_rows,
        flip_columns=turn.flip_columns,
    )


def _spanning(affine: npt.NDArray[np.float64], slice_axis: int, first: int, second: int) -> npt.NDArray[np.float64]:
    """The affine, its slice axis out of the plane; refused where the two others span none, and left may be right."""
    across, down = affine[:3, first], affine[:3, second]
    normal = np.cross(across, down)
    area, sides = float(np.linalg.norm(normal)), float(np.linalg.norm(across) * np.linalg.norm(down))
    if not np.isfinite(affine).all() or not area > _PARALLEL * sides:
        raise ValueError("its affine is singular or not finite, and maps the pixels to no plane")
    depth = affine[:3, slice_axis]
    if abs(float(depth @ normal)) > _PARALLEL * area * float(np.linalg.norm(depth)):
        return affine
    spanning = affine.copy()
    spanning[:3, slice_axis] = normal / area
    return spanning
