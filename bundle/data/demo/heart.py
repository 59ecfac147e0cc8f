"""The heart's size: that of healthy patients, and its dilation as a finding."""

import numpy as np

from bundle.data.demo.projection import HEART_STEPS, Patch
from bundle.data.demo.sampling import Array, resized
from bundle.data.demo.scene import Lesion, Scene


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
    """A dilated heart: growth by 9-24 mm more than the patient's healthy one, to the left and downwards."""
    growth = scene.heart_growth + rng.uniform(9, 24)
    added = heart_of(scene, growth) - heart_of(scene, scene.heart_growth)
    rows, columns = np.nonzero((added > 3) | (scene.base.heart_shadow > 15))
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    patch = Patch(doubled(added[top:bottom, left:right]), 2 * top, 2 * left)
    frame = (2.0 * top, 2.0 * left, 2.0 * bottom, 2.0 * right)
    kind = "mild" if growth < 16 else "moderate" if growth < 23 else "marked"
    return Lesion("Cardiomegaly", patch, (0.6, 1.4), "midline", 0, 0.0, kind, frame)
