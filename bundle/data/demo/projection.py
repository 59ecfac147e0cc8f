"""Parallel projection of the chest, and of small difference volumes, onto one detector grid.

Detector grid: (:data:`ROWS`, 512) pixels of :data:`PIXEL` mm; rows run from head to foot, columns from the patient's
right to the left, as in a radiograph hung for reading. Values are path lengths in mm of water.

A patient turned by a small angle is, to first order, a sheared one: a point (x, y, z) falls on column mm
x + yaw * (y - centre) and height z + pitch * (y - centre), with yaw and pitch as tangents. Ribs, vessels and lesions at
different depths so move against one another as they do between two exposures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.anatomy import HALF, LOBES, Anatomy, load_anatomy
from bundle.data.demo.sampling import Array, resized
from bundle.data.demo.source import SHAPE, SPACING

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
    """Sum of (X, Y, Z) slabs over Y, each moved by the pose; spacing mm of the slabs; (X, Z)."""
    out = np.zeros((slabs.shape[0], slabs.shape[2]), np.float32)
    for y in range(slabs.shape[1]):
        layer = slabs[:, y]
        dy = (y + 0.5) * spacing[1] - _CENTRE_Y
        for axis, shift in ((0, pose.yaw * dy / spacing[0]), (1, pose.pitch * dy / spacing[2])):
            whole = int(np.floor(shift))
            part = np.float32(shift - whole)
            layer = (1 - part) * _moved(layer, whole, axis) + part * _moved(layer, whole + 1, axis)
        out += layer
    return out * np.float32(spacing[1])


def _moved(layer: Array, by: int, axis: int) -> Array:
    """`layer` moved by whole voxels along an axis, its edge repeated."""
    index = np.clip(np.arange(layer.shape[axis]) - by, 0, layer.shape[axis] - 1)
    return np.take(layer, index, axis=axis)


def _to_detector(projection: Array, factor: int) -> Array:
    """(X, Z) sums of 1/factor resolution to the (ROWS, 512) detector grid by cubic splines."""
    rows = (TOP_MM - np.arange(ROWS) * PIXEL) / SPACING[2]
    columns = (np.arange(COLUMNS) + 0.5) / factor - 0.5
    coefficients = ndimage.spline_filter(projection, order=3, output=np.float32, mode="nearest")
    grid = np.meshgrid(columns, rows)
    return ndimage.map_coordinates(coefficients, grid, order=3, mode="nearest", prefilter=False).astype(np.float32)


def _slabs(volume: Array, count: int) -> Array:
    x, y, z = volume.shape
    return volume.reshape(x, y // count, count, z).mean(axis=2, dtype=np.float32)


def _sharpened(image: Array, amount: float) -> Array:
    """Undo the blur of the later resampling, and a little of the CT's own, as a detector's processing does."""
    return image + np.float32(amount) * (image - ndimage.gaussian_filter(image, 1.5))


@lru_cache(maxsize=1)
def _slab_volumes() -> dict[str, Array]:
    anatomy = load_anatomy()
    lung = np.isin(anatomy.lobe, LOBES)
    return {
        "body": _slabs(anatomy.tissue, _SLAB),
        "bone": _slabs(anatomy.bone, _SLAB // 2),
        "left": _slabs(np.isin(anatomy.lobe, LOBES[:2]).astype(np.float32), _SLAB // 2),
        "right": _slabs(np.isin(anatomy.lobe, LOBES[2:]).astype(np.float32), _SLAB // 2),
        "air": _slabs(np.where(lung, anatomy.half, 0), _SLAB // 2),
        "heart": _slabs((anatomy.heart <= 0).astype(np.float32), _SLAB // 2),
    }


@lru_cache(maxsize=len(POSES))
def base_projection(pose: Pose) -> BaseProjection:
    """Project the lesion-free chest (about 0.5 s, kept per process)."""
    volumes = _slab_volumes()
    fine = (SPACING[0], _SLAB * SPACING[1], SPACING[2])
    coarse = (HALF[0], _SLAB * SPACING[1], SPACING[2])
    flat = {
        name: _to_detector(_sheared_sum(volume, pose, fine if name == "body" else coarse), 1 if name == "body" else 2)
        for name, volume in volumes.items()
    }
    return BaseProjection(
        body=_sharpened(flat["body"], 0.9),
        bone=flat["bone"],
        lungs=np.clip(np.stack([flat["left"], flat["right"]]), 0, None),
        air=flat["air"],
        heart=_heart_growth(load_anatomy(), pose),
        heart_shadow=np.clip(flat["heart"][: ROWS // 2 * 2 : 2, ::2], 0, None),
    )


def forget_volumes() -> None:
    """Drop the slabs kept for :func:`base_projection`, which are of no use once every pose has been projected."""
    _slab_volumes.cache_clear()


def _heart_growth(anatomy: Anatomy, pose: Pose) -> Array:
    near = np.nonzero((anatomy.heart < HEART_STEPS[-1]) & (anatomy.lobe > 0))
    values = 1.04 - anatomy.half[near]
    distance = anatomy.heart[near]
    dy = (near[1] + 0.5) * HALF[1] - _CENTRE_Y
    column = (near[0] * HALF[0] + pose.yaw * dy) / (2 * PIXEL)
    row = (TOP_MM - near[2] * SPACING[2] - pose.pitch * dy) / (2 * PIXEL)
    out = np.zeros((len(HEART_STEPS), ROWS // 2, COLUMNS // 2), np.float32)
    # Slices are 2.5 mm apart and pixels 1.4 mm: accumulate on slices, where every row is hit, then interpolate.
    lines = int(TOP_MM / SPACING[2]) + 1
    line = np.clip(np.rint(row * 2 * PIXEL / SPACING[2]).astype(int), 0, lines - 1)
    flat = line * (COLUMNS // 2) + np.clip(np.rint(column).astype(int), 0, COLUMNS // 2 - 1)
    at = np.arange(ROWS // 2) * 2 * PIXEL / SPACING[2]
    for k, growth in enumerate(HEART_STEPS):
        # A ramp of 3 mm instead of a step keeps the growing edge from jumping voxel by voxel.
        weight = np.clip((growth - distance) / 3 + 0.5, 0, 1) if growth else np.zeros_like(distance)
        sums = np.bincount(flat, values * weight, lines * (COLUMNS // 2)).reshape(lines, COLUMNS // 2) * HALF[1]
        smooth = ndimage.gaussian_filter(sums.astype(np.float32), (0.5, 0.7))
        grid = np.meshgrid(at, np.arange(COLUMNS // 2), indexing="ij")
        out[k] = ndimage.map_coordinates(smooth, grid, order=1, mode="nearest")
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
    def _voxels(self) -> NDArray[np.intp]:
        """Flat indices of the nearest voxels of the half-resolution volumes, (U, Y, W)."""
        sizes = (SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2])
        flat: NDArray[np.intp] = np.zeros((1, 1, 1), np.intp)
        for coordinate, spacing, size in zip((self.x, self.y, self.z), HALF, sizes, strict=True):
            index = np.clip(np.rint(coordinate / np.float32(spacing)).astype(np.intp), 0, size - 1)
            flat = flat * size + index
        return flat

    def look_up(self, volume: NDArray) -> NDArray:
        """Nearest voxels of a half-resolution (256, 256, 133) volume, (U, Y, W)."""
        return volume.ravel().take(self._voxels)


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
    corners = [detector_point(x, y, z, pose) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
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


def all_projections() -> Iterator[BaseProjection]:
    """Every pose's projection, computing those still missing."""
    for pose in POSES:
        yield base_projection(pose)
