"""A real test case: the CT's own nodule on its untouched projection, with the boxes of its four readers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.exposure import Exposure
from bundle.data.demo.projection import PIXEL, TOP_MM, project_ct
from bundle.data.demo.source import SPACING, read_ct, read_nodule

_EXPOSURE = Exposure(low=40, high=280, black=300, span=3400, bend=0.3)


@dataclass(frozen=True)
class RealCase:
    """A projection of a real patient's CT with a real finding.

    Attributes:
        pixels: (470, 512) uint16 stored values of 12 bits, MONOCHROME2, as in a radiograph hung for reading.
        pixel_mm: size of a pixel, mm.
        finding: Nodule (up to 30 mm; each reader rated it solid and all but one as most probably malignant).
        boxes: [x0, y0, x1, y1] of each reader's contours, x1 and y1 exclusive.
    """

    pixels: NDArray[np.uint16]
    pixel_mm: float
    finding: str
    boxes: list[tuple[float, float, float, float]]


def real_case() -> RealCase:
    """Project the CT as it is, nodule, contrast agent and table included (about 3 s).

    Returns:
        The image and the readers' boxes. CT: LIDC-IDRI-0001, LIDC-IDRI collection, CC BY 3.0.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: see :mod:`bundle.data.demo.source`.
    """
    hu, _ = read_ct()
    water_mm = project_ct(np.clip((hu.astype(np.float32) + 1000) / 1000, 0, 3))
    return RealCase(
        pixels=np.rint(_EXPOSURE(water_mm)).astype(np.uint16),
        pixel_mm=PIXEL,
        finding="Nodule",
        boxes=[_box(reader) for reader in read_nodule()],
    )


def _box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Box of a mask's projection along axis 1; a slice covers half its spacing above and below its centre."""
    columns, slices = np.flatnonzero(mask.any(axis=(1, 2))), np.flatnonzero(mask.any(axis=(0, 1)))
    top = (TOP_MM - (slices[-1] + 0.5) * SPACING[2]) / PIXEL
    bottom = (TOP_MM - (slices[0] - 0.5) * SPACING[2]) / PIXEL
    return float(columns[0]), round(float(top), 1), float(columns[-1]) + 1, round(float(bottom), 1)
