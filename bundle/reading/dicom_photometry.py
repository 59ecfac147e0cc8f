"""From the stored pixel values of a grey DICOM image to 0..1, bright = dense: the grey-scale pipeline of PS3.3 C.11."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from bundle.reading.options import ReadingOptions
from bundle.reading.value_window import (
    count_patterns,
    linear_window,
    look_up,
    percentile_limits,
    unsigned_view,
)

Float64Array = npt.NDArray[np.float64]
Limits = tuple[float, float]


class PhotometryError(ValueError):
    """A header's grey-scale attributes cannot be understood; the reader adds the file's name."""


def to_unit_range(
    stored: npt.NDArray[Any], header: Dataset, options: ReadingOptions, *, packed_low: bool = False
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """Stored pixel values to what a reader sees: float32, 0..1, bright = dense.

    The order is that of PS3.3 C.11 and PS3.4 N.2: stored value -> Modality LUT or Rescale Slope and Intercept (C.11.1)
    -> VOI LUT or window (C.11.2) -> inversion for MONOCHROME1 (C.7.6.3.1.2) or Presentation LUT Shape INVERSE (C.11.6).

    - What becomes 0..1 is the *output range* of the VOI step. `options.value_range` replaces that step. Where the
      file has none: the percentile window if the image is FOR PROCESSING or its pixels are floats, else the values
      that Bits Stored and Pixel Representation allow, taken through the rescale (never the width of the array's type).
    - The inversion happens once: in DX images MONOCHROME1 and INVERSE go together (C.8.11.3, DX Image Module), so
      either or both invert. MONOCHROME1 with IDENTITY, a contradiction there, goes by MONOCHROME1.
    - Pixel Padding Value, up to Pixel Padding Range Limit (C.7.5.1.1.2; stored values), counts in no percentile and
      is 0, like the air around a patient, after everything.
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
        PhotometryError: for a header that contradicts itself or names an unknown function.
    """
    notes: list[str] = []
    is_float = stored.dtype.kind == "f"
    bits = None if is_float else int(header.BitsStored)
    patterns = unsigned_view(stored)
    if patterns is None:
        source = stored.astype(np.float64)
    else:
        source = _values_of_patterns(stored.dtype.itemsize * 8, header, packed_low)
        if _beyond_stored_bits(stored, source):
            notes.append("bits outside BitsStored are set; they were ignored")

    padding = _padding(source, header)
    values, limits = _modality(source, header)
    kind, voi = _voi(header, options, is_float=is_float, notes=notes)
    if kind == "percentile":
        counts = None if patterns is None else count_patterns(patterns)
        if counts is not None and padding is not None:
            counts[padding] = 0
        counted = values if padding is None or counts is not None else values[~padding]
        low, high = percentile_limits(counted, options.percentiles, counts)
        shown = linear_window(values, low, high)
        voi = {"kind": kind, "percentiles": list(options.percentiles), "low": low, "high": high}
    elif kind == "voi_lut":
        shown = _lookup(values, header.VOILUTSequence[options.voi_index], "VOI LUT", _little_endian(header))[0]
        shown /= 2.0 ** voi["bits"] - 1.0
    elif kind == "window":
        shown = _window(values, voi)
    else:
        low, high = limits if kind == "bits_stored" else (voi["low"], voi["high"])
        shown = linear_window(values, low, high)
        voi = {"kind": kind, "low": low, "high": high}

    photometric = str(header.PhotometricInterpretation)
    inverted = photometric == "MONOCHROME1" or str(header.get("PresentationLUTShape") or "").upper() == "INVERSE"
    if inverted:
        shown = 1.0 - shown
    shown[~np.isfinite(source)] = 0.0
    if padding is not None:
        shown[padding] = 0.0
    image = shown.astype(np.float32)
    return image if patterns is None else look_up(image, patterns), {
        "window": voi,
        "inverted": inverted,
        "bits_stored": bits,
        "photometric_interpretation": photometric,
        "notes": notes,
    }


def _values_of_patterns(bits_allocated: int, header: Dataset, packed_low: bool) -> Float64Array:
    """The value that each bit pattern of a pixel cell means: entry p is pattern p's, (2**bits_allocated,)."""
    bits_stored = int(header.BitsStored)
    shift = 0 if packed_low else _low_bit(header)
    if not 1 <= bits_stored <= bits_allocated - shift or shift < 0:
        raise PhotometryError(
            f"BitsStored {bits_stored} and HighBit {header.get('HighBit')} do not fit {bits_allocated} bits"
        )
    values = (np.arange(2**bits_allocated, dtype=np.int64) >> shift) & (2**bits_stored - 1)
    if _is_signed(header):
        values[values >= 2 ** (bits_stored - 1)] -= 2**bits_stored
    return values.astype(np.float64)


def _low_bit(header: Dataset) -> int:
    """Where a stored value's lowest bit lies in its cell."""
    high_bit = header.get("HighBit")
    return 0 if high_bit is None else int(high_bit) + 1 - int(header.BitsStored)


def _beyond_stored_bits(stored: npt.NDArray[Any], meanings: Float64Array) -> bool:
    """Whether some pixel's cell, read as a plain integer, is not the value it means (overlays, wrong Bits Stored)."""
    return stored.size > 0 and not meanings.min() <= stored.min() <= stored.max() <= meanings.max()


def _is_signed(header: Dataset) -> bool:
    return int(header.get("PixelRepresentation") or 0) == 1


def _little_endian(header: Dataset) -> bool:
    """The byte order of the file that the header was read from; little where it was not read from a file."""
    return header.original_encoding[1] is not False


def _padding(source: Float64Array, header: Dataset) -> npt.NDArray[np.bool_] | None:
    """Which stored values are padding; None where the header names none."""
    first = _numbers(header, "PixelPaddingValue")
    if not first:
        return None
    last = _numbers(header, "PixelPaddingRangeLimit") or first
    low, high = sorted((first[0], last[0]))
    return np.asarray((source >= low) & (source <= high))


def _modality(source: Float64Array, header: Dataset) -> tuple[Float64Array, Limits]:
    """Modality LUT, or Rescale Slope and Intercept: the values, and the least and greatest that the header allows."""
    if header.get("ModalityLUTSequence"):
        values, bits = _lookup(source, header.ModalityLUTSequence[0], "Modality LUT", _little_endian(header))
        return values, (0.0, 2.0**bits - 1.0)
    slope = (_numbers(header, "RescaleSlope") or [1.0])[0]
    intercept = (_numbers(header, "RescaleIntercept") or [0.0])[0]
    if slope == 0:
        raise PhotometryError("RescaleSlope is 0: every pixel would be the same")
    bits_stored = int(header.get("BitsStored") or 0)
    first = -(2.0 ** (bits_stored - 1)) if _is_signed(header) else 0.0
    low, high = sorted((slope * first + intercept, slope * (first + 2.0**bits_stored - 1.0) + intercept))
    return slope * source + intercept, (low, high)


def _voi(header: Dataset, options: ReadingOptions, *, is_float: bool, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """Chooses the VOI step: its kind, and what describes it so far."""
    if options.value_range is not None:
        return "stated", {"low": float(options.value_range[0]), "high": float(options.value_range[1])}
    luts = [item for item in header.get("VOILUTSequence") or [] if item.get("LUTData") not in (None, "", b"")]
    windows = _windows(header, notes)
    use_lut = bool(luts) and (options.prefer_lut or not windows)
    offered = len(luts) if use_lut else len(windows)
    if offered and options.voi_index >= offered:
        raise PhotometryError(
            f"reading#voi_index is {options.voi_index}, but the file has {offered} to choose from, counted from 0"
        )
    if use_lut:
        if len(luts) != len(header.VOILUTSequence):
            raise PhotometryError("an item of VOILUTSequence has no LUTData")
        bits = _lut_bits(luts[options.voi_index], "VOI LUT")
        return "voi_lut", {"kind": "voi_lut", "index": options.voi_index, "bits": bits}
    if windows:
        return "window", {"kind": "window", "index": options.voi_index, **windows[options.voi_index]}
    if is_float or str(header.get("PresentationIntentType") or "").upper() == "FOR PROCESSING":
        return "percentile", {}
    return "bits_stored", {}


def check_choice(header: Dataset, options: ReadingOptions) -> None:
    """Refuses, from the header's VOI attributes alone, a choice of VOI LUT or window that the file does not offer.

    Raises:
        PhotometryError: it offers some, but fewer.
    """
    _voi(header, options, is_float=False, notes=[])


def _windows(header: Dataset, notes: list[str]) -> list[dict[str, Any]]:
    """The file's usable windows. A width that the standard forbids is passed over with a note, as if it were absent."""
    centres, widths = _numbers(header, "WindowCenter"), _numbers(header, "WindowWidth")
    if len(centres) != len(widths):
        notes.append(f"{len(centres)} window centres and {len(widths)} widths; those that have both were used")
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if (centres and widths) and function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise PhotometryError(f"VOILUTFunction is {function!r}; LINEAR, LINEAR_EXACT and SIGMOID are known")
    usable = []
    for centre, width in zip(centres, widths, strict=False):
        if width <= 0 or (function == "LINEAR" and width < 1):  # C.11.2.1.2.1, C.11.2.1.3
            notes.append(f"a window of width {width:g} means nothing for {function}; it was passed over")
        else:
            usable.append({"centre": centre, "width": width, "function": function})
    return usable


def _window(values: Float64Array, window: dict[str, Any]) -> Float64Array:
    """C.11.2.1.2 and C.11.2.1.3 by pydicom, whose output range is the pixel's: one unsigned bit gives 0..1."""
    one_bit = Dataset()
    one_bit.PhotometricInterpretation = "MONOCHROME2"
    one_bit.BitsStored = 1
    one_bit.PixelRepresentation = 0
    one_bit.WindowCenter = window["centre"]
    one_bit.WindowWidth = window["width"]
    one_bit.VOILUTFunction = window["function"]
    return np.asarray(apply_windowing(values, one_bit), dtype=np.float64)


def _lookup(values: Float64Array, item: Dataset, name: str, little_endian: bool) -> tuple[Float64Array, int]:
    """A lookup table of C.11.1.1 or C.11.2.1.1: values outside its input range get its first or last entry.

    Not pydicom's: pydicom 3.0 indexes an 8-bit VOI LUT through 8-bit integers, which wraps tables of more than 256
    entries, and takes no Modality LUT of 9 to 15 bits.

    Returns:
        The entries, in the table's own integers, and its bits.
    """
    bits = _lut_bits(item, name)
    entries = int(item.LUTDescriptor[0]) or 2**16  # 65536 does not fit the attribute's 16 bits: 0 stands for it
    first = int(item.LUTDescriptor[1])
    data = item.LUTData
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2" if little_endian else ">u2")
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
    if words.size < entries and bits <= 8:  # 8-bit entries may lie two to a word, the first in the low byte
        words = words.astype("<u2").view(np.uint8)
    if words.size < entries:
        raise PhotometryError(f"{name}: LUTData holds {words.size} entries; its LUTDescriptor names {entries}")
    table = words[:entries]
    if int(table.max()) > 2**bits - 1:
        raise PhotometryError(f"{name}: LUTData reaches {int(table.max())}, more than its {bits} bits hold")
    finite = np.where(np.isfinite(values), values, first)
    index = np.clip(np.rint(finite) - first, 0, entries - 1).astype(np.intp)
    return table.astype(np.float64)[index], bits


def _lut_bits(item: Dataset, name: str) -> int:
    """The bits of a table's entries (third value of LUTDescriptor)."""
    descriptor = item.get("LUTDescriptor")
    if descriptor is None or not hasattr(descriptor, "__len__") or len(descriptor) != 3:
        raise PhotometryError(f"{name}: LUTDescriptor does not have its three values")
    bits = int(descriptor[2])
    if not 8 <= bits <= 16:  # C.11.1.1 and C.11.2.1.1
        raise PhotometryError(f"{name}: LUTDescriptor states {bits} bits an entry; 8 to 16 are known")
    return bits


def _numbers(header: Dataset, keyword: str) -> list[float]:
    """An attribute's values as floats; [] where it is absent or empty."""
    value = header.get(keyword)
    if value is None or value == "":
        return []
    several = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
    try:
        numbers = [float(each) for each in several if each is not None and each != ""]
    except (TypeError, ValueError) as error:
        raise PhotometryError(f"{keyword} is not a number") from error
    if not all(math.isfinite(number) for number in numbers):
        raise PhotometryError(f"{keyword} is not a finite number")
    return numbers
