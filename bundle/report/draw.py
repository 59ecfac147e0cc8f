"""Figures and page of an evaluation, from its records and figures alone: no model, no image."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bundle.atomic import write_file
from bundle.comparison.outcome import Outcome
from bundle.comparison.readers import ReaderPoint
from bundle.metrics.records import Records
from bundle.metrics.table import Metrics, Notes
from bundle.report.comparison_figure import draw_comparison
from bundle.report.decision_figure import draw_decisions
from bundle.report.figures import draw_figures
from bundle.report.html import Example, render_report
from bundle.report.operating_section import operating_section
from bundle.report.reader_section import reader_section
from bundle.report.region_section import region_section
from bundle.report.reliability_figure import draw_reliability
from bundle.report.sections import (
    Section,
    comparison_section,
    language_section,
    size_section,
    subgroup_section,
)
from bundle.report.shown_section import shown_section
from bundle.report.tier_figure import draw_sizes
from bundle.versions import versions


def draw_report(
    output_dir: Path,
    records: Records,
    metrics: Metrics,
    notes: Notes,
    points: Mapping[str, Mapping[str, float]],
    outcome: Outcome | None = None,
    replicates: int = 1000,
    seed: int = 0,
    primary: str | None = None,
    examples: Sequence[Example] = (),
    config: Mapping[str, Any] | None = None,
    description: str = "",
    readers: Sequence[ReaderPoint] = (),
) -> Path:
    """Write `figures/*.png`, `figures/*.svg`, `tables/*.csv` and `report.html`, the page last.

    Args:
        output_dir: folder to write; files in it are replaced.
        records: of the evaluation.
        metrics: all its figures by key.
        notes: why a figure is not defined.
        points: frozen calibration and thresholds, finding -> name -> number; may be empty.
        outcome: of the comparison of methods, or None.
        replicates: R of the bands in figures.
        seed: of the bands.
        primary: name of the image score that stands for the network; the first if None.
        examples: pictures of the gallery.
        config: of the run.
        description: of the data. If it says "simulated", the page carries a banner.
        readers: their operating points, where there are several.

    Returns:
        The page.
    """
    figures = draw_figures(records, metrics, replicates, seed)
    sections = list(_sections(records, metrics, notes, points, outcome, primary, readers))
    for figure in [*figures, *(figure for section in sections for figure in section.figures)]:
        write_file(output_dir / "figures" / f"{figure.name}.png", figure.png)
        write_file(output_dir / "figures" / f"{figure.name}.svg", figure.svg)
        if figure.table:
            write_file(output_dir / "tables" / f"{figure.name}.csv", figure.csv())
    generated = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = render_report(
        records, metrics, notes, figures, examples, config, description, versions(), generated, sections
    )
    write_file(output_dir / "report.html", page)
    return output_dir / "report.html"


def _sections(
    records: Records,
    metrics: Metrics,
    notes: Notes,
    points: Mapping[str, Mapping[str, float]],
    outcome: Outcome | None,
    primary: str | None,
    readers: Sequence[ReaderPoint],
) -> list[Section]:
    """The tables beyond the main one."""
    sizes = draw_sizes(records.findings, metrics)
    sections = [shown_section(records.findings, metrics, notes)]
    sections += [size_section(records.findings, metrics, notes, [] if sizes is None else [sizes])]
    if outcome is not None:
        section = comparison_section(outcome.metrics, outcome.notes, outcome.methods, outcome.reference)
        figure = draw_comparison([*outcome.methods], outcome.reference, outcome.metrics)
        sections.append(replace(section, figures=[figure]))
    if records.images.scores:
        reliability = draw_reliability(records, points, primary)
        drawn = [each for each in (reliability, draw_decisions(records, points, primary)) if each is not None]
        sections.append(operating_section(records.findings, metrics, notes, drawn))
    sections += [reader_section(records.findings, metrics, notes, readers)]
    sections += [subgroup_section(metrics, notes), language_section(records.findings, metrics, notes)]
    sections += [region_section(metrics, notes)]
    return [section for section in sections if section is not None]
