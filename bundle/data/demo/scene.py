"""What a lesion is put into, what a lesion is, and where in the lungs one may be placed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.anatomy import HALF, LEFT, RIGHT, Anatomy, load_anatomy
from bundle.data.demo.projection import BaseProjection, Patch, Pose, base_projection, detector_point
from bundle.data.demo.source import LOBES
from bundle.data.demo.subjects import LIDC, NAMES, Subject

SIDES = ("left", "right")
LUNGS = (LOBES[:2], LOBES[2:])
"""Lobes of the left and of the right lung."""
_CLEAR_MM, _THIN_MM = 165.0, 100.4
"""Of LIDC-IDRI-0001: water in front of which a lesion shows, and the lower quartile over the lungs; mm."""
_LUNG_MM = 25.0


@dataclass(frozen=True)
class Scene:
    """What a lesion is put into.

    Attributes:
        anatomy: the chest.
        pose: its pose.
        base: the projections at that pose.
        stretch: (across, along) by how much the image will later stretch the chest, so that a drawn size in mm is the
            size in the image.
        heart_growth: mm by which this patient's healthy heart has already grown.
        subject: whose chest it is.
        clear_mm: mm of water on a ray that passes neither heart nor abdomen, at most: more in a thicker chest.
    """

    anatomy: Anatomy
    pose: Pose
    base: BaseProjection
    stretch: tuple[float, float]
    heart_growth: float
    subject: Subject = LIDC
    clear_mm: float = _CLEAR_MM

    @classmethod
    def at(
        cls,
        pose: Pose,
        stretch: tuple[float, float] = (1.0, 1.0),
        heart_growth: float = 0.0,
        subject: Subject = LIDC,
    ) -> "Scene":
        """The scene of a prepared chest at a pose."""
        base = base_projection(pose, subject)
        clear = _CLEAR_MM if subject == LIDC else _clear_mm(base)
        return cls(load_anatomy(subject), pose, base, stretch, heart_growth, subject, clear)


def _clear_mm(base: BaseProjection) -> float:
    over_lungs = base.body[base.lungs.sum(axis=0) > _LUNG_MM]
    return _CLEAR_MM + float(np.percentile(over_lungs, 25)) - _THIN_MM


@dataclass(frozen=True)
class Lesion:
    """One projected lesion.

    Attributes:
        finding: its name.
        patch: its projected difference on the detector grid, mm of water, at nominal density.
        scales: smallest and largest factor on the difference that stays near what tissue can do.
        side: left, right or midline, of the patient.
        lobe: TotalSegmentator number of its lobe, 0 where none applies.
        size_mm: its largest extent where that is a meaningful number, else 0.
        kind: variant, for the report.
        frame: detector (top, left, bottom, right) that its box covers besides the difference (the heart), or None.
    """

    finding: str
    patch: Patch
    scales: tuple[float, float]
    side: str
    lobe: int = 0
    size_mm: float = 0.0
    kind: str = ""
    frame: tuple[float, float, float, float] | None = None


@lru_cache(maxsize=2 * len(NAMES))
def corners(side: int, subject: Subject) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest (x, y, z) in mm of the left (0) or right (1) lung."""
    where = np.nonzero(np.isin(load_anatomy(subject).lobe, LUNGS[side]))
    return np.array([i.min() for i in where]) * HALF, np.array([i.max() + 1 for i in where]) * HALF


@lru_cache(maxsize=len(LOBES) * len(NAMES))
def lobe_voxels(lobe: int, subject: Subject) -> NDArray[np.int16]:
    """(N, 3) half-resolution voxels of a lobe."""
    return np.argwhere(load_anatomy(subject).lobe == lobe).astype(np.int16)


def warm_up(subject: Subject) -> None:
    """Compute once what every lesion looks up, before worker processes are forked."""
    for lobe in LOBES:
        lobe_voxels(lobe, subject)
    for side in (LEFT, RIGHT):
        corners(side, subject)


def side_of(lobe: int) -> int:
    """LEFT or RIGHT."""
    return RIGHT if lobe in LUNGS[RIGHT] else LEFT


def draw_place(
    rng: np.random.Generator, scene: Scene, depth_mm: float, lobes: tuple[int, ...] = LOBES
) -> tuple[tuple[float, float, float], int] | None:
    """A point of the lungs at least `depth_mm` below the pleura and not behind heart or diaphragm; (mm, lobe)."""
    for _ in range(12):
        lobe = int(rng.choice(lobes))
        voxels = lobe_voxels(lobe, scene.subject)
        voxel = voxels[rng.integers(len(voxels))]
        point = (float(voxel[0] * HALF[0]), float(voxel[1] * HALF[1]), float(voxel[2] * HALF[2]))
        row, column = (round(v) for v in detector_point(*point, scene.pose))
        inside = 0 <= row < scene.base.body.shape[0] and 0 <= column < scene.base.body.shape[1]
        deep = scene.anatomy.depth[side_of(lobe)][tuple(voxel)] >= depth_mm
        if inside and deep and scene.base.body[row, column] < scene.clear_mm:
            return point, lobe
    return None


def is_clear(scene: Scene, patch: Patch, share: float) -> bool:
    """Whether that share of the patch's mask lies over lung that neither heart nor abdomen covers."""
    height, width = patch.values.shape
    below = scene.base.body[patch.top : patch.top + height, patch.left : patch.left + width] < scene.clear_mm
    mask = patch.values[: below.shape[0], : below.shape[1]] > 0.25 * patch.values.max()
    return bool(below[mask].mean() >= share) if mask.any() else False


def box_around(
    centre: tuple[float, float, float], radii: tuple[float, float, float], reach: float
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Corners of the box `reach` times the radii around a centre, mm."""
    (x, y, z), (a, b, c) = centre, (reach * r for r in radii)
    return (x - a, y - b, z - c), (x + a, y + b, z + c)


def draw_radii(rng: np.random.Generator, scene: Scene, radius: float, spread: float) -> tuple[float, float, float]:
    """Half axes about a radius, shortened by the stretch of the image that will lengthen them again."""
    x, y, z = radius * np.exp(rng.uniform(-spread, spread, 3))
    return float(x / scene.stretch[0]), float(y), float(z / scene.stretch[1])
