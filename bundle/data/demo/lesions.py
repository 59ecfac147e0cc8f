"""The eight findings as 3-D differences of attenuation, projected at the pose of the chest they go into.

Each builder draws one lesion and returns a :class:`Lesion` at its nominal, physical density, or None where the drawn
place would hide it; :mod:`bundle.data.demo.grading` then scales the projected difference to the wanted contrast.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.anatomy import HALF, LEFT, LOBE_NAMES, LOBES, RIGHT, Anatomy, load_anatomy
from bundle.data.demo.projection import (
    HEART_STEPS,
    PIXEL,
    BaseProjection,
    Patch,
    Pose,
    Rays,
    base_projection,
    detector_point,
    project,
)
from bundle.data.demo.sampling import Array, resized
from bundle.data.demo.shapes import lumpy_distance, random_waves, soft_step, texture

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
)
SIDES = ("left", "right")
_CLEAR_MM = 165.0
_TISSUE = 1.03


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
    """

    anatomy: Anatomy
    pose: Pose
    base: BaseProjection
    stretch: tuple[float, float]
    heart_growth: float

    @classmethod
    def at(cls, pose: Pose, stretch: tuple[float, float] = (1.0, 1.0), heart_growth: float = 0.0) -> "Scene":
        """The scene of the prepared chest at a pose."""
        return cls(load_anatomy(), pose, base_projection(pose), stretch, heart_growth)


@dataclass(frozen=True)
class Lesion:
    """One projected lesion.

    Attributes:
        finding: one of :data:`FINDINGS`.
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
    frame: tuple[float, float, float, float] | None = field(default=None)


def _lung_box(anatomy: Anatomy, lobes: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners in mm of some lobes."""
    where = np.nonzero(np.isin(anatomy.lobe, lobes))
    low = np.array([i.min() for i in where]) * HALF
    high = np.array([i.max() + 1 for i in where]) * HALF
    return low, high


_BOXES: dict[tuple[int, ...], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
_VOXELS: dict[int, NDArray[np.int16]] = {}


def _corners(anatomy: Anatomy, lobes: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if lobes not in _BOXES:
        _BOXES[lobes] = _lung_box(anatomy, lobes)
    return _BOXES[lobes]


def _lobe_voxels(anatomy: Anatomy, lobe: int) -> NDArray[np.int16]:
    if lobe not in _VOXELS:
        _VOXELS[lobe] = np.argwhere(anatomy.lobe == lobe).astype(np.int16)
    return _VOXELS[lobe]


def warm_up() -> None:
    """Compute once what every lesion looks up, before worker processes are forked."""
    anatomy = load_anatomy()
    for lobe in LOBES:
        _lobe_voxels(anatomy, lobe)
    for lobes in (LOBES[:2], LOBES[2:]):
        _corners(anatomy, lobes)


def _place(
    rng: np.random.Generator, scene: Scene, depth_mm: float, lobes: tuple[int, ...] = LOBES
) -> tuple[tuple[float, float, float], int] | None:
    """A point of the lungs at least `depth_mm` below the pleura and not behind heart or diaphragm; (mm, lobe)."""
    for _ in range(12):
        lobe = int(rng.choice(lobes))
        voxels = _lobe_voxels(scene.anatomy, lobe)
        voxel = voxels[rng.integers(len(voxels))]
        point = (float(voxel[0] * HALF[0]), float(voxel[1] * HALF[1]), float(voxel[2] * HALF[2]))
        row, column = (int(round(v)) for v in detector_point(*point, scene.pose))
        inside = 0 <= row < scene.base.body.shape[0] and 0 <= column < scene.base.body.shape[1]
        deep = scene.anatomy.depth[int(lobe >= LOBES[2])][tuple(voxel)] >= depth_mm
        if inside and deep and scene.base.body[row, column] < _CLEAR_MM:
            return point, lobe
    return None


def _ball(
    scene: Scene, centre: tuple[float, float, float], radii: tuple[float, float, float], reach: float
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Corners of the box `reach` times the radii around a centre."""
    low = tuple(c - reach * r for c, r in zip(centre, radii, strict=True))
    high = tuple(c + reach * r for c, r in zip(centre, radii, strict=True))
    return low, high  # type: ignore[return-value]


def _radii(rng: np.random.Generator, scene: Scene, radius: float, spread: float) -> tuple[float, float, float]:
    """Half axes about a radius, shortened by the stretch of the image that will lengthen them again."""
    x, y, z = radius * np.exp(rng.uniform(-spread, spread, 3))
    return float(x / scene.stretch[0]), float(y), float(z / scene.stretch[1])


def _round_lesion(
    rng: np.random.Generator, scene: Scene, finding: str, diameter: tuple[float, float], spread: float, lumps: float
) -> Lesion | None:
    radius = 0.5 * float(np.exp(rng.uniform(*np.log(diameter))))
    place = _place(rng, scene, min(0.5 * radius, 12.0))
    if place is None:
        return None
    centre, lobe = place
    radii = _radii(rng, scene, radius, spread)
    waves = random_waves(rng, 5, lumps, 3.0)
    spiculated = rng.random() < 0.3
    if spiculated:
        waves = np.concatenate([waves, random_waves(rng, 4, 0.12, 9.0)])
    edge = rng.uniform(1.0, 2.5) if finding == "Nodule" else rng.uniform(2.0, 6.0)
    cavity = rng.uniform(0.35, 0.6) if finding == "Mass" and rng.random() < 0.15 else 0.0
    mean_radius = float(np.mean(radii))

    def difference(rays: Rays) -> Array:
        distance = lumpy_distance(rays, centre, radii, waves)
        inside = soft_step((1 - distance) * mean_radius, edge)
        density = _TISSUE - rays.look_up(scene.anatomy.half)
        if cavity:
            density = density - soft_step((cavity - distance) * mean_radius, 2.0) * np.float32(0.85)
        lung = rays.look_up(scene.anatomy.lobe) > 0
        return inside * np.clip(density, -0.3, None) * np.where(lung, 1, 0.15).astype(np.float32)

    low, high = _ball(scene, centre, radii, 1.45)
    patch = project(difference, low, high, scene.pose, 1 if radius < 16 else 2)
    kind = "cavitary" if cavity else "spiculated" if spiculated else "well-defined" if edge < 1.8 else "ill-defined"
    return Lesion(finding, patch, (0.2, 3.0 if finding == "Nodule" else 1.8), SIDES[lobe >= LOBES[2]], lobe, 2 * radius, kind)


def nodule(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A round opacity of 8-30 mm in the lung, smooth, lobulated or spiculated."""
    return _round_lesion(rng, scene, "Nodule", (8.0, 30.0), 0.15, 0.10)


def mass(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A round opacity of 30-70 mm, sometimes cavitary."""
    return _round_lesion(rng, scene, "Mass", (30.0, 70.0), 0.18, 0.12)


def pneumonia(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A patchy consolidation of part of one lobe, ending at its fissures and the pleura."""
    place = _place(rng, scene, 4.0)
    if place is None:
        return None
    centre, lobe = place
    radii = _radii(rng, scene, rng.uniform(24, 46), 0.25)
    waves = random_waves(rng, 6, 0.16, 3.0)
    cells = int(rng.integers(5, 9))
    mean_radius = float(np.mean(radii))

    def difference(rays: Rays) -> Array:
        distance = lumpy_distance(rays, centre, radii, waves)
        weight = soft_step((1 - distance) * mean_radius, 0.7 * mean_radius)
        patchy = np.clip(0.1 + 1.5 * texture(rng, weight.shape, cells), 0, 1)
        lobe_only = (rays.look_up(scene.anatomy.lobe) == lobe).astype(np.float32)
        return weight * patchy * lobe_only * np.clip(0.85 - rays.look_up(scene.anatomy.half), 0, None)

    low, high = _ball(scene, centre, radii, 1.4)
    patch = project(difference, low, high, scene.pose, 2)
    return Lesion("Pneumonia", patch, (0.15, 2.0), SIDES[lobe >= LOBES[2]], lobe, 0.0, "consolidation")


def atelectasis(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A plate of collapsed lung seen edge-on, or a broader wedge of it, mostly in the lower zones."""
    lobes = (11, 13, 14) if rng.random() < 0.75 else LOBES
    place = _place(rng, scene, 6.0, lobes)
    if place is None:
        return None
    centre, lobe = place
    wedge = rng.random() < 0.3
    thickness = rng.uniform(9, 18) if wedge else rng.uniform(3.5, 9)
    length, depth = rng.uniform(20, 42), rng.uniform(20, 45)
    tilt, slope = rng.normal(0, 0.35), rng.normal(0, 0.10)
    bow = rng.normal(0, 0.004)
    thin = thickness / scene.stretch[1]
    long = length / scene.stretch[0]

    def difference(rays: Rays) -> Array:
        x, y = rays.x - np.float32(centre[0]), rays.y - np.float32(centre[1])
        across = rays.z - np.float32(centre[2]) - np.float32(tilt) * x - np.float32(slope) * y - np.float32(bow) * x * x
        local = thin * (np.clip(0.3 + 0.7 * (x / long + 1) / 2, 0.3, 1) if wedge else 1.0)
        plate = soft_step((local / 2 - np.abs(across)).astype(np.float32), 2.0 if not wedge else 4.0)
        ends = soft_step(1 - np.sqrt((x / long) ** 2 + (y / depth) ** 2), 0.3)
        lung = (rays.look_up(scene.anatomy.lobe) > 0).astype(np.float32)
        return plate * ends * lung * np.clip(0.95 - rays.look_up(scene.anatomy.half), 0, None)

    reach = (1.1 * long, 1.1 * depth, thin + abs(tilt) * long * 1.1 + abs(slope) * depth * 1.1 + abs(bow) * long**2 * 1.3 + 4)
    low, high = _ball(scene, centre, reach, 1.0)
    patch = project(difference, low, high, scene.pose, 2 if wedge else 1)
    kind = "wedge" if wedge else "plate"
    return Lesion("Atelectasis", patch, (0.2, 2.2), SIDES[lobe >= LOBES[2]], lobe, 0.0, kind)


def effusion(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """Free fluid in the dependent pleural space: a level that rises to a meniscus along the chest wall."""
    side = int(rng.integers(2))
    lobes = LOBES[:2] if side == LEFT else LOBES[2:]
    low, high = _corners(scene.anatomy, lobes)
    depth_of_fluid = rng.uniform(30, 105)
    level = low[2] + depth_of_fluid
    rise, wall = rng.uniform(10, 30), rng.uniform(6, 12)
    top = min(level + rise + 4, high[2])

    def difference(rays: Rays) -> Array:
        depth = rays.look_up(scene.anatomy.depth[side])
        lung = depth > 0
        height = np.float32(level) + np.float32(rise) * np.exp(-depth / np.float32(wall)) - rays.z
        return soft_step(height, 4.0) * lung * np.clip(1 - rays.look_up(scene.anatomy.half), 0, None)

    corners = ((low[0], low[1], low[2]), (high[0], high[1], top))
    patch = project(difference, corners[0], corners[1], scene.pose, 4)
    kind = "small" if depth_of_fluid < 50 else "moderate" if depth_of_fluid < 80 else "large"
    return Lesion("Effusion", patch, (0.2, 1.3), SIDES[side], 0, 0.0, kind)


def pneumothorax(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """Air between chest wall and lung at the apex and the side, bounded by the thin line of the visceral pleura."""
    side = int(rng.integers(2))
    lobes = LOBES[:2] if side == LEFT else LOBES[2:]
    low, high = _corners(scene.anatomy, lobes)
    rim = rng.uniform(12, 34)
    length = rng.uniform(60, 150)
    bottom = max(high[2] - length, low[2])
    line = rng.uniform(0.6, 1.0)

    def difference(rays: Rays) -> Array:
        depth = rays.look_up(scene.anatomy.depth[side])
        inside = (depth > 0).astype(np.float32)
        taper = np.clip((rays.z - np.float32(bottom)) / np.float32(0.7 * length), 0, 1)
        local = np.float32(rim) * np.sqrt(taper)
        air = soft_step(local - depth, 2.0)
        pleura = np.clip(1 - np.abs(depth - local - 1) / np.float32(1.8), 0, 1) * (taper > 0)
        lung = rays.look_up(scene.anatomy.half)
        return inside * (np.float32(line) * 0.5 * pleura - air * np.clip(lung, 0, 0.6))

    patch = project(difference, (low[0], low[1], bottom), (high[0], high[1], high[2]), scene.pose, 2, 3.0)
    kind = "small" if rim < 18 else "moderate" if rim < 26 else "large"
    return Lesion("Pneumothorax", patch, (0.4, 3.0), SIDES[side], 0, rim, kind)


def heart_of(scene: Scene, growth: float) -> Array:
    """What a heart grown by `growth` mm adds, (ROWS // 2, 256) mm of water."""
    position = float(np.interp(growth, HEART_STEPS, np.arange(len(HEART_STEPS))))
    low = min(int(position), len(HEART_STEPS) - 2)
    part = np.float32(position - low)
    return (1 - part) * scene.base.heart[low] + part * scene.base.heart[low + 1]


def doubled(half: Array) -> Array:
    """A half-resolution detector image at full resolution."""
    return resized(half, (2 * half.shape[0], 2 * half.shape[1]))


def cardiomegaly(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A dilated heart: growth of 8-24 mm more than the patient's healthy one, to the left and downwards."""
    growth = scene.heart_growth + rng.uniform(9, 24)
    added = heart_of(scene, growth) - heart_of(scene, scene.heart_growth)
    rows, columns = np.nonzero((added > 2) | (scene.base.heart_shadow > 5))
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    patch = Patch(doubled(added[top:bottom, left:right]), 2 * top, 2 * left)
    frame = (2.0 * top, 2.0 * left, 2.0 * bottom, 2.0 * right)
    kind = "mild" if growth < 16 else "moderate" if growth < 23 else "marked"
    return Lesion("Cardiomegaly", patch, (0.6, 1.4), "midline", 0, 0.0, kind, frame)


def infiltration(rng: np.random.Generator, scene: Scene) -> list[Lesion]:
    """Patchy haze of both lungs, sometimes of one: one lesion for each lung, with correlated zones."""
    sides = (LEFT, RIGHT) if rng.random() < 0.75 else (int(rng.integers(2)),)
    zone = rng.uniform(0.1, 0.9)
    spread = rng.uniform(0.16, 0.32)
    out = []
    for side in sides:
        thickness = scene.base.lungs[side]
        rows, columns = np.nonzero(thickness > 10)
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        cut = thickness[top:bottom, left:right]
        height = np.linspace(0, 1, cut.shape[0], dtype=np.float32)[:, None]
        centre = np.float32(np.clip(zone + rng.normal(0, 0.05), 0, 1))
        profile = np.exp(-(((height - centre) / np.float32(spread)) ** 2))
        patchy = np.clip(2.2 * texture(rng, cut.shape, int(rng.integers(6, 10))) - 0.5, 0, 1)
        fine = texture(rng, cut.shape, int(rng.integers(30, 45)))
        values = np.float32(0.3) * cut * profile * patchy * (np.float32(0.5) + fine)
        patch = Patch(values.astype(np.float32), int(top), int(left))
        out.append(Lesion("Infiltration", patch, (0.1, 2.5), SIDES[side]))
    return out


BUILDERS: dict[str, Callable[[np.random.Generator, Scene], Lesion | list[Lesion] | None]] = {
    "Atelectasis": atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Effusion": effusion,
    "Infiltration": infiltration,
    "Mass": mass,
    "Nodule": nodule,
    "Pneumonia": pneumonia,
    "Pneumothorax": pneumothorax,
}


def lobe_name(lobe: int) -> str:
    """Name of a TotalSegmentator lobe, empty for 0."""
    return LOBE_NAMES.get(lobe, "")


def detector_mm(pixels: float) -> float:
    """Detector pixels in mm."""
    return pixels * PIXEL
