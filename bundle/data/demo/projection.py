"""Parallel projection of the chest, and of small difference volumes, onto one detector grid.

Detector grid: (:data:`ROWS`, 512) pixels of :data:`PIXEL` mm; rows run from head to foot, columns from the patient's
right to the left, as in a radiograph hung for reading. Values are path lengths in mm of water.

A patient turned by a small angle is, to first order, a sheared one: a point (x, y, z) falls on column mm
x + yaw * (y - centre) and height z + pitch * (y - centre), with yaw and pitch as tangents. Ribs, vessels and lesions at
different depths so move against one another as they do between two exposures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.anatomy import HALF, load_anatomy
from bundle.data.demo.sampling import Array, bilinear, resized
from bundle.data.demo.source import LOBES, SHAPE, SPACING
from bundle.data.demo.subjects import LIDC, NAMES, Subject

PIXEL = SPACING[0]
TOP_MM = (SHAPE[2] - 1) * SPACING[2]
ROWS = int(TOP_MM / PIXEL) + 1
COLUMNS = SHAPE[0]
YAWS = (-0.10, -0.05, 0.0, 0.05, 0.10)
PITCHES = (-0.08, 0.0, 0.08)
HEART_STEPS = (0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0)
"""Growth of the heart in mm at which its shadow is precomputed."""
_CENTRE_Y = 0.5 * SHAPE[1] * SPACING[1]
_SLAB = 4
_PAD_X, _PAD_Z = 30, 8


@dataclass(frozen=True)
class Pose:
    """Tangents of the turn about the body's long axis (yaw) and about its left-right axis (pitch)."""

    yaw: float = 0.0
    pitch: float = 0.0


POSES = tuple(Pose(yaw, pitch) for yaw in YAWS for pitch in PITCHES)


@dataclass(frozen=True)
class BaseProjection:
    """Projections of one pose, each (ROWS, 512) in mm of water.

    Attributes:
        body: everything.
        bone: what bone adds above water.
        lungs: mm of lung along the ray for the left and the right lung, shape (2, ROWS, 512).
        air: attenuation of all lung tissue along the ray.
        heart: what a heart grown by each of :data:`HEART_STEPS` adds, shape (9, ROWS // 2, 256), half resolution.
        heart_shadow: (ROWS // 2, 256) mm of heart along the ray, half resolution.
    """

    body: Array
    bone: Array
    lungs: Array
    air: Array
    heart: Array
    heart_shadow: Array


@dataclass(frozen=True)
class Patch:
    """A projected difference: values in mm of water whose first pixel is detector row `top`, column `left`."""

    values: Array
    top: int
    left: int


def detector_point(x: float, y: float, z: float, pose: Pose) -> tuple[float, float]:
    """Detector (row, column) of the point (x, y, z) mm."""
    dy = y - _CENTRE_Y
    return (TOP_MM - z - pose.pitch * dy) / PIXEL, (x + pose.yaw * dy) / PIXEL


def _sheared_sum(slabs: Array, pose: Pose, spacing: tuple[float, float, float]) -> Array:
    """Sum of slabs over Y, each moved by the pose.

    Args:
        slabs: (Y, ..., X + 2 pad, Z + 2 pad) as :func:`_slabs` makes them.
        pose: the pose.
        spacing: mm of the slabs along X, Y and Z.

    Returns:
        (..., X, Z), mm of water.
    """
    width, height = slabs.shape[-2] - 2 * _PAD_X, slabs.shape[-1] - 2 * _PAD_Z
    out = np.zeros((*slabs.shape[1:-2], width, height), np.float32)
    for y, layer in enumerate(slabs):
        dy = (y + 0.5) * spacing[1] - _CENTRE_Y
        for x, part_x in _taps(pose.yaw * dy / spacing[0], _PAD_X):
            for z, part_z in _taps(pose.pitch * dy / spacing[2], _PAD_Z):
                out += np.float32(part_x * part_z) * layer[..., x : x + width, z : z + height]
    return out * np.float32(spacing[1])


def _taps(shift: float, pad: int) -> list[tuple[int, float]]:
    """First padded index and weight of the one or two whole-voxel shifts that make up a fractional one."""
    whole = int(np.floor(shift))
    part = shift - whole
    return [(pad - whole, 1 - part), (pad - whole - 1, part)] if part else [(pad - whole, 1.0)]


def _detector_in(projection: Array) -> tuple[Array, Array]:
    """(Z, X) coordinates of the detector's pixels in an (X, Z) projection, (ROWS, 512) each."""
    factor = COLUMNS / projection.shape[0]
    rows = ((TOP_MM - np.arange(ROWS) * PIXEL) / SPACING[2]).astype(np.float32)
    columns = ((np.arange(COLUMNS) + 0.5) / factor - 0.5).astype(np.float32)
    height, width = np.broadcast_arrays(rows[:, None], columns[None, :])
    return height, width


def _to_detector(projection: Array) -> Array:
    """An (X, Z) projection on the (ROWS, 512) detector grid by cubic splines, as bone edges deserve."""
    coefficients = ndimage.spline_filter(projection.T, order=3, output=np.float32, mode="nearest")
    return ndimage.map_coordinates(coefficients, _detector_in(projection), order=3, mode="nearest", prefilter=False)


def project_ct(attenuation: Array) -> Array:
    """Project a full-resolution (512, 512, 133) volume straight from back to front: (ROWS, 512) mm of water."""
    return _to_detector(attenuation.sum(axis=1, dtype=np.float32) * np.float32(SPACING[1]))


def _flat_to_detector(projection: Array) -> Array:
    """An (X, Z) projection on the detector grid, linearly."""
    return bilinear(projection.T, *_detector_in(projection))


def _slabs(volume: Array, count: int) -> Array:
    """Means of `count` planes along Y, Y first, with air beside the body and the end slices repeated."""
    x, y, z = volume.shape
    means = volume.reshape(x, y // count, count, z).mean(axis=2, dtype=np.float32).transpose(1, 0, 2)
    return np.pad(np.pad(means, ((0, 0), (_PAD_X, _PAD_X), (0, 0))), ((0, 0), (0, 0), (_PAD_Z, _PAD_Z)), mode="edge")


def _sharpened(image: Array, amount: float) -> Array:
    """Undo the blur of the later resampling, and a little of the CT's own, as a detector's processing does."""
    return image + np.float32(amount) * (image - ndimage.gaussian_filter(image, 1.5))


@lru_cache(maxsize=len(NAMES))
def _slab_volumes(subject: Subject) -> tuple[Array, Array]:
    """Slabs of the body at full and of bone, left lung, right lung, lung tissue and heart at half resolution."""
    anatomy = load_anatomy(subject)
    left, right = (np.isin(anatomy.lobe, lobes).astype(np.float32) for lobes in (LOBES[:2], LOBES[2:]))
    organs = (anatomy.bone, left, right, np.where(anatomy.lobe > 0, anatomy.half, 0), anatomy.heart <= 0)
    coarse = np.stack([_slabs(np.asarray(organ, np.float32), _SLAB // 2) for organ in organs], axis=1)
    return _slabs(anatomy.tissue, _SLAB), coarse


def base_projection(pose: Pose, subject: Subject = LIDC) -> BaseProjection:
    """Project a lesion-free chest (about 0.4 s, kept per process)."""
    return _projected(pose, subject)


@lru_cache(maxsize=len(POSES) * len(NAMES))
def _projected(pose: Pose, subject: Subject) -> BaseProjection:
    fine, coarse = _slab_volumes(subject)
    body = _to_detector(_sheared_sum(fine, pose, (SPACING[0], _SLAB * SPACING[1], SPACING[2])))
    small = _sheared_sum(coarse, pose, (HALF[0], _SLAB * SPACING[1], SPACING[2]))
    bone, left, right, air, heart = (_flat_to_detector(part) for part in small)
    return BaseProjection(
        body=_sharpened(body, 0.9),
        bone=bone,
        lungs=np.stack([left, right]),
        air=air,
        heart=_heart_growth(pose, subject),
        heart_shadow=np.ascontiguousarray(heart[: ROWS // 2 * 2 : 2, ::2]),
    )


def forget_volumes() -> None:
    """Drop what :func:`base_projection` keeps to work from, of no use once every pose has been projected."""
    _slab_volumes.cache_clear()
    _heart_rim.cache_clear()


@lru_cache(maxsize=len(NAMES))
def _heart_rim(subject: Subject) -> tuple[Array, Array, Array, Array, Array]:
    """Lung voxels a growing heart can reach: x, y, z in mm, distance from the heart in mm, attenuation to add."""
    anatomy = load_anatomy(subject)
    near = np.nonzero((anatomy.heart < HEART_STEPS[-1] + 2) & (anatomy.lobe > 0))
    x, y, z = ((index * spacing).astype(np.float32) for index, spacing in zip(near, HALF, strict=True))
    return x, y, z, anatomy.heart[near], np.clip(1.04 - anatomy.half[near], 0, None)


def _heart_growth(pose: Pose, subject: Subject) -> Array:
    """What a heart grown by each of :data:`HEART_STEPS` adds, (9, ROWS // 2, 256)."""
    x, y, z, distance, values = _heart_rim(subject)
    dy = y - np.float32(_CENTRE_Y)
    columns, lines = COLUMNS // 2, SHAPE[2]
    column = np.clip(np.rint((x + pose.yaw * dy) / (2 * PIXEL)).astype(int), 0, columns - 1)
    # Slices are 2.5 mm apart and pixels 1.4 mm: accumulate on slices, where every line is hit, then interpolate.
    line = np.clip(np.rint((TOP_MM - z - pose.pitch * dy) / SPACING[2]).astype(int), 0, lines - 1)
    flat = line * columns + column
    at = np.arange(ROWS // 2, dtype=np.float32) * np.float32(2 * PIXEL / SPACING[2])
    grid = np.broadcast_arrays(at[:, None], np.arange(columns, dtype=np.float32)[None, :])
    out = np.zeros((len(HEART_STEPS), ROWS // 2, columns), np.float32)
    for k, growth in enumerate(HEART_STEPS[1:], start=1):
        # A ramp of 3 mm instead of a step keeps the growing edge from jumping voxel by voxel.
        weight = np.clip((growth - distance) / 3 + 0.5, 0, 1)
        sums = np.bincount(flat, values * weight, lines * columns).reshape(lines, columns) * HALF[1]
        out[k] = bilinear(ndimage.gaussian_filter(sums.astype(np.float32), (0.5, 0.7)), grid[0], grid[1])
    return out


@dataclass(frozen=True)
class Rays:
    """Sample points of the rays through a window of the detector, in mm of the patient's frame.

    Attributes:
        x: (U, Y, 1), y: (1, Y, 1), z: (1, Y, W): coordinates that broadcast to (U, Y, W).
    """

    x: Array
    y: Array
    z: Array

    @cached_property
    def _columns(self) -> NDArray[np.intp]:
        """Flat indices of the nearest (x, y) of the half-resolution volumes, (U, Y, 1)."""
        x = np.clip(np.rint(self.x / np.float32(HALF[0])).astype(np.intp), 0, SHAPE[0] // 2 - 1)
        y = np.clip(np.rint(self.y / np.float32(HALF[1])).astype(np.intp), 0, SHAPE[1] // 2 - 1)
        return (x * (SHAPE[1] // 2) + y) * SHAPE[2]

    @cached_property
    def _voxels(self) -> NDArray[np.intp]:
        """Flat indices of the nearest voxels, (U, Y, W)."""
        z = np.rint(self.z / np.float32(HALF[2])).astype(np.intp)
        return self._columns + np.clip(z, 0, SHAPE[2] - 1)

    def look_up(self, volume: NDArray) -> NDArray:
        """Nearest voxels of a half-resolution (256, 256, 133) volume, (U, Y, W)."""
        return volume.ravel().take(self._voxels)

    def between_slices(self, volume: Array) -> Array:
        """Like :meth:`look_up`, but linear along z: slices are 2.5 mm apart, and edges cut by them would show steps."""
        z = np.clip(self.z / np.float32(HALF[2]), 0, SHAPE[2] - 1)
        low = np.minimum(z.astype(np.intp), SHAPE[2] - 2)
        at, flat = self._columns + low, volume.ravel()
        below = flat.take(at)
        return below + (z - low.astype(np.float32)) * (flat.take(at + 1) - below)


def project(
    difference: Callable[[Rays], Array],
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    pose: Pose,
    factor: int,
    ray_mm: float | None = None,
) -> Patch:
    """Project a difference volume defined inside a box of the patient's frame.

    Args:
        difference: maps sample points to attenuation differences relative to water, (U, Y, W).
        low, high: corners of the box, mm of the patient's frame.
        pose: the pose of the base projection it will be added to.
        factor: detector pixels per sample along both detector axes.
        ray_mm: distance of the samples along the ray; that of `factor` pixels, at least 2, where None.

    Returns:
        The integral along the rays on the detector grid, mm of water.
    """
    corners = [
        detector_point(x, y, z, pose) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
    ]
    rows, columns = [c[0] for c in corners], [c[1] for c in corners]
    top, left = max(int(min(rows)) - 1, 0), max(int(min(columns)) - 1, 0)
    height = max(min(int(max(rows)) + 2, ROWS) - top, factor) // factor
    width = max(min(int(max(columns)) + 2, COLUMNS) - left, factor) // factor
    step = ray_mm or PIXEL * max(factor, 2)
    y = np.arange(low[1] + step / 2, high[1], step, dtype=np.float32)[None, :, None]
    offset = (factor - 1) / 2
    column = (left + offset + factor * np.arange(width, dtype=np.float32))[:, None, None]
    row = (top + offset + factor * np.arange(height, dtype=np.float32))[None, None, :]
    dy = y - np.float32(_CENTRE_Y)
    rays = Rays(
        x=column * np.float32(PIXEL) - np.float32(pose.yaw) * dy,
        y=y,
        z=np.float32(TOP_MM) - row * np.float32(PIXEL) - np.float32(pose.pitch) * dy,
    )
    values = (difference(rays).sum(axis=1, dtype=np.float32) * np.float32(step)).T
    if factor > 1:
        values = resized(values, (factor * height, factor * width))
    return Patch(np.ascontiguousarray(values, dtype=np.float32), top, left)
