"""What is known of each region of a datalist's entry: from its attributes, its caption, and its place in the image."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bundle.data.captions import Description
from bundle.data.datalist_entry import nearest, show
from bundle.data.region_words import ATTRIBUTES, SYNONYMS, VALUES, FindingWords, words_of
from bundle.reading.upright import AS_STORED, Upright

Lungs = tuple[float, float, float, float]  # x0, y0, x1, y1 of the lung field, pixels

# Where no lungs are known. On a frontal film the apices lie about a tenth below the upper edge, and the lungs end where
# the lowest fifth begins.
LUNG_ROWS = (0.1, 0.8)
# Of a chest film, where nothing says how large a pixel is: a detector of 35 x 43 cm, collimated to the patient.
SHORTER_SIDE_MM = 320.0
# What is read off a box is left unknown near a limit, where it would often be wrong.
ZONE_MARGIN = 0.05  # of the lung field's height
SIZE_MARGIN = 0.2  # of the limit
SIDE_SHARE = 0.75  # of the box's width that must lie on one half

_FRONTAL = ("", "PA", "AP", "FRONTAL")
_ZONE = re.compile(r"\b(upper|mid|middle|lower)(?: lung)? (zone|lobe)s?\b")
_SIDE = re.compile(r"\b(left|right|bilateral|both)\b")
_DENSITY = re.compile(
    r"\b(?:(?P<moderate>moderately dense)|(?P<subtle>faint|subtle|slight)|(?P<marked>dense|marked|prominent))\b"
)


def describe_box(
    box: Mapping[str, Any], image_size: tuple[int, int] | None = None, view: str = "", lungs: Lungs | None = None
) -> Description:
    """What is known of a box.

    Each attribute that its finding has is taken from the first of these that tells it:

    1. the box's `attributes`: `side`, `zone` (or `lobe`), `size` (or `size_mm`, see `FindingWords.limits_mm`),
       `density`, `shape`. Shape may be any text; the others are words of `VALUES` or `SYNONYMS`;
    2. the words of the box's `caption`, where they tell one value and not two; `size_mm` comes after them;
    3. the box's place and extent, in a frontal image whose size is known. Side: the patient's right is on the image's
       left; at least three quarters of the box's width must lie on one half. Zone: thirds of the lung field's height,
       by the box's centre. Size: of round findings, the root of the box's area by the limits in mm, the image's shorter
       side taken as 320 mm. Near a limit zone and size stay unknown. Density and shape are read off no box.

    A side given as bilateral is a statement about the image: the box's own side comes from its caption or its place,
    and stays bilateral only where neither tells it.

    Args:
        box: an entry of `boxes`, checked.
        image_size: (H, W) of the stored image; None leaves out the third source.
        view: the entry's; a lateral view leaves it out too.
        lungs: the lung field, pixels of the stored image; None takes the middle column and the rows `LUNG_ROWS`.

    Raises:
        ValueError: a word that is not in the vocabulary.
    """
    words = words_of(box["finding"])
    said = _given(box.get("attributes") or {})
    told = _told((box.get("caption") or "").lower(), words)
    placed = _placed(box["box"], image_size, lungs, words) if image_size and view.upper() in _FRONTAL else {}
    measured = _by_limits(said.get("size_mm"), words.limits_mm)
    found: dict[str, Any] = {
        name: said.get(name) or told.get(name) or (measured if name == "size" else "") or placed.get(name) or ""
        for name in words.attributes
    }
    both = found.get("side") == "bilateral"
    if both:
        one = told.get("side") if told.get("side") in ("left", "right") else placed.get("side")
        found["side"] = one or "bilateral"
    return Description(box["finding"], **found, both_sides=both)


def entry_regions(entry: Mapping[str, Any], findings: Collection[str] | None = None) -> list[Description]:
    """The regions of an entry of a checked datalist, in the order of `encode_entry`'s boxes.

    Args:
        entry: with `stored_size` and `stored_orientation` where images were checked, and optionally `lungs`.
        findings: whose boxes to describe; None, all.

    Raises:
        ValueError: a word that is not in the vocabulary; the message names the box.
    """
    size, turn = entry.get("stored_size"), Upright.of(entry.get("stored_orientation", 1))
    lungs = tuple(entry["lungs"]) if entry.get("lungs") else None
    if size is not None and turn != AS_STORED:  # sides and zones are those of the picture as it is looked at
        lungs = None if lungs is None else tuple(turn.boxes(lungs, size).tolist())
    regions = []
    for number, box in enumerate(entry.get("boxes") or []):
        if findings is not None and box["finding"] not in findings:
            continue
        try:
            if size is not None and turn != AS_STORED:
                box = {**box, "box": turn.boxes(box["box"], size).tolist()}
            seen = None if size is None else turn.size(size)
            regions.append(describe_box(box, seen, entry.get("view") or "", lungs))
        except ValueError as error:
            raise ValueError(f"boxes[{number}].attributes: {error}") from error
    return regions


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the datalist states, in our words; `size_mm` as it is."""
    said: dict[str, Any] = {"size_mm": attributes.get("size_mm")}
    for name in ATTRIBUTES:
        value = attributes.get(name)
        if value is None or value == "":
            continue
        word = value.strip().lower()
        word = SYNONYMS[name].get(word, word)
        if word not in VALUES[name] and name != "shape":
            raise ValueError(
                f"found {name} {show(value)}; wanted {', '.join(VALUES[name])}{nearest(word, VALUES[name])}"
            )
        said[name] = word
    lobe = attributes.get("lobe")
    if lobe and "zone" not in said:
        part = re.search(r"upper|middle|lower", lobe.lower())
        if part is None:
            raise ValueError(f"found lobe {show(lobe)}; wanted upper, middle or lower lobe")
        said["zone"] = f"{part[0]} lobe"
    return said


def _told(caption: str, words: FindingWords) -> dict[str, str]:
    """The values that a caption tells, one for each attribute."""
    zones = [SYNONYMS["zone"].get(m[1], m[1]) + (" lobe" if m[2] == "lobe" else "") for m in _ZONE.finditer(caption)]
    sides = [SYNONYMS["side"].get(m[1], m[1]) for m in _SIDE.finditer(caption)]
    densities = [m.lastgroup or "" for m in _DENSITY.finditer(caption)]
    sizes = [
        size
        for size, word in zip(VALUES["size"], words.sizes, strict=True)
        if re.search(rf"\b(?:{size}|{word})(?:ly)?\b(?! dense)", caption)
    ]
    shapes = [shape for shape in words.shapes if re.search(rf"(?<![\w-]){shape}(?![\w-])", caption)]
    told = {"side": sides, "zone": zones, "size": sizes, "density": densities, "shape": shapes}
    return {name: values[0] for name, values in told.items() if len(set(values)) == 1}


def _placed(
    corners: Sequence[float], size: tuple[int, int], lungs: Lungs | None, words: FindingWords
) -> dict[str, str]:
    """The values that a box's place and extent tell."""
    height, width = size
    x0, y0, x1, y1 = corners
    left, top, right, bottom = lungs or (0, LUNG_ROWS[0] * height, width, LUNG_ROWS[1] * height)
    on_right = (min(max((left + right) / 2, x0), x1) - x0) / (x1 - x0)  # share on the image's left, the patient's right
    placed = {"side": "right" if on_right >= SIDE_SHARE else "left" if on_right <= 1 - SIDE_SHARE else ""}
    third = ((y0 + y1) / 2 - top) / max(bottom - top, 1) * 3
    near = min(abs(third - 1), abs(third - 2)) < 3 * ZONE_MARGIN
    placed["zone"] = "" if near else "upper" if third < 1 else "middle" if third < 2 else "lower"
    if words.round and words.limits_mm:
        extent = math.sqrt((x1 - x0) * (y1 - y0)) * SHORTER_SIDE_MM / min(size)
        near = any(abs(extent - limit) < SIZE_MARGIN * limit for limit in words.limits_mm)
        placed["size"] = "" if near else _by_limits(extent, words.limits_mm)
    return placed


def _by_limits(extent: float | None, limits: tuple[float, float] | None) -> str:
    """small, medium or large; empty where there is nothing to compare."""
    if extent is None or limits is None:
        return ""
    return VALUES["size"][sum(extent >= limit for limit in limits)]
