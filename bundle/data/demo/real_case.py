"""A real test case: a CT's own lesion on its untouched projection, with the boxes of those who outlined it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.exposure import Exposure
from bundle.data.demo.projection import PIXEL, TOP_MM, project_ct
from bundle.data.demo.source import SPACING, read_ct, read_nodule
from bundle.data.demo.subjects import LESION, LIDC, Subject, read_subject

EXPOSURE = Exposure(low=40, high=280, black=300, span=3400, bend=0.3)


@dataclass(frozen=True)
class RealCase:
    """A projection of a real patient's CT with a real finding.

    Attributes:
        pixels: (H, W) uint16 stored values of 12 bits, MONOCHROME2, as in a radiograph hung for reading; (470, 512) of
            LIDC-IDRI-0001.
        pixel_mm: size of a pixel, mm.
        finding: Nodule up to 30 mm, Mass above. That of LIDC-IDRI-0001 is a nodule: each reader rated it solid and all
            but one as most probably malignant.
        boxes: [x0, y0, x1, y1] of each outline, x1 and y1 exclusive: four readers' of LIDC-IDRI-0001, one of others.
    """

    pixels: NDArray[np.uint16]
    pixel_mm: float
    finding: str
    boxes: list[tuple[float, float, float, float]]


def real_case(subject: Subject = LIDC) -> RealCase:
    """Project a CT as it is, lesion, contrast agent and table included (about 3 s).

    Args:
        subject: whose. Of a further CT the image ends where the scan ended, so that it shows nothing that was guessed.

    Returns:
        The image and the readers' boxes. LIDC-IDRI-0001 is of the LIDC-IDRI collection, CC BY 3.0.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: see :mod:`bundle.data.demo.source` and
            :mod:`bundle.data.demo.subjects`.
    """
    if subject == LIDC:
        return RealCase(_projected(read_ct()[0]), PIXEL, "Nodule", [_box(reader) for reader in read_nodule()])
    volumes = read_subject(subject)
    pixels = _projected(volumes.hu)
    (x0, x1), (z0, z1) = volumes.field
    left, right = int(np.ceil(x0 / PIXEL)), min(int(x1 / PIXEL), pixels.shape[1])
    top, bottom = max(int(np.ceil((TOP_MM - z1) / PIXEL)), 0), min(int((TOP_MM - z0) / PIXEL), pixels.shape[0])
    box = _box(volumes.labels == LESION)
    moved = (box[0] - left, round(box[1] - top, 1), box[2] - left, round(box[3] - top, 1))
    return RealCase(pixels[top:bottom, left:right], PIXEL, volumes.finding, [moved])


def _projected(hu: NDArray[np.int16]) -> NDArray[np.uint16]:
    water_mm = project_ct(np.clip((hu.astype(np.float32) + 1000) / 1000, 0, 3))
    return np.rint(EXPOSURE(water_mm)).astype(np.uint16)


def _box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Box of a mask's projection along axis 1; a slice covers half its spacing above and below its centre."""
    columns, slices = np.flatnonzero(mask.any(axis=(1, 2))), np.flatnonzero(mask.any(axis=(0, 1)))
    top = (TOP_MM - (slices[-1] + 0.5) * SPACING[2]) / PIXEL
    bottom = (TOP_MM - (slices[0] - 0.5) * SPACING[2]) / PIXEL
    return float(columns[0]), round(float(top), 1), float(columns[-1]) + 1, round(float(bottom), 1)
