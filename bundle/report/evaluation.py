"""What an evaluation leaves behind: metrics.json, notes.json, records, figures, tables and report.html."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle.atomic import write_json
from bundle.comparison.outcome import Outcome
from bundle.comparison.readers import ReaderPoint, summarise_readers, write_points
from bundle.data.datalist import datalist_description, datalist_findings
from bundle.frozen_plan import as_shown
from bundle.metrics.group_gaps import gaps_between_groups
from bundle.metrics.image_level import summarise_images
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import Records
from bundle.metrics.records_check import check_records
from bundle.metrics.records_io import save_records
from bundle.metrics.shown import summarise_shown
from bundle.metrics.strata import by_size
from bundle.metrics.subgroups import by_subgroup
from bundle.metrics.summary import summarise
from bundle.metrics.table import Metrics, Notes
from bundle.report.draw import draw_report
from bundle.report.html import Example

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """What is known of an evaluation beside its records.

    Attributes:
        criterion: when a candidate hit.
        datalist: that the records are judged by: a finding that it does not know is refused. Its top-level
            `description` is used where `description` is empty.
        made_for: the data that are judged (`bundle.made_for.made_for`), or None.
        description: of the data, in a sentence or two. If it says "simulated", the report carries a banner.
        items: the section's items with `index`, `info` (sex, age, view, site, vendor), for subgroups, and `readers`.
        points: calibration and thresholds that were frozen, as a plan holds them; may be empty.
        outcome: of a comparison of methods.
        spoken: further figures with their notes, of texts.
        primary: name of the image score that stands for the network; the first if None.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the bootstrap.
        config: of the run, for the report.
        examples: pictures of the gallery.
    """

    criterion: HitCriterion
    datalist: str | Path | None = None
    made_for: Mapping[str, Any] | None = None
    description: str = ""
    items: Sequence[Mapping[str, Any]] | None = None
    points: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    outcome: Outcome | None = None
    spoken: Sequence[tuple[Metrics, Notes]] = ()
    primary: str | None = None
    replicates: int = 1000
    seed: int = 0
    config: Mapping[str, Any] | None = None
    examples: Sequence[Example] = ()


def write_evaluation(output_dir: Path, records: Records, judged: Judged) -> Path:
    """All figures of the records, and the page that shows them.

    Into `output_dir`: `metrics.json` (figures by key, numbers or null), `notes.json` (why a figure is null, how
    intervals were made), `records/` (from which all of it can be made again), `figures/*.png` and `*.svg`,
    `tables/*.csv` (the numbers of their curves), and `report.html`, the last, so that a report always has its numbers
    beside it. Each file is replaced at once or not at all.

    Args:
        output_dir: made if missing.
        records: of the evaluation.
        judged: what else is known.

    Returns:
        The page.

    Raises:
        ValueError: records that contradict themselves, or of a finding that the datalist does not know.
    """
    if judged.datalist is not None:
        check_records(records, known=datalist_findings(judged.datalist))
    logger.info("Writing the report (%d bootstrap replicates) to %s.", judged.replicates, output_dir)
    draws = judged.replicates, judged.seed
    metrics, notes = summarise(records, *draws, primary=judged.primary)
    parts = [*judged.spoken, *_of_points(records, judged), by_size(records, *draws)]
    readers: list[ReaderPoint] = []
    if judged.items is not None:
        parts.append(by_subgroup(records, _info(judged.items), *draws, primary=judged.primary))
        figures, why, readers = summarise_readers(records, judged.items, judged.criterion, *draws)
        parts.append((figures, why))
    for more, more_notes in parts:
        metrics, notes = metrics | more, more_notes | notes
    description = judged.description or ("" if judged.datalist is None else datalist_description(judged.datalist))
    if description:
        notes["description"] = description
    save_records(records, output_dir / "records", made_for=judged.made_for)
    write_json(output_dir / "metrics.json", metrics)
    write_json(output_dir / "notes.json", notes)
    write_points(readers, output_dir)
    page = draw_report(
        output_dir,
        records,
        metrics,
        notes,
        judged.points,
        judged.outcome,
        *draws,
        judged.primary,
        judged.examples,
        judged.config,
        description,
        readers,
    )
    logger.info("Report: %s", page)
    return page


def _of_points(records: Records, judged: Judged) -> list[tuple[Metrics, Notes]]:
    """Figures of the images' probabilities, and under the frozen thresholds, where there are some."""
    points, draws = judged.points, (judged.replicates, judged.seed)
    parts = [summarise_images(records, points, *draws, judged.primary)]
    if points and records.images.scores:
        limits = as_shown(records.findings, points, records.images.primary_score(judged.primary))
        parts.append(summarise_shown(records, *limits, *draws))
        if judged.items is not None:
            parts.append(gaps_between_groups(records, _info(judged.items), *limits, *draws))
    return parts


def _info(items: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Index -> what is known of the image."""
    return {int(item["index"]): item["info"] for item in items}
