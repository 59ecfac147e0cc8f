"""A CT of another patient on the voxel frame of :mod:`bundle.data.demo.source`, moved but neither scaled nor turned.

The middle of the lungs, and their apices, come to lie where those of LIDC-IDRI-0001 lie, so that the same views look at
them. Beyond the sides of what was scanned the outermost voxels are repeated, thinning out to air; before and behind it
is air. Below it the body goes on as in its lowest slice, and the lungs there taper: a recess that was cut off is closed
by guess.
"""

from dataclasses import dataclass

import itk
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.source import SHAPE, SPACING

AIR, TISSUE = -1000, 40
_FAT = -150
LUNGS = ((56.0, 304.0), (80.0, 268.0), (56.0, 307.5))
"""First and last mm of the lungs of LIDC-IDRI-0001, to 4 mm; the last of all is that of :func:`top_of_lungs`."""
_AIR_BELOW = -400
_LUNG_LITRES = 0.3
_APEX_MM2 = 1000.0
_SIDE_MM = 60.0
"""Within which the repeated side of a body that reaches beyond the scan thins out to air."""
_TAPER = 0.8
"""mm that the surface of a lung comes in for each mm below the lowest slice."""


@dataclass(frozen=True)
class Framed:
    """A CT on the frame.

    Attributes:
        hu: (512, 512, 133) Hounsfield units.
        lesion: (512, 512, 133) its outline.
        offset: mm by which its first voxel lies behind the frame's first, along the three axes.
        size: mm of what was scanned, along the three axes.
        spacing: mm of its voxels.
        lowest: first slice of the frame that was scanned; what lies below is a guess.
    """

    hu: NDArray[np.int16]
    lesion: NDArray[np.bool_]
    offset: tuple[float, ...]
    size: tuple[float, ...]
    spacing: tuple[float, ...]
    lowest: int


def read_nrrd(path: str) -> tuple[NDArray[np.int16], tuple[float, ...]]:
    """A volume in the order of axes of :mod:`bundle.data.demo.source`, and the mm of its voxels.

    Raises:
        ValueError: its axes are not those of the patient.
    """
    image = itk.imread(path)
    if not np.array_equal(itk.array_from_matrix(image.GetDirection()), np.eye(3)):
        raise ValueError(f"{path}: found axes that are turned against the patient's; wanted left, posterior, superior.")
    values = itk.array_from_image(image).transpose(2, 1, 0)[:, ::-1]
    return values.astype(np.int16), tuple(float(s) for s in image.GetSpacing())


def frame_ct(hu: NDArray[np.int16], outline: NDArray, spacing: tuple[float, ...]) -> Framed:
    """Bring a CT onto the frame, by cubic splines (a slice of 5 mm is not cut into steps); its outline likewise.

    Args:
        hu: (X, Y, Z) Hounsfield units.
        outline: (X, Y, Z), not 0 in the lesion.
        spacing: mm of the voxels.
    """
    lungs = lungs_by_threshold(hu[::2, ::2], (2 * spacing[0], 2 * spacing[1], spacing[2]))
    ends = [np.flatnonzero(lungs.any(axis=other))[[0, -1]] for other in ((1, 2), (0, 2))]
    at = [(2 * e + 0.5) * s for e, s in zip(ends, spacing[:2], strict=True)]
    offset = [float(np.mean(there) - np.mean(here)) for there, here in zip(LUNGS[:2], at, strict=True)]
    offset.append(LUNGS[2][1] - top_of_lungs(lungs, (2 * spacing[0], 2 * spacing[1])) * spacing[2])
    resampled = np.clip(_resample(hu, spacing, offset), hu.min(), hu.max())
    before, behind = _inside(1, offset, spacing, hu.shape)
    resampled[:, :before], resampled[:, behind:] = AIR, AIR
    left, right = _inside(0, offset, spacing, hu.shape)
    beyond = np.maximum(left - np.arange(SHAPE[0]), np.arange(SHAPE[0]) - right + 1).clip(0) * SPACING[0]
    shoulder = np.sqrt(np.clip(1 - (beyond / _SIDE_MM) ** 2, 0, 1)).astype(np.float32)
    resampled = AIR + (resampled - AIR) * shoulder[:, None, None]
    lowest = _inside(2, offset, spacing, hu.shape)[0]
    if lowest > 0:
        _extend_down(resampled, lowest)
    lesion = _resample((outline != 0).astype(np.float32), spacing, offset) > 0.5
    lesion[:, :, :lowest] = False
    size = tuple(n * s for n, s in zip(hu.shape, spacing, strict=True))
    return Framed(np.rint(resampled).astype(np.int16), lesion, tuple(offset), size, spacing, lowest)


def top_of_lungs(lungs: NDArray[np.bool_], spacing: tuple[float, float]) -> int:
    """The slice of the apices: the highest that shows 10 square cm of lungs, more than a trachea has.

    Args:
        lungs: (X, Y, Z).
        spacing: mm of the voxels along the first two axes.
    """
    areas = lungs.sum(axis=(0, 1)) * spacing[0] * spacing[1]
    return int(np.flatnonzero(areas >= _APEX_MM2)[-1])


def _inside(axis: int, offset: list[float], spacing: tuple[float, ...], shape: tuple[int, ...]) -> tuple[int, int]:
    """First and last voxel, exclusive, of the frame that lies inside what was scanned."""
    first = max(int(np.ceil(offset[axis] / SPACING[axis])), 0)
    last = int((offset[axis] + (shape[axis] - 1) * spacing[axis]) / SPACING[axis]) + 1
    return first, min(last, SHAPE[axis])


def _resample(volume: NDArray, spacing: tuple[float, ...], offset: list[float]) -> NDArray[np.float32]:
    """One axis after the other, the edges repeated; the shortest axis first, while the others are small."""
    out = volume.astype(np.float32)
    for axis in (0, 1, 2):
        weights = _spline(volume.shape[axis], SHAPE[axis], SPACING[axis] / spacing[axis], -offset[axis] / spacing[axis])
        out = np.moveaxis(np.tensordot(weights, out, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(out)


def _spline(old: int, new: int, step: float, first: float) -> NDArray[np.float32]:
    """(new, old) weights of cubic interpolation at first, first + step, ... in voxels."""
    fine = [ndimage.affine_transform(row, [step], first, (new,), order=3, mode="nearest") for row in np.eye(old)]
    return np.stack(fine, axis=1).astype(np.float32)


def _extend_down(hu: NDArray[np.float32], lowest: int) -> None:
    """Fill the slices below `lowest` by that slice, its lungs tapering into soft tissue; in place."""
    floor = hu[:, :, lowest]
    lung = lungs_by_threshold(floor[:, :, None].astype(np.int16), (*SPACING[:2], 1e3))[:, :, 0]
    chest = ndimage.binary_closing(lung, iterations=4)
    depth = ndimage.distance_transform_edt(chest, sampling=SPACING[:2])
    # A dome that the lowest slice cuts is half air: it becomes tissue with the lungs that it borders on.
    airy = ndimage.binary_dilation(chest, iterations=20) & (floor < _FAT)
    for k in range(lowest):
        edge = _TAPER * (lowest - k) * SPACING[2]
        closed = np.clip((edge - depth) / 2.0, 0, 1) * airy
        hu[:, :, k] = floor + closed * (TISSUE - floor)


def lungs_by_threshold(hu: NDArray[np.int16], spacing: tuple[float, ...]) -> NDArray[np.bool_]:
    """What is darker than -400 HU, does not reach the sides of the volume and has at least .3 l: lungs and airways."""
    dark = hu < _AIR_BELOW
    parts, _ = ndimage.label(dark)
    sides = np.unique(np.concatenate([parts[k].ravel() for k in (0, -1)] + [parts[:, k].ravel() for k in (0, -1)]))
    litres = np.bincount(parts.ravel()) * (np.prod(spacing) / 1e6)
    litres[sides] = 0
    litres[0] = 0
    return np.asarray(litres >= _LUNG_LITRES)[parts]
