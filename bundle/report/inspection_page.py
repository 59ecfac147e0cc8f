"""A datalist on one HTML page that needs nothing beside it: counts, boxes, a contact sheet, what will go wrong."""

import base64
import io
import math
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from bundle.comparison.readers import reader_agreement
from bundle.data.datalist import Datalist
from bundle.data.datalist_entry import encode_entry
from bundle.data.inspection import Inspection, SectionCounts, inspect_datalist
from bundle.data.readers import boxes_by_reader
from bundle.metrics.candidates import COLUMNS
from bundle.metrics.matching import HitCriterion
from bundle.reading import ReadingOptions
from bundle.results.colours import finding_colour
from bundle.results.overlay import draw_overlay
from bundle.transforms import LoadRadiographd

SIDE = 320  # pixels of a picture's longer side
_HEADINGS = (
    "positive",
    "negative",
    "unknown",
    "positive without complete boxes",
    "boxes",
    "median box, patches",
    "smaller than a patch",
)


def render_inspection(
    datalist: Datalist,
    grid: int = 16,
    pictures: int = 12,
    reading: Mapping[str, Any] | None = None,
    description: str = "",
) -> tuple[str, Inspection]:
    """The page, and what it says.

    It holds no report text, no patient identifiers and no file names; but for `pictures` 0 it shows radiographs.

    Args:
        datalist: all sections, checked, with the images' sizes.
        grid: patches along a side, in which boxes are measured.
        pictures: of the contact sheet, with their boxes: of every finding the first ones with a box, then images
            without; 0 for none.
        reading: section `reading` of a configuration, with which the images are read.
        description: of the data, as the datalist has it.

    Raises:
        ValueError: a grid below 1.
        RadiographError: an image of the contact sheet that cannot be read.
    """
    told = inspect_datalist(datalist, grid)
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = template.from_string((Path(__file__).parent / "inspection.html").read_text(encoding="utf-8")).render(
        told=told,
        description=description,
        headings=_HEADINGS,
        sections={name: _rows(section) for name, section in told.sections.items()},
        colours=[finding_colour(k) for k in range(len(told.findings))],
        together=_together(told),
        agreement=_agreement(datalist),
        pictures=_contact_sheet(datalist, pictures, ReadingOptions.of(reading)),
    )
    return page, told


def _rows(section: SectionCounts) -> dict[str, list[str]]:
    """A row a finding, cells as in `_HEADINGS`."""
    rows = {}
    for name, counts in section.findings.items():
        known = len(counts.patches) > 0
        median = " x ".join(f"{side:.1f}" for side in np.median(counts.patches, 0)) if known else "-"
        small = f"{counts.small:.0%}" if known else "-"
        numbers = (counts.positive, counts.negative, counts.unknown, counts.unboxed, counts.boxes)
        rows[name] = [*(f"{number:,}" for number in numbers), median, small]
    return rows


def _together(told: Inspection) -> list[list[int]]:
    """(K, K) of all sections."""
    k = len(told.findings)
    return sum((section.together for section in told.sections.values()), np.zeros((k, k), np.int64)).tolist()


def _agreement(datalist: Datalist) -> dict[str, dict[str, list[str]]]:
    """Section -> finding -> mean kappa and mean F1 over pairs of readers; nothing where there are no two readers."""
    said = {}
    for name, entries in datalist.sections.items():
        items = [
            {"index": number, "readers": boxes_by_reader(entry, datalist.findings)}
            for number, entry in enumerate(entries)
        ]
        figures = reader_agreement(items, datalist.findings, HitCriterion())
        if figures:
            said[name] = {
                finding: [_digits(figures.get(f"agreement/{figure}/{finding}/mean")) for figure in ("kappa", "f1")]
                for finding in datalist.findings
            }
    return said


def _digits(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def _contact_sheet(datalist: Datalist, wanted: int, reading: ReadingOptions) -> list[dict[str, str]]:
    load, sheet = LoadRadiographd("image", reading), []
    for section, number in _chosen(datalist, wanted):
        entry = datalist.sections[section][number]
        arrays = encode_entry(entry, datalist.findings)
        read = load({"image": entry["image"], "boxes": arrays["boxes"]})
        seen = [datalist.findings[k] for k in sorted({*arrays["box_finding"].tolist()})]
        words = f"{section}[{number}]: {', '.join(seen) or 'no box'}"
        picture = draw_overlay(
            np.asarray(read["image"]),
            np.empty((0, len(COLUMNS))),
            datalist.findings,
            boxes=np.asarray(read["boxes"]),
            box_finding=arrays["box_finding"],
            long_side=SIDE,
            legend=False,
            pixel_aspect=read["image"].meta["pixel_aspect"],
        )
        file = io.BytesIO()
        picture.convert("RGB").save(file, "JPEG", quality=85)
        sheet.append({"words": words, "data": base64.b64encode(file.getvalue()).decode("ascii")})
    return sheet


def _chosen(datalist: Datalist, wanted: int) -> list[tuple[str, int]]:
    """Section and place of the images to show: a finding in turn, and images without a box as one more."""
    kinds: dict[str | None, list[tuple[str, int]]] = {name: [] for name in (*datalist.findings, None)}
    for section, entries in datalist.sections.items():
        for number, entry in enumerate(entries):
            for name in {box["finding"] for box in entry.get("boxes") or ()} or {None}:
                if len(kinds[name]) < wanted:
                    kinds[name].append((section, number))
    in_turn = [each for turn in zip_longest(*kinds.values()) for each in turn if each is not None]
    return list(dict.fromkeys(in_turn))[:wanted]
