"""How visible an inserted lesion is, and how to make it as visible as wanted.

Contrast-to-noise ratio, as used throughout the demo data:

    CNR = |mean over M of (with - without)| / std over R of (without - local mean of without)

with: the stored image in which only this lesion is inserted; without: the lesion-free stored image of the same seed at
the same exposure, noise included (both at stored resolution, in stored values). M: pixels where the projected
difference exceeds 25% of its maximum, without fragments under 5% of the area. R, the surroundings: pixels within 12 mm
of M (a square dilation), not in M, over the lungs and inside the collimation; without the restriction to the lungs
where fewer than 100 pixels would be left. The local mean is that of the square of 20 mm around a pixel: noise, vessels
and the edges of ribs count as noise, the slow rise of the chest wall and of the heart does not. The plain deviation
would be governed by how much heart or shoulder happens to lie in the ring, and a pneumothorax or a haze over a whole
lung would never exceed a ratio of 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.exposure import Exposure
from bundle.data.demo.sampling import Array
from bundle.data.demo.scene import Lesion
from bundle.data.demo.view import View

CNR_RANGE = (1.5, 10.0)
MASK_FLOOR = 0.25
RING_MM = 12.0
LOCAL_MM = 20.0
_MARGIN = 0.01
_FEWEST = 100
_FRAGMENT = 0.05


@dataclass(frozen=True)
class Placed:
    """A lesion in the stored image.

    Attributes:
        lesion: what it is.
        difference: (h, w) mm of water at nominal density, on a window of the image that holds mask and surroundings.
        mask: (h, w) M.
        ring: (h, w) R.
        top, left: first row and column of the window.
        box: [x0, y0, x1, y1] of the mask (of the whole heart for cardiomegaly), exclusive at the end.
    """

    lesion: Lesion
    difference: Array
    mask: NDArray[np.bool_]
    ring: NDArray[np.bool_]
    top: int
    left: int
    box: tuple[int, int, int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """Slices of the window in the image."""
        height, width = self.difference.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def measure_cnr(
    with_lesion: NDArray, without: NDArray, mask: NDArray[np.bool_], ring: NDArray[np.bool_], pixel_mm: float
) -> float:
    """The contrast-to-noise ratio defined above.

    Args:
        with_lesion, without: (H, W) stored values.
        mask, ring: (H, W) M and R.
        pixel_mm: size of a pixel.

    Raises:
        ValueError: the mask or the surroundings are empty.
    """
    if not mask.any() or not ring.any():
        raise ValueError(
            f"A contrast-to-noise ratio needs a lesion and surroundings: found {int(mask.sum())} and {int(ring.sum())} "
            "pixels, wanted at least one each."
        )
    before = without.astype(np.float32)
    change = with_lesion[mask].astype(np.float64) - before[mask]
    return abs(float(change.mean())) / max(float(fluctuation(before, pixel_mm)[ring].std()), 1e-6)


def fluctuation(image: Array, pixel_mm: float) -> Array:
    """An image minus its local mean, that of the square of 20 mm around each pixel; (H, W)."""
    return image - ndimage.uniform_filter(image, 2 * round(0.5 * LOCAL_MM / pixel_mm) + 1)


def place(
    lesion: Lesion, view: View, lung_field: NDArray[np.bool_], exposed: tuple[int, int, int, int]
) -> Placed | None:
    """Warp a lesion into the image and find mask, surroundings and box; None if too little of it is in the image."""
    values, top, left = view.sample_patch(lesion.patch)
    if values.size == 0:
        return None
    sign = np.float32(1 if values.sum() >= 0 else -1)
    strength = values * sign
    floor = MASK_FLOOR * float(strength.max())
    full = MASK_FLOOR * float((lesion.patch.values * sign).max())
    if floor < 0.5 * full or floor <= 0:
        return None
    mask = _without_fragments(strength > floor)
    rows, columns = np.arange(mask.shape[0]) + top, np.arange(mask.shape[1]) + left
    keep_rows, keep_columns = (
        (rows >= exposed[0]) & (rows < exposed[2]),
        (columns >= exposed[1]) & (columns < exposed[3]),
    )
    clipped = mask & keep_rows[:, None] & keep_columns[None, :]
    if clipped.sum() < max(0.6 * mask.sum(), 25):
        return None
    reach = round(RING_MM / view.pixel_mm)
    new_top, new_left = max(top - reach, exposed[0]), max(left - reach, exposed[1])
    bottom = min(top + mask.shape[0] + reach, exposed[2])
    right = min(left + mask.shape[1] + reach, exposed[3])
    values, mask = (_moved_window(a, (top, left), (new_top, new_left, bottom, right)) for a in (values, mask))
    near = ndimage.maximum_filter(mask, size=2 * reach + 1, mode="constant") & ~mask
    ring = near & lung_field[new_top:bottom, new_left:right]
    if ring.sum() < _FEWEST:
        ring = near
    if ring.sum() < _FEWEST:
        return None
    inside_rows, inside_columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (
        int(inside_columns[0]) + new_left,
        int(inside_rows[0]) + new_top,
        int(inside_columns[-1]) + 1 + new_left,
        int(inside_rows[-1]) + 1 + new_top,
    )
    if lesion.frame is not None:
        frame = view.box_of(lesion.frame)
        box = (
            max(min(box[0], frame[0]), exposed[1]),
            max(min(box[1], frame[1]), exposed[0]),
            min(max(box[2], frame[2]), exposed[3]),
            min(max(box[3], frame[3]), exposed[2]),
        )
    return Placed(lesion, values, mask, ring, new_top, new_left, box)


def _without_fragments(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    return (areas >= _FRAGMENT * areas.sum())[parts]


def _moved_window(values: NDArray, origin: tuple[int, int], window: tuple[int, int, int, int]) -> NDArray:
    """`values` whose first pixel is at `origin`, cut or padded with 0 to the window (top, left, bottom, right)."""
    top, left, bottom, right = window
    out = np.zeros((bottom - top, right - left), values.dtype)
    r0, c0 = max(origin[0], top), max(origin[1], left)
    r1, c1 = min(origin[0] + values.shape[0], bottom), min(origin[1] + values.shape[1], right)
    out[r0 - top : r1 - top, c0 - left : c1 - left] = values[
        r0 - origin[0] : r1 - origin[0], c0 - origin[1] : c1 - origin[1]
    ]
    return out


def draw_target(rng: np.random.Generator, low: float = CNR_RANGE[0], high: float = CNR_RANGE[1]) -> float:
    """A contrast-to-noise ratio drawn log-uniformly from low..high."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def first_scale(placed: Placed, uneven_mm: Array, target: float) -> float:
    """The scale that gives the target if the tone curve were a straight line; uneven_mm is the image's fluctuation."""
    mean = abs(float(placed.difference[placed.mask].mean()))
    wanted = target * float(uneven_mm[placed.window][placed.ring].std()) / max(mean, 1e-6)
    return float(np.clip(wanted, *placed.lesion.scales))


def reachable(placed: Placed, uneven_mm: Array) -> bool:
    """Whether a lesion at its densest clears the lower end of the range with some room, tone curve apart."""
    strongest = placed.lesion.scales[1] * abs(float(placed.difference[placed.mask].mean()))
    return strongest > 1.15 * CNR_RANGE[0] * float(uneven_mm[placed.window][placed.ring].std())


def solve_scale(
    rng: np.random.Generator, placed: Placed, noisy_mm: Array, uneven: Array, exposure: Exposure, target: float
) -> float | None:
    """The factor on the projected difference that gives a lesion its contrast-to-noise ratio.

    Args:
        rng: redraws the target where the lesion's physical range of scales cannot reach it.
        placed: the lesion.
        noisy_mm: (H, W) lesion-free image with its noise, mm of water.
        uneven: (H, W) the fluctuation of the lesion-free stored image.
        exposure: from mm to stored values, fixed.
        target: wanted ratio.

    Returns:
        The factor, or None where no ratio of :data:`CNR_RANGE` can be reached.
    """
    before, difference = noisy_mm[placed.window][placed.mask], placed.difference[placed.mask]
    stored = exposure(before)
    spread = max(float(uneven[placed.window][placed.ring].std()), 1e-6)

    def ratio(scale: float) -> float:
        return abs(float((exposure(before + np.float32(scale) * difference) - stored).mean())) / spread

    low, high = placed.lesion.scales
    at_low, at_high = ratio(low), ratio(high)
    bounds = (max(CNR_RANGE[0] * (1 + _MARGIN), at_low), min(CNR_RANGE[1] * (1 - _MARGIN), at_high))
    if bounds[0] >= bounds[1]:
        return None
    if not bounds[0] <= target <= bounds[1]:
        target = draw_target(rng, *bounds)
    scale = low
    for _ in range(5):
        # The ratio is nearly a straight line of the scale, so the chord lands within a percent in two or three steps.
        scale = low + (high - low) * (target - at_low) / max(at_high - at_low, 1e-9)
        reached = ratio(scale)
        if abs(reached / target - 1) < 0.002:
            break
        if reached < target:
            low, at_low = scale, reached
        else:
            high, at_high = scale, reached
    return scale
