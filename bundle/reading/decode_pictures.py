"""Runs in the decoding process, as `decode_worker` does: PNG and JPEG by Pillow, and where a DICOM image lies, by GDCM.

Whatever is raised here is the file's fault, or its reader's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Hardcopy, endoscopy and ultrasound, old and new: of these ITK asks no other tag (itkGDCMImageIO).
PIXEL_SPACING = tuple(
    f"1.2.840.10008.5.1.{end}" for end in ("1.29", "4.1.1.77.1.1.1", "4.1.1.3", "4.1.1.3.1", "4.1.1.6", "4.1.1.6.1")
)


def gdcm_place(path: str) -> list[list[float]]:
    """Where a DICOM image lies, as ITK has it, which reads DICOM by GDCM.

    Returns:
        4x4 nested list, (x, y, z, 1) -> mm, LPS+: by GDCM's spacing, which depends on the SOP class, and its origin and
        direction cosines; of the classes in `PIXEL_SPACING` by that tag and no other.
    """
    import gdcm  # type: ignore[import-untyped]

    gdcm.ImageHelper.SetSecondaryCaptureImagePlaneModule(True)  # as ITK does
    reader = gdcm.ImageReader()
    reader.SetFileName(path)
    if not reader.Read():
        raise ValueError("GDCM does not read the file")
    image, kind, text = reader.GetImage(), gdcm.MediaStorage(), gdcm.StringFilter()
    spacing = [float(image.GetSpacing(axis)) for axis in range(3)]
    kind.SetFromFile(reader.GetFile())
    if kind.GetString() in PIXEL_SPACING:
        text.SetFile(reader.GetFile())
        stated = [float(part) for part in text.ToString(gdcm.Tag(0x0028, 0x0030)).split("\\") if part.strip()]
        spacing[:2] = stated[1::-1] if len(stated) == 2 else [1.0, 1.0]
    cosines = np.array([image.GetDirectionCosines(place) for place in range(6)], np.float64)
    across, down = cosines[:3], cosines[3:]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across, down, np.cross(across, down)], 1) * spacing
    affine[:3, 3] = [image.GetOrigin(axis) for axis in range(3)]
    place: list[list[float]] = affine.tolist()
    return place


def pillow_header(path: str, kind: str) -> dict[str, Any]:
    """What the header of a PNG or JPEG file says: as `decode_worker.itk_header`, and `mode`, Pillow's."""
    with _pillow(path, kind) as picture:
        return {
            "shape": list(picture.size),
            "affine": np.eye(4).tolist(),
            "channels": 3 if picture.mode == "P" else len(picture.getbands()),
            "component": "unsigned_short" if "16" in picture.mode else "unsigned_char",
            "mode": picture.mode,
        }


def pillow_pixels(path: str, kind: str) -> npt.NDArray[Any]:
    """The pixels of a PNG or JPEG file as they are stored, a palette's colours in place of its indices.

    Returns:
        (y, x), or (y, x, channels) where a pixel has several.
    """
    with _pillow(path, kind) as picture:
        plain = {"1": "L", "P": "RGB"}.get(picture.mode)
        return np.array(picture.convert(plain) if plain else picture)


def _pillow(path: str, kind: str) -> Any:
    """Pillow's reader of a format, whatever the content says, and without its limit of pixels: memory has one here."""
    from PIL import JpegImagePlugin, PngImagePlugin

    return {"PNG": PngImagePlugin.PngImageFile, "JPEG": JpegImagePlugin.JpegImageFile}[kind](path)


FUNCTIONS = (gdcm_place, pillow_header, pillow_pixels)  # that may be asked for
