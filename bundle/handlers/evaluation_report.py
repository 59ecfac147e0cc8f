"""Leaves an evaluation behind: metrics.json, records, figures and report.html."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import Events
from monai.bundle import ConfigParser

from bundle.atomic import write_json
from bundle.comparison import Comparison, LanguageEvaluation, RegionEvaluation
from bundle.comparison.readers import ReaderPoint, summarise_readers, write_points
from bundle.data.datalist import datalist_findings
from bundle.frozen_plan import shown_points
from bundle.handlers.froc import AUROC, FROC
from bundle.handlers.pairs import images_of
from bundle.metrics.group_gaps import gaps_between_groups
from bundle.metrics.image_level import summarise_images
from bundle.metrics.records import Records, of_finding
from bundle.metrics.records_check import check_records
from bundle.metrics.records_io import save_records
from bundle.metrics.shown import summarise_shown
from bundle.metrics.strata import by_size
from bundle.metrics.subgroups import by_subgroup
from bundle.metrics.summary import summarise
from bundle.metrics.table import Metrics, Notes, threshold_at
from bundle.probability import OperatingPoints
from bundle.report.draw import draw_report
from bundle.report.gallery import FALSE_POSITIVE, HIT, Gallery, Sighting, draw_sighting
from bundle.report.html import Example
from bundle.results.overlay import score_text

logger = logging.getLogger(__name__)

OPERATING_RATE = 1.0  # false positives per image; the score that gives it parts hits from misses in the gallery


class EvaluationReport:
    """Writes the results of an evaluator's run, on rank 0, when it completes.

    Into `output_dir`: `metrics.json` (figures by key, numbers or null), `notes.json` (why a figure is null, how
    intervals were made), `records/` (from which all of it can be made again), `figures/*.png` and `*.svg`, and
    `report.html`, the last, so that a report always has its numbers beside it. Each file is replaced at once or not at
    all.

    Attach it on every rank, to an engine whose output is post-processed to `candidates`, decollated or not: records and
    gallery are gathered across ranks.

    Args:
        output_dir: made if missing.
        findings: names of the K findings.
        froc: the metric handler that holds the records.
        auroc: the metric handler that holds the image scores; None leaves AUROC out.
        config: the run's configuration, for the report: a mapping, or the path of a JSON file, or several, merged in
            order as MONAI does.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the bootstrap.
        gallery: the most images shown; 0 keeps none in memory and shows none.
        description: of the data, in a sentence or two. If it says "simulated", the report carries a banner.
        datalist: that the records are judged by: a finding that it does not know is refused. Its top-level
            `description` is used where `description` is empty.
        judged_on: the data that are judged (`bundle.made_for.made_for`): the records say so, and no other run takes
            them for its own. None does not say.
        primary: name of the image score that stands for the network; the first of `auroc` if None.
        items: the section's items with `index`, `info` (sex, age, view, site, vendor), for subgroups, and `readers`.
        comparison: that has been evaluated: its tables join the report, and the calibration and thresholds of its
            plan are judged.
        points: calibration and thresholds to be judged where there is no comparison, as a plan holds them (`points` of
            `bundle.frozen_plan.plan_of_weights`).
        language: to be run at the end: retrieval, negation, zero-shot prompts.
        regions: likewise: captions of regions among hard negatives and in retrieval, pointing by a description.

    Raises:
        ValueError: where the findings are not those of the metrics, a number is negative, or the comparison's plan has
            thresholds of another image score than `primary`.
    """

    def __init__(
        self,
        output_dir: str | Path,
        findings: Sequence[str],
        froc: FROC,
        auroc: AUROC | None = None,
        config: Mapping[str, Any] | str | Path | Sequence[str | Path] | None = None,
        replicates: int = 1000,
        seed: int = 0,
        gallery: int = 12,
        description: str = "",
        datalist: str | Path | None = None,
        judged_on: Mapping[str, Any] | None = None,
        primary: str | None = None,
        items: Sequence[Mapping[str, Any]] | None = None,
        comparison: Comparison | None = None,
        language: LanguageEvaluation | None = None,
        regions: RegionEvaluation | None = None,
        points: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        for name, handler in (("froc", froc), ("auroc", auroc)):
            if handler is not None and tuple(handler.metric_fn.findings) != tuple(findings):
                raise ValueError(
                    f"EvaluationReport: findings are {list(findings)}, but those of {name} are "
                    f"{list(handler.metric_fn.findings)}; give the same list to both"
                )
        if replicates < 0 or gallery < 0:
            raise ValueError(f"EvaluationReport: replicates and gallery must be >= 0, got {replicates} and {gallery}")
        if comparison is not None and auroc is not None:
            judged = primary or auroc.metric_fn.scores[0]
            if comparison.score != judged:
                raise ValueError(
                    f"EvaluationReport: the plan's thresholds are of the image score {comparison.score!r}, but "
                    f"{judged!r} would be judged by them; give `primary` here and `score` of the comparison's methods "
                    "the same name"
                )
        self.output_dir, self.findings = Path(output_dir), tuple(findings)
        self.froc, self.auroc, self.config = froc, auroc, config
        self.replicates, self.seed, self.primary = replicates, seed, primary
        self.description, self.datalist, self.judged_on, self.gallery_size = description, datalist, judged_on, gallery
        self.items, self.comparison, self.language, self.regions = items, comparison, language, regions
        self.points = points or {}
        self._gallery = self._empty_gallery()

    def attach(self, engine: Any) -> None:
        """Register with the evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        if self.gallery_size:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._look)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _empty_gallery(self) -> Gallery:
        return Gallery(self.findings, self.gallery_size, self.froc.metric_fn.criterion)

    def _start(self, _: Any) -> None:
        self._gallery = self._empty_gallery()

    def _look(self, engine: Any) -> None:
        for truth, found in zip(images_of(engine.state.batch), images_of(engine.state.output), strict=True):
            self._gallery.add({**truth, **found})

    def _write(self, engine: Any) -> None:
        # collective, hence before ranks part
        records: Records = self.froc.metric_fn.records()
        if self.auroc is not None:
            records = records.with_scores(self.auroc.metric_fn.records())
        if self.gallery_size and idist.get_world_size() > 1:
            mine = self._gallery.sightings()
            for rank, theirs in enumerate(idist.all_gather(mine)):
                if rank != idist.get_rank():
                    self._gallery.merge(theirs)
        spoken = [each.run() for each in (self.language, self.regions) if each is not None]
        if idist.get_rank() == 0:
            self._report(records, spoken)

    def _report(self, records: Records, spoken: Sequence[tuple[Metrics, Notes]]) -> None:
        if self.datalist is not None:
            check_records(records, known=datalist_findings(self.datalist))
        logger.info("Writing the report (%d bootstrap replicates) to %s.", self.replicates, self.output_dir)
        metrics, notes = summarise(records, self.replicates, self.seed, primary=self.primary)
        points = self.points if self.comparison is None else self.comparison.points()
        parts = [*spoken, summarise_images(records, points, self.replicates, self.seed, self.primary)]
        if points and records.images.scores:
            rule = OperatingPoints(self.findings, shown_points(points))
            score = records.images.primary_score(self.primary)
            probability = rule.probability(torch.from_numpy(score)).numpy()
            limits = (rule.image, rule.box, rule.max_per_finding)
            parts.append(summarise_shown(records, probability, *limits, self.replicates, self.seed))
            if self.items is not None:
                parts.append(
                    gaps_between_groups(records, self._info(), probability, *limits, self.replicates, self.seed)
                )
        parts.append(by_size(records, self.replicates, self.seed))
        readers: list[ReaderPoint] = []
        if self.items is not None:
            parts.append(by_subgroup(records, self._info(), self.replicates, self.seed, primary=self.primary))
            criterion = self.froc.metric_fn.criterion
            figures, why, readers = summarise_readers(records, self.items, criterion, self.replicates, self.seed)
            parts.append((figures, why))
        for more, more_notes in parts:
            metrics, notes = metrics | more, more_notes | notes
        description = self.description or _description(self.datalist)
        if description:
            notes["description"] = description
        save_records(records, self.output_dir / "records", made_for=self.judged_on)
        write_json(self.output_dir / "metrics.json", metrics)
        write_json(self.output_dir / "notes.json", notes)
        write_points(readers, self.output_dir)
        outcome = None if self.comparison is None else self.comparison.result
        draw_report(
            self.output_dir,
            records,
            metrics,
            notes,
            points,
            outcome,
            self.replicates,
            self.seed,
            self.primary,
            self._examples(records),
            _merged(self.config),
            description,
            readers,
        )
        logger.info("Report: %s", self.output_dir / "report.html")

    def _info(self) -> dict[int, Mapping[str, Any]]:
        """Index -> what is known of the image."""
        return {int(item["index"]): item["info"] for item in self.items or ()}

    def _examples(self, records: Records) -> list[Example]:
        """The gallery's pictures with their words."""
        thresholds = {k: operating_score(records, k, OPERATING_RATE) for k in range(len(self.findings))}
        examples = []
        for sighting in self._gallery.choose(thresholds):
            threshold = thresholds[sighting.finding]
            caption = _caption(sighting, self.findings[sighting.finding], threshold)
            alt = f"Chest radiograph. {caption}. Candidate boxes are solid, annotated boxes dashed."
            examples.append(Example(sighting.kind, caption, alt, draw_sighting(sighting, self.findings, threshold)))
        return examples


def operating_score(records: Records, finding: int, fp_per_image: float) -> float:
    """The lowest score at which a finding has no more than so many false positives per image.

    Args:
        records: of the evaluation.
        finding: place in the findings.
        fp_per_image: the rate.

    Returns:
        The score; +inf where even the highest gives more, or no image counts.
    """
    return threshold_at(of_finding(records, finding), fp_per_image)


def _caption(sighting: Sighting, finding: str, threshold: float) -> str:
    where = f"image {sighting.index}"
    if sighting.kind == HIT:
        return f"{finding} found with score {score_text(sighting.score)}, {where}"
    if sighting.kind == FALSE_POSITIVE:
        return f"{finding} reported with score {score_text(sighting.score)} where none is annotated, {where}"
    if sighting.score == -math.inf:
        return f"{finding} missed: no candidate hit it, {where}"
    below = "" if math.isinf(threshold) else f", below {score_text(threshold)}"
    return f"{finding} missed: best hit scored {score_text(sighting.score)}{below}, {where}"


def _merged(config: Mapping[str, Any] | str | Path | Sequence[str | Path] | None) -> Mapping[str, Any] | None:
    if config is None or isinstance(config, Mapping):
        return config
    files = [config] if isinstance(config, str | Path) else list(config)
    merged: dict[str, Any] = ConfigParser.load_config_files([str(file) for file in files])
    return merged


def _description(datalist: str | Path | None) -> str:
    if datalist is None:
        return ""
    with Path(datalist).open(encoding="utf-8") as file:
        return str(json.load(file).get("description", ""))
