"""From the stored pixel values of a grey DICOM image to 0..1, bright = dense: the grey-scale pipeline of PS3.3 C.11."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from bundle.reading.dicom_values import PhotometryError, numbers, signed
from bundle.reading.greys import Greys
from bundle.reading.lookup_table import read_table
from bundle.reading.options import ReadingOptions
from bundle.reading.padding import hidden_pixels
from bundle.reading.value_window import FloatArray, look_up, unsigned_view
from bundle.reading.voi import Limits, Source, show


def to_unit_range(
    stored: npt.NDArray[Any], header: Dataset, options: ReadingOptions, *, packed_low: bool = False
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """Stored pixel values to what a reader sees: float32, 0..1, bright = dense.

    The order is that of PS3.3 C.11 and PS3.4 N.2: stored value -> Modality LUT or Rescale Slope and Intercept (C.11.1)
    -> VOI LUT or window (C.11.2) -> inversion for MONOCHROME1 (C.7.6.3.1.2) or Presentation LUT Shape INVERSE (C.11.6).

    - What becomes 0..1 is the *output range* of the VOI step. `options.value_range` replaces that step. Where the
      file has none: the percentile window if the image is FOR PROCESSING or its pixels are floats, else the values
      that Bits Stored and Pixel Representation allow, taken through the rescale (never the width of the array's type).
      `voi.show` says when what the file states cannot be meant.
    - The inversion happens once: in DX images MONOCHROME1 and INVERSE go together (C.8.11.3, DX Image Module), so
      either or both invert. MONOCHROME1 with IDENTITY, a contradiction there, goes by MONOCHROME1.
    - Padding that touches the border and what lies outside a display shutter (`padding.hidden_pixels`) count in no
      percentile and are 0, like the air around a patient, after everything.
    - Bits outside Bits Stored are not part of the value (PS3.5 8.1.1) and are ignored.

    Args:
        stored: (H, W) integers, their unused bits as they are in the file, or floats.
        header: the image's attributes.
        options: choices that the file leaves open.
        packed_low: whether the lowest stored bit is bit 0 whatever High Bit says, as a codec of samples leaves it
            (JPEG family); else it is bit High Bit + 1 - Bits Stored (uncompressed and RLE).

    Returns:
        The image (H, W), and `window`, `inverted`, `bits_stored`, `photometric_interpretation`, `notes` (what in the
        header was passed over).

    Raises:
        PhotometryError: for a header that contradicts itself.
    """
    notes: list[str] = []
    is_float = stored.dtype.kind == "f"
    patterns = unsigned_view(stored)
    source: FloatArray
    if patterns is None:
        source = stored.astype(np.float64)
    else:
        meanings = _values_of_patterns(stored.dtype.itemsize * 8, header, packed_low)
        source = meanings[: int(patterns.max(initial=0)) + 1]  # of the patterns that there are, mostly few
        if _beyond_stored_bits(stored, source):
            notes.append("bits outside BitsStored are set; they were ignored")
    hidden = hidden_pixels(stored, patterns, source, header, notes)
    values, limits = _modality(source, header, notes)
    photometric = str(header.PhotometricInterpretation)
    inverted = photometric == "MONOCHROME1" or str(header.get("PresentationLUTShape") or "").upper() == "INVERSE"

    shown, window = show(Source(Greys(values, patterns, hidden), limits, is_float, header, inverted), options, notes)
    if inverted:
        shown = 1.0 - shown
    shown[~np.isfinite(source)] = 0.0
    image = shown.astype(np.float32)
    if patterns is not None:
        image = look_up(image, patterns)
    if hidden is not None:
        image[hidden] = 0.0
    return image, {
        "window": window,
        "inverted": inverted,
        "bits_stored": None if is_float else int(header.BitsStored),
        "photometric_interpretation": photometric,
        "notes": notes,
    }


def _values_of_patterns(bits_allocated: int, header: Dataset, packed_low: bool) -> FloatArray:
    """The value that each bit pattern of a pixel cell means: entry p is pattern p's, (2**bits_allocated,)."""
    bits_stored = int(header.BitsStored)
    shift = 0 if packed_low else _low_bit(header)
    if not 1 <= bits_stored <= bits_allocated - shift or shift < 0:
        raise PhotometryError(
            f"BitsStored {bits_stored} and HighBit {header.get('HighBit')} do not fit {bits_allocated} bits"
        )
    return _meanings(bits_allocated, bits_stored, shift, _is_signed(header))


@lru_cache(maxsize=4)
def _meanings(bits_allocated: int, bits_stored: int, shift: int, signed_values: bool) -> FloatArray:
    """`_values_of_patterns` of what the files of a folder mostly have in common; not to be written into."""
    values = (np.arange(2**bits_allocated, dtype=np.int64) >> shift) & (2**bits_stored - 1)
    if signed_values:
        values[values >= 2 ** (bits_stored - 1)] -= 2**bits_stored
    meanings = values.astype(np.float64)
    meanings.setflags(write=False)
    return meanings


def _low_bit(header: Dataset) -> int:
    """Where a stored value's lowest bit lies in its cell."""
    high_bit = header.get("HighBit")
    return 0 if high_bit is None else int(high_bit) + 1 - int(header.BitsStored)


def _beyond_stored_bits(stored: npt.NDArray[Any], meanings: FloatArray) -> bool:
    """Whether some pixel's cell, read as a plain integer, is not the value it means (overlays, wrong Bits Stored)."""
    return stored.size > 0 and not meanings.min() <= stored.min() <= stored.max() <= meanings.max()


def _is_signed(header: Dataset) -> bool:
    return int(header.get("PixelRepresentation") or 0) == 1


def _modality(source: FloatArray, header: Dataset, notes: list[str]) -> tuple[FloatArray, Limits]:
    """Modality LUT, or Rescale Slope and Intercept: the values, and the least and greatest that the header allows."""
    if header.get("ModalityLUTSequence"):
        table = read_table(header.ModalityLUTSequence[0], "Modality LUT", notes)
        first = signed(table.first) if _is_signed(header) else table.first  # as the stored values that go in (C.11.1.1)
        return table.look_up(source, first), (0.0, table.top)
    slope = (numbers(header, "RescaleSlope") or [1.0])[0]
    intercept = (numbers(header, "RescaleIntercept") or [0.0])[0]
    if slope == 0:
        raise PhotometryError("RescaleSlope is 0: every pixel would be the same")
    bits_stored = int(header.get("BitsStored") or 0)
    first_value = -(2.0 ** (bits_stored - 1)) if _is_signed(header) else 0.0
    low, high = sorted((slope * first_value + intercept, slope * (first_value + 2.0**bits_stored - 1.0) + intercept))
    return slope * source + intercept, (low, high)
