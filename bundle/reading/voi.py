"""The VOI step of a grey DICOM image (PS3.3 C.11.2): what of its values becomes 0..1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from bundle.reading.dicom_values import PhotometryError, numbers, signed
from bundle.reading.greys import Greys
from bundle.reading.lookup_table import LookupTable, is_table, read_table
from bundle.reading.options import ReadingOptions
from bundle.reading.value_window import LEAST_OF_RANGE, MIDDLE, FloatArray, linear_window, percentile_limits

Limits = tuple[float, float]
Step = tuple[FloatArray, dict[str, Any]]  # what is shown, 0..1, and what describes it

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# As `LEAST_OF_RANGE`. A window is somebody's choice: it is passed over only where nobody could see anything through it.
LEAST_OF_WINDOW = 0.125


@dataclass(frozen=True)
class Source:
    """What the VOI step starts from.

    Attributes:
        greys: the pixels after the modality step.
        limits: the least and the greatest value that the header allows.
        is_float: whether the stored pixels are floats.
        header: the image's attributes.
        inverted: whether the greatest value is shown as black.
    """

    greys: Greys
    limits: Limits
    is_float: bool
    header: Dataset
    inverted: bool


def show(source: Source, options: ReadingOptions, notes: list[str]) -> Step:
    """Values to 0..1, before any inversion.

    The file's VOI LUT or window is passed over where it holds no pixel, as if it were absent; so is a window that is
    so wide that the pixels take less than `LEAST_OF_WINDOW` of it. Where a LUT or the stored bits leave them less than
    `LEAST_OF_RANGE`, what they do take becomes 0..1.

    Args:
        source: the pixels.
        options: choices that the file leaves open.
        notes: what was passed over is added.

    Returns:
        A table or array like `source.greys.values`, 0..1, and the entry `window` of the metadata.

    Raises:
        PhotometryError: the header contradicts itself, or has no such VOI as the options choose.
    """
    greys = source.greys
    if options.value_range is not None:
        low, high = map(float, options.value_range)
        return linear_window(greys.values, low, high), {"kind": "stated", "low": low, "high": high}
    if (step := _of_file(source, options, notes)) is not None:
        return step
    if str(source.header.get("PresentationIntentType") or "").upper() == "FOR PROCESSING":
        logarithm = _logarithm(source)
        if logarithm is not None:
            notes.append("the pixels are linear in X-ray intensity; their logarithm was taken")
        return _percentile(greys, options, logarithm)
    if source.is_float:
        return _percentile(greys, options)
    low, high = source.limits
    shown = linear_window(greys.values, low, high)
    if not _is_cramped(greys, shown, LEAST_OF_RANGE):
        return shown, {"kind": "bits_stored", "low": low, "high": high}
    notes.append("the pixels take a small part of the range that the header states; a percentile window was taken")
    return _percentile(greys, options)


def offered(header: Dataset, options: ReadingOptions, notes: list[str]) -> tuple[list[tuple[int, Dataset]], list[Any]]:
    """The VOI LUTs, each with its place in the sequence, and the windows that a header has to choose from.

    Raises:
        PhotometryError: there are some, but fewer than the options ask for.
    """
    items = list(enumerate(header.get("VOILUTSequence") or []))
    luts = [(index, item) for index, item in items if is_table(item)]
    if luts and len(luts) < len(items):
        notes.append(f"{len(items) - len(luts)} of {len(items)} VOI LUTs hold no entries; they were passed over")
    windows = _windows(header, notes)
    count = len(luts) if luts and (options.prefer_lut or not windows) else len(windows)
    if count and options.voi_index >= count:
        raise PhotometryError(
            f"reading#voi_index is {options.voi_index}, but the file has {count} to choose from, counted from 0"
        )
    return luts, windows


def _of_file(source: Source, options: ReadingOptions, notes: list[str]) -> Step | None:
    """The file's first usable VOI LUT or window, of each kind the chosen one first; None where it has none."""
    luts, windows = offered(source.header, options, notes)
    kinds: list[list[Callable[[list[str]], Step | None]]] = [
        [partial(_through_lut, source, index, item, options) for index, item in _chosen_first(luts, options)],
        [partial(_through_window, source, window) for window in _chosen_first(windows, options)],
    ]
    for attempt in chain(*(kinds if options.prefer_lut else reversed(kinds))):
        if (step := attempt(notes)) is not None:
            return step
    return None


def _chosen_first(choices: list[Any], options: ReadingOptions) -> list[Any]:
    """The choices, that of `voi_index` first; the second kind may have fewer."""
    at = min(options.voi_index, len(choices))
    return choices[at : at + 1] + choices[:at] + choices[at + 1 :]


def _through_lut(source: Source, index: int, item: Dataset, options: ReadingOptions, notes: list[str]) -> Step | None:
    """The pixels through one VOI LUT; None, and a note, where it holds none of them."""
    greys, own = source.greys, list[str]()
    table = read_table(item, "VOI LUT", own)
    first = _first_input(table, source)
    if not greys.has((greys.values >= first) & (greys.values <= first + table.entries.size - 1)):
        notes.append(f"the VOI LUT from {first} to {first + table.entries.size - 1} holds no pixel; it was passed over")
        return None
    notes += own
    shown = table.look_up(greys.values, first) / table.top
    voi: dict[str, Any] = {"kind": "voi_lut", "index": index, "bits": table.bits}
    if table.first != signed(table.first):
        voi["first"] = first
    if _is_cramped(greys, shown, LEAST_OF_RANGE):
        notes.append("the pixels take a small part of the VOI LUT's range; a percentile window of it was taken")
        low, high = greys.limits(shown, options.percentiles)
        voi |= {"low": low * table.top, "high": high * table.top}
        shown = linear_window(shown, low, high)
    return shown, voi


def _first_input(table: LookupTable, source: Source) -> int:
    """The first value that a VOI LUT maps, its sign chosen so that the table lies where the values are.

    The VR of LUT Descriptor would say it (C.11.2.1.1: SS where values can be below 0), but Implicit VR has none, and
    files have the other: FC00 where values go from -1024 is -1024, whatever it is called.
    """
    choices = (table.first, signed(table.first))
    if choices[0] == choices[1]:
        return table.first
    low, high = source.limits
    pixels = source.greys.sample(source.greys.values)

    def fit(first: int) -> tuple[int, float, bool]:
        last = first + table.entries.size - 1
        held = int(np.count_nonzero((pixels >= first) & (pixels <= last)))
        return held, max(0.0, min(last, high) - max(first, low)), (first < 0) == (low < 0)

    return max(choices, key=fit)


def _windows(header: Dataset, notes: list[str]) -> list[dict[str, Any]]:
    """The file's windows. A width that the standard forbids is passed over with a note, as if it were absent."""
    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    if len(centres) != len(widths):
        notes.append(f"{len(centres)} window centres and {len(widths)} widths; those that have both were used")
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if centres and widths and function not in FUNCTIONS:
        notes.append(f"VOILUTFunction is none of {', '.join(FUNCTIONS)}; LINEAR was taken")
        function = "LINEAR"
    usable = []
    for index, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        if width <= 0 or (function == "LINEAR" and width < 1):  # C.11.2.1.2.1, C.11.2.1.3
            notes.append(f"a window of width {width:g} means nothing for {function}; it was passed over")
        else:
            usable.append({"index": index, "centre": centre, "width": width, "function": function})
    return usable


def _through_window(source: Source, window: dict[str, Any], notes: list[str]) -> Step | None:
    """The pixels through one window; None, and a note, where it holds none of them or shows nothing of them."""
    greys = source.greys
    low, high = _window_limits(window)
    name = f"the window of centre {window['centre']:g} and width {window['width']:g}"
    if not greys.has((greys.values >= low) & (greys.values <= high)):
        notes.append(f"{name} holds no pixel; it was passed over")
        return None
    shown = _apply_window(greys.values, window)
    if _is_cramped(greys, shown, LEAST_OF_WINDOW):
        notes.append(f"{name} shows the pixels within a small part of it; it was passed over")
        return None
    return shown, {"kind": "window", **window}


def _window_limits(window: dict[str, Any]) -> Limits:
    """The values between which a window's greys change (C.11.2.1.2.1, C.11.2.1.3)."""
    centre, width = window["centre"], window["width"]
    if window["function"] == "LINEAR":
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    half = width / 2 if window["function"] == "LINEAR_EXACT" else 2 * width  # SIGMOID: from 0.0003 to 0.9997
    return centre - half, centre + half


def _apply_window(values: FloatArray, window: dict[str, Any]) -> FloatArray:
    """C.11.2.1.2 and C.11.2.1.3, with 0..1 as the output range."""
    if window["function"] == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(-4.0 * (values - window["centre"]) / window["width"])))
    low, high = _window_limits(window)
    return linear_window(values, low, high) if low < high else (values > low).astype(np.float64)  # a step


def _is_cramped(greys: Greys, shown: FloatArray, least: float) -> bool:
    """Whether the middle of the pixels takes less than a share of 0..1, though it varies."""
    low, high = percentile_limits(greys.sample(shown), MIDDLE)
    return 0 < high - low < least


def _percentile(greys: Greys, options: ReadingOptions, logarithm: Logarithm | None = None) -> Step:
    """The percentile window, of the values' logarithm if that is wanted; its ends are values all the same."""
    low, high = greys.limits(greys.values, options.percentiles)
    voi: dict[str, Any] = {"kind": "percentile", "percentiles": list(options.percentiles), "low": low, "high": high}
    if logarithm is None:
        return linear_window(greys.values, low, high), voi
    return logarithm.window(greys.values, low, high), voi | {"logarithm": asdict(logarithm)}


@dataclass(frozen=True)
class Logarithm:
    """Makes values that are linear in X-ray intensity even in density: a body weakens it by a factor a length.

    Attributes:
        sign: Pixel Intensity Relationship Sign (C.8.11.3.1.2): 1 where low values are of low intensity, -1 where they
            are of high.
        top: the value of no intensity, where `sign` is -1.
    """

    sign: int
    top: float

    def __call__(self, values: FloatArray) -> FloatArray:
        """The logarithm, rising with the values."""
        if self.sign == 1:
            return np.log(np.maximum(values, 1.0))
        return -np.log(np.maximum(self.top - values, 1.0))

    def window(self, values: FloatArray, low: float, high: float) -> FloatArray:
        """The values from `low` to `high` as 0..1, even in their logarithm."""
        ends = self(np.array([low, high]))
        return linear_window(self(values), float(ends[0]), float(ends[1]))


def _logarithm(source: Source) -> Logarithm | None:
    """What makes an image FOR PROCESSING even in density; None where it is so already, or not said to be otherwise."""
    if str(source.header.get("PixelIntensityRelationship") or "").upper() != "LIN":
        return None
    sign = source.header.get("PixelIntensityRelationshipSign") or (1 if source.inverted else -1)
    return Logarithm(1 if int(sign) == 1 else -1, source.limits[1])
