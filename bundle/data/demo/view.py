"""From the detector grid to the stored image: size, turn, stretch and elastic warp, applied once to everything."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.projection import COLUMNS, PIXEL, ROWS, Patch
from bundle.data.demo.sampling import Array, bilinear

SHAPES = ((448, 512), (464, 512), (480, 512), (512, 480), (448, 544))
_SHAPE_WEIGHTS = (0.7, 0.1, 0.1, 0.05, 0.05)
_CENTRE_COLUMN = 258.0
_TOP_ROW = 2.0
_APEX_ROW = 32.0
_DIAPHRAGM_ROW = 258.0
_HEART = (215.0, 285.0)
_KNOTS = 6


@dataclass(frozen=True)
class View:
    """Where each pixel of the stored image looks on the detector.

    Attributes:
        rows, columns: (H, W) detector coordinates.
        pixel_mm: size of an image pixel, mm.
        stretch: (across, along) by which the image enlarges the chest.
    """

    rows: Array
    columns: Array
    pixel_mm: float
    stretch: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the stored image."""
        return int(self.rows.shape[0]), int(self.rows.shape[1])

    def sample(self, image: Array, step: int = 1) -> Array:
        """Resample a (ROWS, 512) detector image at every `step`-th pixel, each repeated `step` times: (H, W)."""
        values = bilinear(image, self.rows[::step, ::step], self.columns[::step, ::step])
        height, width = self.shape
        return values.repeat(step, 0).repeat(step, 1)[:height, :width] if step > 1 else values

    def sample_patch(self, patch: Patch) -> tuple[Array, int, int]:
        """Resample a patch; outside of it the difference is 0.

        Returns:
            Values on the smallest window of the image that holds the patch, and that window's first row and column.
            The window is empty where the patch falls outside the image.
        """
        height, width = patch.values.shape
        inside = (
            (self.rows > patch.top - 1)
            & (self.rows < patch.top + height)
            & (self.columns > patch.left - 1)
            & (self.columns < patch.left + width)
        )
        some_rows, some_columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not some_rows.size:
            return np.zeros((0, 0), np.float32), 0, 0
        cut = (slice(some_rows[0], some_rows[-1] + 1), slice(some_columns[0], some_columns[-1] + 1))
        # A border of zeros, repeated by the resampling, stands for everything outside the patch.
        framed = np.pad(patch.values, 1)
        values = bilinear(
            framed, self.rows[cut] - np.float32(patch.top - 1), self.columns[cut] - np.float32(patch.left - 1)
        )
        return values, int(some_rows[0]), int(some_columns[0])

    def box_of(self, frame: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """Image box (x0, y0, x1, y1), exclusive at the end, of a detector frame (top, left, bottom, right)."""
        top, left, bottom, right = frame
        inside = (self.rows >= top) & (self.rows < bottom) & (self.columns >= left) & (self.columns < right)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not rows.size:
            return 0, 0, 0, 0
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _further(row: float, tall: float) -> float:
    """A landmark's row in a taller chest."""
    return row if tall == 1 else _APEX_ROW + (row - _APEX_ROW) * tall


@lru_cache(maxsize=16)
def _basis(size: int) -> NDArray[np.float32]:
    """(size, KNOTS) smooth interpolation from the warp's control points to pixels."""
    fine = [ndimage.zoom(row, size / _KNOTS, order=3, mode="nearest", grid_mode=True) for row in np.eye(_KNOTS)]
    return np.stack(fine, axis=1).astype(np.float32)


def draw_view(rng: np.random.Generator, tall: float = 1.0) -> View:
    """Draw image size, field of view, turn, stretch and warp.

    The warp has three parts, each smooth and small enough never to fold: random displacements of 6 x 6 control points
    (3 mm), each half of the diaphragm up or down (6 mm), and the heart's width (up to 18% narrower or 6% wider).

    Args:
        rng: source of the draws.
        tall: of the anatomy; landmarks along the body lie as much further from the apices, and it is stretched less.
    """
    height, width = SHAPES[int(rng.choice(len(SHAPES), p=_SHAPE_WEIGHTS))]
    pixel_mm = float(rng.uniform(0.60, 0.68) * 512 / max(width, 512))
    stretch = (float(rng.uniform(0.93, 1.06)), float(rng.uniform(1.10, 1.32)) / tall)
    turn = np.float32(rng.normal(0, 0.025))
    y = ((np.arange(height, dtype=np.float32) - height / 2) * np.float32(pixel_mm))[:, None]
    x = ((np.arange(width, dtype=np.float32) - width / 2) * np.float32(pixel_mm))[None, :]
    across = (np.cos(turn) * x + np.sin(turn) * y) / np.float32(stretch[0] * PIXEL)
    along = (np.cos(turn) * y - np.sin(turn) * x) / np.float32(stretch[1] * PIXEL)
    half_height = height / 2 * pixel_mm / stretch[1] / PIXEL
    centre_row = max(_further(168, tall) + rng.normal(0, 6), _TOP_ROW + half_height)
    columns = across + np.float32(_CENTRE_COLUMN + rng.normal(0, 6))
    rows = along + np.float32(centre_row)
    left, right = np.clip(rng.normal(0, 8, 2), -16, 16)
    toward_left = 1 / (1 + np.exp(-(columns - _CENTRE_COLUMN) / 25))
    lift = (right + (left - right) * toward_left) * np.exp(-(((rows - _further(_DIAPHRAGM_ROW, tall)) / 60) ** 2))
    narrow = rng.uniform(-0.06, 0.18)
    heart = np.exp(-(((rows - _further(_HEART[0], tall)) / 75) ** 2) - ((columns - _HEART[1]) / 85) ** 2)
    shift = rng.normal(0, 3 / PIXEL, (2, _KNOTS, _KNOTS)).astype(np.float32)
    # einsum without optimisation stays out of BLAS, whose threads would compete with the other workers.
    down, side = (np.einsum("hi,iw->hw", _basis(height), np.einsum("ij,wj->iw", s, _basis(width))) for s in shift)
    columns = columns + side + narrow * heart * (columns - _HEART[1])
    rows = rows + down - lift
    return View(
        np.clip(rows, 0, ROWS - 1).astype(np.float32),
        np.clip(columns, 0, COLUMNS - 1).astype(np.float32),
        pixel_mm,
        stretch,
    )
