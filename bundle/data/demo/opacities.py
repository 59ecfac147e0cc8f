"""Opacities of the lung as 3-D differences of attenuation: nodule, mass, pneumonia, atelectasis, infiltration.

Each function draws one lesion and returns it at its nominal, physical density, or None where the drawn place would hide
it; :mod:`bundle.data.demo.grading` then scales the projected difference to the wanted contrast. Infiltration alone is
drawn on the detector, as the lung's thickness along each ray times a patchy density.
"""

import numpy as np

from bundle.data.demo.anatomy import LEFT, RIGHT
from bundle.data.demo.projection import Patch, Rays, project
from bundle.data.demo.sampling import Array
from bundle.data.demo.scene import SIDES, Lesion, Scene, box_around, draw_place, draw_radii, is_clear, side_of
from bundle.data.demo.shapes import lumpy_distance, random_waves, soft_step, texture
from bundle.data.demo.source import LOBES

TISSUE = 1.03
"""Attenuation of solid tissue relative to water."""


def _round_lesion(
    rng: np.random.Generator, scene: Scene, finding: str, diameter: tuple[float, float], spread: float, lumps: float
) -> Lesion | None:
    radius = 0.5 * float(np.exp(rng.uniform(*np.log(diameter))))
    place = draw_place(rng, scene, min(0.5 * radius, 12.0))
    if place is None:
        return None
    centre, lobe = place
    radii = draw_radii(rng, scene, radius, spread)
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
        density = TISSUE - rays.look_up(scene.anatomy.half)
        if cavity:
            density = density - soft_step((cavity - distance) * mean_radius, 2.0) * np.float32(0.85)
        lung = rays.look_up(scene.anatomy.lobe) > 0
        return inside * np.clip(density, -0.3, None) * np.where(lung, 1, 0.15).astype(np.float32)

    low, high = box_around(centre, radii, 1.45)
    patch = project(difference, low, high, scene.pose, 1 if radius < 16 else 2)
    if not is_clear(scene, patch, 0.8):
        return None
    kind = "cavitary" if cavity else "spiculated" if spiculated else "well-defined" if edge < 1.8 else "ill-defined"
    return Lesion(
        finding, patch, (0.2, 3.0 if finding == "Nodule" else 1.8), SIDES[side_of(lobe)], lobe, 2 * radius, kind
    )


def nodule(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A round opacity of 8-30 mm in the lung, smooth, lobulated or spiculated."""
    return _round_lesion(rng, scene, "Nodule", (8.0, 30.0), 0.15, 0.10)


def mass(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A round opacity of 30-70 mm, sometimes cavitary."""
    return _round_lesion(rng, scene, "Mass", (30.0, 70.0), 0.18, 0.12)


def pneumonia(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A patchy consolidation of part of one lobe, ending at its fissures and the pleura."""
    place = draw_place(rng, scene, 4.0)
    if place is None:
        return None
    centre, lobe = place
    radii = draw_radii(rng, scene, rng.uniform(24, 46), 0.25)
    waves = random_waves(rng, 6, 0.16, 3.0)
    cells = int(rng.integers(5, 9))
    mean_radius = float(np.mean(radii))

    def difference(rays: Rays) -> Array:
        distance = lumpy_distance(rays, centre, radii, waves)
        weight = soft_step((1 - distance) * mean_radius, 0.7 * mean_radius)
        patchy = np.clip(0.1 + 1.5 * texture(rng, weight.shape, cells), 0, 1)
        lobe_only = (rays.look_up(scene.anatomy.lobe) == lobe).astype(np.float32)
        return weight * patchy * lobe_only * np.clip(0.85 - rays.look_up(scene.anatomy.half), 0, None)

    low, high = box_around(centre, radii, 1.4)
    patch = project(difference, low, high, scene.pose, 2)
    if not is_clear(scene, patch, 0.6):
        return None
    return Lesion("Pneumonia", patch, (0.15, 2.0), SIDES[side_of(lobe)], lobe, 0.0, "consolidation")


def atelectasis(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """A plate of collapsed lung seen edge-on, or a broader wedge of it, mostly in the lower zones."""
    lobes = (11, 13, 14) if rng.random() < 0.75 else LOBES
    place = draw_place(rng, scene, 6.0, lobes)
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

    reach = (
        1.1 * long,
        1.1 * depth,
        thin + abs(tilt) * long * 1.1 + abs(slope) * depth * 1.1 + abs(bow) * long**2 * 1.3 + 4,
    )
    low, high = box_around(centre, reach, 1.0)
    patch = project(difference, low, high, scene.pose, 2 if wedge else 1)
    if not is_clear(scene, patch, 0.6):
        return None
    kind = "wedge" if wedge else "plate"
    return Lesion("Atelectasis", patch, (0.2, 2.2), SIDES[side_of(lobe)], lobe, 0.0, kind)


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
