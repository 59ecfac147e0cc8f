"""Pixels that are not of the patient: padding (PS3.3 C.7.5.1.1.2) and what a display shutter covers (C.7.6.11)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from bundle.reading.dicom_values import PhotometryError, numbers, signed, words
from bundle.reading.value_window import FloatArray

Mask = npt.NDArray[np.bool_]


BORDER = (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1])
RECTANGLE = (
    *("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"),
    *("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"),
)


def hidden_pixels(
    stored: npt.NDArray[Any], patterns: npt.NDArray[Any] | None, source: FloatArray, header: Dataset, notes: list[str]
) -> Mask | None:
    """Which pixels are padding or behind the shutter.

    Args:
        stored: (H, W) pixel cells.
        patterns: their bit patterns, or None for pixels without a table.
        source: the value that each pattern means, or each pixel has.
        header: the image's attributes.
        notes: what was found is added.

    Returns:
        (H, W), or None for none.
    """
    hidden: Mask | None = None
    padding, shutter = _padding(stored, patterns, source, header), _shutter(stored.shape, header, notes)
    for mask, name in ((padding, "Pixel Padding Value"), (shutter, "the display shutter")):
        if mask is None or not mask.any():
            continue
        both = mask if hidden is None else hidden | mask
        if both.all():
            notes.append(f"{name} would hide the whole image; it was passed over")
            continue
        hidden = both
        if mask is shutter:
            notes.append("what lies outside the display shutter is shown as black")
    return hidden


def _padding(
    stored: npt.NDArray[Any], patterns: npt.NDArray[Any] | None, source: FloatArray, header: Dataset
) -> Mask | None:
    """The pixels with a padding value that hang together with the border; None for none.

    Within the image the same value may be the patient's: the air in a lung is 0 as often as padding is.
    """
    limits = _padding_limits(header)
    if limits is None:
        return None
    low, high = limits
    is_padding = (source >= low) & (source <= high)
    if patterns is not None:  # padding may lie outside Bits Stored: cells are compared too
        cells = np.arange(source.size).astype(patterns.dtype).view(stored.dtype.newbyteorder("="))
        is_padding |= (cells >= low) & (cells <= high)

    def at(place: Any) -> Mask:
        return np.asarray(is_padding[place] if patterns is None else is_padding[patterns[place]])

    if not any(at(edge).any() for edge in BORDER):
        return None
    from scipy import ndimage  # a second to load: only for those who have padding

    parts, count = ndimage.label(at(np.s_[:]))
    of_border = np.zeros(count + 1, dtype=bool)
    for edge in BORDER:
        of_border[parts[edge]] = True
    of_border[0] = False
    return np.asarray(of_border[parts])


def _padding_limits(header: Dataset) -> tuple[int, int] | None:
    """The least and the greatest padding value; None where the header names none.

    Both have the sign of the pixels (C.7.5.1.1.2), whatever VR they are written in: in a signed image US 63536 is
    -2000, and a pattern of Bits Stored alone, 2096 of 12 bits, is too.
    """
    first = _as_stored(header, "PixelPaddingValue")
    if first is None:
        return None
    last = _as_stored(header, "PixelPaddingRangeLimit")
    return (first, first) if last is None else (min(first, last), max(first, last))


def _as_stored(header: Dataset, keyword: str) -> int | None:
    try:
        bits = words(header, keyword)
    except PhotometryError:  # wider than 16 bits, as pixels of 32 bits may have it
        found = numbers(header, keyword)
        return int(found[0]) if found else None
    if not bits.size:
        return None
    value = int(bits[0])
    if int(header.get("PixelRepresentation") or 0) != 1:
        return value
    stored_bits = int(header.get("BitsStored") or 16)
    half = 2 ** (stored_bits - 1)
    return value - 2 * half if stored_bits < 16 and half <= value < 2 * half else signed(value)


def _shutter(shape: tuple[int, ...], header: Dataset, notes: list[str]) -> Mask | None:
    """The pixels outside of any shutter's shape; None where the header has none that can be applied."""
    value = header.get("ShutterShape")
    if not value:
        return None
    shapes = [value] if isinstance(value, str) else list(value)
    hidden: Mask | None = None
    for name in map(str, shapes):
        shown = _inside(name.strip().upper(), shape, header)
        if shown is None:
            notes.append("a display shutter of a shape or with values that are not known was passed over")
        else:
            hidden = ~shown if hidden is None else hidden | ~shown
    return hidden


def _inside(name: str, shape: tuple[int, ...], header: Dataset) -> Mask | None:
    """The pixels that one shape leaves to be seen, its edge among them; rows and columns count from 1."""
    try:
        if name == "RECTANGULAR":
            left, right, upper, lower = (numbers(header, keyword)[0] for keyword in RECTANGLE)
            rows, columns = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
            return (rows >= upper) & (rows <= lower) & (columns >= left) & (columns <= right)
        if name == "CIRCULAR":
            row, column = numbers(header, "CenterOfCircularShutter")
            radius = numbers(header, "RadiusOfCircularShutter")[0]
            rows, columns = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
            return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        if name == "POLYGONAL":
            corners = numbers(header, "VerticesOfThePolygonalShutter")
            if len(corners) < 6 or len(corners) % 2:
                return None
            from skimage.draw import polygon  # only for those who have such a shutter

            shown = np.zeros(shape[:2], dtype=bool)
            shown[polygon(np.array(corners[::2]) - 1, np.array(corners[1::2]) - 1, shape[:2])] = True
            return shown
    except (IndexError, ValueError):  # fewer values than the shape has, or no numbers
        return None
    return None
