"""Organ labels of LIDC-IDRI-0001 carried over to another chest by registration, with lungs and bone by threshold.

Registration: Thirion's demons (Medical Image Analysis 2, 1998, doi:10.1016/S1361-8415(98)80022-4) at three resolutions
down to 4 mm, as ITK has them, from lungs whose boxes have been brought to one size. What is dark says where the lungs
of the other chest end, so the registration decides only which lobe a voxel of them is in, and where the heart is.
Neither can be checked, because nobody has outlined them; the lungs themselves can: see :attr:`Carried.dice`.
"""

from dataclasses import dataclass

import itk
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.anatomy import HALF
from bundle.data.demo.framing import Framed, lungs_by_threshold, top_of_lungs
from bundle.data.demo.source import LOBES, SHAPE, SPACING
from bundle.data.demo.subjects import BONE, LESION

MM = 4.0
_LUNG, _SOFT = -850.0, 50.0
_ITERATIONS = (100, 100, 50)
_SMOOTH = 1.0
"""Standard deviation in voxels by which the field is smoothed at each step."""
_HEART_SMOOTH = 5.0
"""The same of the field that carries the heart, which is smoothed once, weighted by the edges that hold it."""
_HEART, _TRACHEA = 51, 16
_BONE_FROM = 150
_AIRWAY_MM = 6.0
_FAR_MM = 30.0


@dataclass(frozen=True)
class Carried:
    """Labels of another chest.

    Attributes:
        labels: (512, 512, 133) lobes 10-14, heart 51, bone and lesion as in :mod:`bundle.data.demo.subjects`.
        dice: 2 |A & B| / (|A| + |B|) of the lungs that the registration carries over and those that the threshold
            finds (vessels in them closed, airways left out), where something was scanned and outside of the lesion.
    """

    labels: NDArray[np.uint8]
    dice: float


def carry_labels(framed: Framed, hu: NDArray[np.int16], labels: NDArray[np.uint8]) -> Carried:
    """Label a CT.

    Args:
        framed: the CT, in the frame of :mod:`bundle.data.demo.source`.
        hu, labels: CT and labels of LIDC-IDRI-0001.
    """
    fixed, moving = (_coarse(volume) for volume in (framed.hu, hu))
    lesion = ndimage.zoom(framed.lesion.astype(np.float32), _factors(), order=1, grid_mode=True, mode="nearest") > 0.1
    # A lesion has no counterpart: lung in its place leaves the lung around it where it is.
    fixed[ndimage.binary_dilation(lesion)] = _LUNG
    dark = lungs_by_threshold(fixed.astype(np.int16), (MM,) * 3)
    start, step = _boxes(dark, ndimage.zoom(np.isin(labels, LOBES).view(np.uint8), _factors(), order=0) > 0)
    moved = ndimage.affine_transform(moving, step, start, order=1, mode="nearest")
    field = _demons(fixed, moved)
    carried = _pull(labels, field, step, start)
    return _joined(framed, carried, _heart(labels == _HEART, fixed, field, step, start))


def _factors() -> list[float]:
    return [s / MM for s in SPACING]


def _coarse(volume: NDArray[np.int16]) -> NDArray[np.float32]:
    """A CT at 4 mm, from air to soft tissue."""
    soft = ndimage.gaussian_filter(volume.astype(np.float32), (1.5, 1.5, 0.5))
    return np.clip(ndimage.zoom(soft, _factors(), order=1, grid_mode=True, mode="nearest"), -1000, _SOFT)


def _boxes(to: NDArray[np.bool_], of: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Where in the other's voxels ours begin, and by how much they go on, so that the boxes of the lungs agree.

    Their height is that from the apices to the dome of the right half of the diaphragm, as recesses may be cut off.
    """
    ours, theirs = (np.array([_extent(lungs, axis) for axis in range(3)]) for lungs in (to, of))
    step = (theirs[:, 1] - theirs[:, 0]) / (ours[:, 1] - ours[:, 0])
    return theirs[:, 1] - step * ours[:, 1], step


def _extent(lungs: NDArray[np.bool_], axis: int) -> tuple[float, float]:
    """First and last voxel of lungs along an axis; along the last, the dome and the apices."""
    if axis < 2:
        some = np.flatnonzero(lungs.any(axis=tuple({0, 1, 2} - {axis})))
        return float(some[0]), float(some[-1])
    right = lungs[: lungs.shape[0] // 2]
    dome = np.percentile(np.argmax(right, axis=2)[right.any(axis=2)], 75)
    return float(dome), float(top_of_lungs(lungs, (MM, MM)))


def _demons(fixed: NDArray[np.float32], moving: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, X, Y, Z) displacement in voxels, from a voxel of the one to that of the other."""
    plane, arrow = itk.Image[itk.F, 3], itk.Image[itk.Vector[itk.F, 3], 3]
    demons = itk.DemonsRegistrationFilter[plane, plane, arrow].New()
    demons.SetStandardDeviations(_SMOOTH)
    demons.SetSmoothDisplacementField(True)
    pyramid = itk.MultiResolutionPDEDeformableRegistration[plane, plane, arrow, itk.F].New()
    pyramid.SetRegistrationFilter(demons)
    pyramid.SetNumberOfLevels(len(_ITERATIONS))
    pyramid.SetNumberOfIterations(list(_ITERATIONS))
    pyramid.SetFixedImage(itk.image_from_array(np.ascontiguousarray(fixed.T)))
    pyramid.SetMovingImage(itk.image_from_array(np.ascontiguousarray(moving.T)))
    pyramid.Update()
    found = itk.array_from_image(pyramid.GetOutput())  # (Z, Y, X, 3), of x, y, z
    return np.ascontiguousarray(found.transpose(3, 2, 1, 0))


def _pull(labels: NDArray[np.uint8], field: NDArray[np.float32], step: NDArray, start: NDArray) -> NDArray[np.uint8]:
    """(256, 256, 133) labels by a displacement at 4 mm."""
    at = np.indices((SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2]), np.float32)
    coarse = np.stack([(a + 0.5) * (h / MM) - 0.5 for a, h in zip(at, HALF, strict=True)])
    for axis, moved in enumerate(field):
        shift = ndimage.map_coordinates(moved, coarse, order=1, mode="nearest")
        there = (coarse[axis] + shift) * step[axis] + start[axis]
        at[axis] = (there + 0.5) * (MM / SPACING[axis]) - 0.5
    out: NDArray[np.uint8] = ndimage.map_coordinates(labels, at, order=0, mode="constant", cval=0)
    return out


def _heart(
    heart: NDArray[np.bool_], fixed: NDArray[np.float32], field: NDArray[np.float32], step: NDArray, start: NDArray
) -> NDArray[np.bool_]:
    """(256, 256, 133) the heart, by a displacement that is interpolated between the edges of the image.

    Within soft tissue nothing drives the demons, and the field stays what it was: the nearest edges know better.
    """
    weight = ndimage.gaussian_gradient_magnitude(fixed, 1.0) + 1e-3
    known = ndimage.gaussian_filter(weight, _HEART_SMOOTH)
    smooth = [ndimage.gaussian_filter(weight * each, _HEART_SMOOTH) / known for each in field]
    there = [(g + d) * s + f for g, d, s, f in zip(np.indices(fixed.shape), smooth, step, start, strict=True)]
    soft = ndimage.zoom(heart.astype(np.float32), _factors(), order=1, grid_mode=True, mode="nearest")
    moved = ndimage.map_coordinates(soft, there, order=1, mode="constant")
    factors = [n / m for n, m in zip((SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2]), fixed.shape, strict=True)]
    return np.asarray(ndimage.zoom(moved, factors, order=1, grid_mode=True, mode="nearest") > 0.5)


def _joined(framed: Framed, carried: NDArray[np.uint8], heart: NDArray[np.bool_]) -> Carried:
    """Lungs and bone where thresholds say, lobes and heart as carried over."""
    hu, lesion = framed.hu[::2, ::2], framed.lesion[::2, ::2]
    lobes = np.where(np.isin(carried, LOBES), carried, 0)
    away = ndimage.distance_transform_edt(lobes == 0, sampling=HALF, return_indices=True)
    far, nearest = away[0], tuple(away[1])
    lungs = lungs_by_threshold(hu, HALF) & (far < _FAR_MM)
    airway = ndimage.distance_transform_edt(carried != _TRACHEA, sampling=HALF) < _AIRWAY_MM
    lungs &= ~(airway & (lobes == 0))
    # Closing takes the vessels in, which the other's lobes hold as well.
    lungs = ndimage.minimum_filter(ndimage.maximum_filter(lungs, (7, 7, 3)), (7, 7, 3))
    judged = ~lesion
    judged[:, :, : framed.lowest] = False
    ours, theirs = lungs & judged, (lobes > 0) & judged
    dice = 2 * int((ours & theirs).sum()) / int(ours.sum() + theirs.sum())
    solid = ndimage.binary_opening(heart & ~lungs, iterations=2)
    solid = ndimage.binary_closing(solid, iterations=4) & ~lungs & (hu > -200)
    out = np.zeros(hu.shape, np.uint8)
    bone = ndimage.binary_opening(hu > _BONE_FROM) & ~lungs
    out[np.stack([ndimage.binary_fill_holes(bone[:, :, k]) for k in range(hu.shape[2])], axis=2)] = BONE
    out[solid] = _HEART
    out[lungs] = lobes[nearest][lungs]
    out = out.repeat(2, axis=0).repeat(2, axis=1)
    out[framed.lesion] = LESION
    return Carried(out, round(dice, 4))
