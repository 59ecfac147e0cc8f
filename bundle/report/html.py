"""The report of an evaluation as one HTML page that needs nothing beside it: no network, no script, no other file."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from bundle.metrics.froc import FP_RATES
from bundle.metrics.records import Records
from bundle.metrics.registry import has_interval, heading, name_of
from bundle.metrics.summary import CNR_TIERS
from bundle.report.figure import Figure, Metrics
from bundle.report.sections import Section, figure_cell
from bundle.results.colours import finding_colour
from bundle.results.overlay import score_text

_COLUMNS = (
    "n_images/{}",
    "n_lesions/{}",
    "auroc/{}",
    "froc/{}/sens_at_1fp",
    "froc/{}/oracle",
    "froc/{}/score",
    "wafroc/{}",
)
_COUNTS = (
    "n_images/{}",
    "n_lesions/{}",
    "n_excluded/{}/unboxed",
    "n_excluded/{}/unknown",
    "n_positive/{}",
    "n_negative/{}",
)
_SECRET = re.compile(r"password|passwd|secret|credential|api_?key|(^|_)token$", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One picture of the gallery.

    Attributes:
        kind: "hit", "miss" or "false_positive".
        caption: what it shows.
        alt: the same for those who cannot see it.
        jpeg: the picture.
    """

    kind: str
    caption: str
    alt: str
    jpeg: bytes


def render_report(
    records: Records,
    metrics: Metrics,
    notes: Mapping[str, str],
    figures: Sequence[Figure],
    examples: Sequence[Example] = (),
    config: Mapping[str, Any] | None = None,
    description: str = "",
    versions: Mapping[str, str] | None = None,
    generated: str = "",
    sections: Sequence[Section] = (),
) -> str:
    """The page.

    It holds names of findings, numbers, pictures and the configuration: no report text, no patient identifiers and no
    file names. Where the description says that the images are simulated, so does a banner.

    Args:
        records: of the evaluation.
        metrics: figures by key, from `bundle.metrics.summary.summarise`; None is "not defined".
        notes: from the same; why a figure is not defined, and how intervals were made.
        figures: of `bundle.report.figures.draw_figures`.
        examples: the gallery.
        config: the merged configuration of the run. Values whose key names a password or token are withheld.
        description: of the data, one or two sentences.
        versions: software by name.
        generated: when, as text.
        sections: more tables, after the main ones.

    Returns:
        HTML.
    """
    findings = records.findings
    rows = [*findings, "mean"]
    template = _environment().from_string((Path(__file__).parent / "template.html").read_text(encoding="utf-8"))
    return template.render(
        names=rows,
        findings=[{"name": f, "colour": finding_colour(k)} for k, f in enumerate(findings)],
        description=description,
        simulated="simulated" in description.lower(),
        generated=generated,
        images=len(records.images.index),
        groups=len(np.unique(records.images.group)),
        grouped=not np.array_equal(records.images.group, records.images.index),
        criterion=records.criterion,
        glance=[_glance(metrics, key) for key in _COLUMNS if has_interval(key)],
        headings=[heading(key) for key in _COLUMNS],
        results=[_row(row, metrics, notes, _COLUMNS) for row in rows],
        rates=[f"{rate:g}" for rate in FP_RATES],
        sensitivities=[_with_thresholds(row, metrics, notes) for row in rows],
        count_headings=[heading(key) for key in _COUNTS],
        counts=[_row(row, metrics, notes, _COUNTS) for row in findings],
        cnr=_cnr(rows, metrics, notes),
        figures=figures,
        gallery=_gallery(examples),
        notes=dict(notes),
        config=None if config is None else json.dumps(_withheld(config), indent=2, ensure_ascii=False, default=str),
        versions=dict(versions or {}),
        sections=sections,
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def _row(row: str, metrics: Metrics, notes: Mapping[str, str], patterns: Sequence[str]) -> dict[str, Any]:
    return {"name": row, "cells": [figure_cell(metrics, notes, pattern.format(row)) for pattern in patterns]}


def _with_thresholds(row: str, metrics: Metrics, notes: Mapping[str, str]) -> dict[str, Any]:
    """Sensitivity at each rate, and below it the score from which on candidates are called there."""
    told = _row(row, metrics, notes, [f"froc/{{}}/sens_at_{rate:g}fp" for rate in FP_RATES])
    for cell, rate in zip(told["cells"], FP_RATES, strict=True):
        score = metrics.get(f"froc/{row}/threshold_at_{rate:g}fp")
        cell["below"] = "" if score is None else f"score {score_text(score)}"
    return told


def _glance(metrics: Metrics, pattern: str) -> dict[str, Any]:
    return {"name": f"Mean {name_of(pattern)}"} | figure_cell(metrics, {}, pattern.format("mean"))


def _cnr(rows: Sequence[str], metrics: Metrics, notes: Mapping[str, str]) -> dict[str, Any] | None:
    edges = [metrics.get(f"cnr_edges/{number}") for number in (1, 2)]
    if edges[0] is None or edges[1] is None:
        return None
    patterns = [f"froc/{{}}/{tier}/sens_at_1fp" for tier in CNR_TIERS]
    table = [_row(row, metrics, notes, patterns) for row in rows]
    for row in table:
        for cell, tier in zip(row["cells"], CNR_TIERS, strict=True):
            count = metrics.get(f"n_lesions/{row['name']}/{tier}")
            cell["below"] = "" if count is None else f"n = {count:.0f}"
    return {"edges": [f"{edge:.2f}" for edge in edges if edge is not None], "rows": table}


def _gallery(examples: Sequence[Example]) -> list[dict[str, Any]]:
    titles = {
        "hit": (
            "Found",
            "The lesions with the best-scored hit. These are the network's best, not its typical results.",
        ),
        "miss": ("Missed", "Lesions found only below the operating score, or not at all; the largest come first."),
        "false_positive": ("False positives", "The best-scored candidates that hit nothing annotated."),
    }
    groups = []
    for kind, (title, text) in titles.items():
        shown = [
            {"caption": e.caption, "alt": e.alt, "data": base64.b64encode(e.jpeg).decode("ascii")}
            for e in examples
            if e.kind == kind
        ]
        if shown:
            groups.append({"kind": kind, "title": title, "text": text, "examples": shown})
    return groups


def _withheld(config: Any, key: str = "") -> Any:
    """The configuration without passwords and tokens."""
    if isinstance(config, Mapping):
        return {name: _withheld(value, str(name)) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [_withheld(value, key) for value in config]
    return "(withheld)" if _SECRET.search(key) and config is not None else config
