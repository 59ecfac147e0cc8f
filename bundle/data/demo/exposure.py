"""From path lengths to stored pixel values: patient, noise, tone curve, collimation, side marker."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.heart import doubled, heart_of
from bundle.data.demo.projection import COLUMNS, ROWS
from bundle.data.demo.sampling import Array, resized
from bundle.data.demo.scene import Scene
from bundle.data.demo.stages import Chest, Presentation, Processing
from bundle.data.demo.view import View

MAXIMUM = 4095
_WATER_PER_MM = 0.0185
_LETTERS = {
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
}


@dataclass(frozen=True)
class Exposure:
    """The fixed way from mm of water to stored values, a function of the pixel alone.

    stored = black + span * c(t), t = (mm - low) / (high - low), c(t) = (1 - exp(-bend * t)) / (1 - exp(-bend)),
    rounded and clipped to 0..4095; bright is dense.

    Attributes:
        low, high: mm of water shown black and white.
        black, span: stored values.
        bend: curvature of the tone curve, never 0.
    """

    low: float
    high: float
    black: float
    span: float
    bend: float

    def __call__(self, water_mm: Array) -> Array:
        """Stored values before rounding, any shape."""
        t = (water_mm - np.float32(self.low)) / np.float32(self.high - self.low)
        curve = (1 - np.exp(np.float32(-self.bend) * t)) / np.float32(1 - np.exp(-self.bend))
        return np.clip(np.float32(self.black) + np.float32(self.span) * curve, 0, MAXIMUM)


def patient(rng: np.random.Generator, scene: Scene, sex: str, chest: Chest) -> Array:
    """One lesion-free patient on the detector, (ROWS, 512) mm of water.

    Lung density, bone density, soft tissue, breast shadows and the healthy heart's size vary, so that no finding
    is given away by overall brightness or heart size.
    """
    base = scene.base
    out = base.body + np.float32(np.exp(rng.normal(0, chest.lung_density)) - 1) * base.air
    out += np.float32(rng.uniform(*chest.bone)) * base.bone
    grown = doubled(heart_of(scene, scene.heart_growth))
    out[: grown.shape[0]] += grown
    inside = (base.body > 20).astype(np.float32)
    rows = np.linspace(-1, 1, ROWS, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, COLUMNS, dtype=np.float32)[None, :]
    tilt = rng.normal(0, chest.slope_mm, 2).astype(np.float32)
    thick = np.float32(rng.normal(0, chest.thickness_mm)) * np.clip(base.body / 60, 0, 1)
    slope = tilt[0] * rows + tilt[1] * columns
    out += slope * inside + (1 + slope / 30) * thick
    amount = rng.uniform(*(chest.breast_female_mm if sex == "F" else chest.breast_male_mm))
    for centre in (-0.46, 0.46):
        place = (rng.normal(0.02, 0.07), centre + rng.normal(0, 0.04))
        width, height = rng.uniform(0.26, 0.38), rng.uniform(0.30, 0.45)
        round_ = ((columns - place[1]) / width) ** 2 + ((rows - place[0]) / height) ** 2
        out += np.float32(amount) * np.sqrt(np.clip(1 - round_, 0, 1)) * inside
    return out


def quantum_noise(rng: np.random.Generator, water_mm: Array, dose: float) -> Array:
    """Noise in mm of water of an exposure in which 90 mm of water have a noise of `dose` mm.

    The log of a Poisson count N has the variance 1 / N, and N falls as exp(-0.0185 mm): noise doubles every 75 mm.
    Correlated over neighbouring pixels as by a scintillator.
    """
    sigma = np.float32(dose) * np.exp(np.float32(0.5 * _WATER_PER_MM) * (np.clip(water_mm, 0, 280) - 90))
    height, width = water_mm.shape
    white = rng.standard_normal((height + 2, width + 2), dtype=np.float32)
    # (1, 2, 1) along both axes as sums of neighbours; the standard deviation becomes 6.
    for _ in range(2):
        white = white[:-1] + white[1:]
    for _ in range(2):
        white = white[:, :-1] + white[:, 1:]
    return white * sigma * np.float32(1 / 6)


def draw_exposure(
    rng: np.random.Generator,
    water_mm: Array,
    lung_field: NDArray[np.bool_],
    contrast: float,
    processing: Processing,
) -> Exposure:
    """Expose for the image as it is, lesions included, so that a lesion cannot be told from overall brightness.

    Args:
        rng: of small errors of the exposure control.
        water_mm: (H, W) image with its lesions.
        lung_field: (H, W) pixels over lung.
        contrast: below 1 for a flatter image.
        processing: ranges.
    """
    some = water_mm[::4, ::4]
    lungs = some[lung_field[::4, ::4]]
    dark = float(np.percentile(lungs, 3)) - rng.uniform(*processing.below_lung_mm)
    bright = float(np.percentile(some[some > 40], rng.uniform(*processing.bright_percentile)))
    middle, half = 0.5 * (dark + bright), 0.5 * (bright - dark) / contrast
    bend = float(rng.uniform(*processing.bend) * rng.choice(processing.bend_signs))
    black = float(rng.uniform(*processing.black))
    return Exposure(middle - half, middle + half, black, float(rng.uniform(*processing.span) * (MAXIMUM - black)), bend)


def collimation(
    rng: np.random.Generator, shape: tuple[int, int], presentation: Presentation
) -> tuple[int, int, int, int]:
    """Exposed part of the image as (top, left, bottom, right); the whole image where it is not collimated."""
    height, width = shape
    if rng.random() > presentation.collimated:
        return 0, 0, height, width
    top, bottom, left, right = (
        int(v)
        for v in rng.uniform(*presentation.border, 4)
        * (rng.random(4) < presentation.border_chance)
        * (height, height, width, width)
    )
    return top, left, height - bottom, width - right


def draw_marker(
    rng: np.random.Generator, view: View, exposed: tuple[int, int, int, int], presentation: Presentation
) -> tuple[Array, int, int]:
    """A lead letter beside the shoulder: R on the image's left, L on its right.

    Returns:
        Opacity of the letter in 0..1, and its first row and column.
    """
    letter = "R" if rng.random() < 0.5 else "L"
    size = int(rng.integers(*presentation.marker_px))
    strokes = np.pad(np.array([[c == "1" for c in line] for line in _LETTERS[letter]], np.float32), 1)
    glyph = np.clip(2.5 * resized(strokes, (size * strokes.shape[0], size * strokes.shape[1])) - 0.6, 0, 1)
    height, width = view.shape
    top = exposed[0] + int(rng.uniform(*presentation.marker_top) * height)
    inset = int(rng.uniform(*presentation.marker_inset) * width)
    left = exposed[1] + inset if letter == "R" else exposed[3] - inset - glyph.shape[1]
    return glyph, top, left
