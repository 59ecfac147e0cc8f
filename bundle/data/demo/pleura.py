"""Fluid and air between lung and chest wall, as 3-D differences of attenuation."""

import numpy as np

from bundle.data.demo.anatomy import LEFT
from bundle.data.demo.projection import Rays, project
from bundle.data.demo.sampling import Array
from bundle.data.demo.scene import SIDES, Lesion, Scene, corners
from bundle.data.demo.shapes import soft_step

_RECESS_MM = 45.0
_HILUM_ABOVE_DOME_MM = 35.0


def effusion(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """Free fluid in the dependent pleural space: a level that rises to a meniscus along the chest wall."""
    side = int(rng.integers(2))
    low, high = corners(side, scene.subject)
    # The deep recess behind the abdomen is taken as closed: fluid there would not be seen, but would enlarge the box.
    bottom = scene.anatomy.dome[side] - _RECESS_MM
    fluid = rng.uniform(-15, 50)
    level = scene.anatomy.dome[side] + fluid
    rise, wall = rng.uniform(10, 30), rng.uniform(6, 12)
    top = min(level + rise + 4, high[2])

    def difference(rays: Rays) -> Array:
        depth = rays.between_slices(scene.anatomy.depth[side])
        lung = np.clip(depth / np.float32(1.4), 0, 1)
        height = np.float32(level) + np.float32(rise) * np.exp(-depth / np.float32(wall)) - rays.z
        recess = soft_step(rays.z - np.float32(bottom), 12.0)
        return soft_step(height, 4.0) * recess * lung * np.clip(1 - rays.look_up(scene.anatomy.half), 0, None)

    patch = project(difference, (low[0], low[1], bottom - 6), (high[0], high[1], top), scene.pose, 4)
    kind = "small" if fluid < 5 else "moderate" if fluid < 28 else "large"
    return Lesion("Effusion", patch, (0.2, 1.3), SIDES[side], 0, 0.0, kind)


def pneumothorax(rng: np.random.Generator, scene: Scene) -> Lesion | None:
    """Air between chest wall and lung at the apex and the side, bounded by the thin line of the visceral pleura."""
    side = int(rng.integers(2))
    low, high = corners(side, scene.subject)
    # The lung shrinks towards its root, sideways and downwards: the gap is widest at the apex and the side.
    root = (low[0] if side == LEFT else high[0], scene.anatomy.dome[side] + _HILUM_ABOVE_DOME_MM)
    reach = high[2] - root[1]
    rim = rng.uniform(9, 30)
    kept = np.float32(1 - rim / reach)
    bottom = high[2] - rng.uniform(50, 125)
    line = rng.uniform(0.4, 0.8)

    def difference(rays: Rays) -> Array:
        inside = np.clip(rays.between_slices(scene.anatomy.depth[side]) / np.float32(1.4), 0, 1)
        before = Rays(
            x=np.float32(root[0]) + (rays.x - np.float32(root[0])) / kept,
            y=rays.y,
            z=np.float32(root[1]) + (rays.z - np.float32(root[1])) / kept,
        )
        depth = before.between_slices(scene.anatomy.depth[side])
        lung_left = np.clip(depth / np.float32(1.4), 0, 1)
        pleura = lung_left * np.clip((4 - depth) / np.float32(1.4), 0, 1)
        taper = soft_step(rays.z - np.float32(bottom), 30.0)
        density = np.clip(rays.look_up(scene.anatomy.half), 0, 0.5)
        return inside * taper * (np.float32(line) * pleura - (1 - lung_left) * density)

    patch = project(difference, (low[0], low[1], bottom - 20), (high[0], high[1], high[2]), scene.pose, 2, 3.0)
    kind = "small" if rim < 15 else "moderate" if rim < 22 else "large"
    return Lesion("Pneumothorax", patch, (0.4, 3.0), SIDES[side], 0, rim, kind)
