"""The handler that leaves an evaluation behind: metrics.json, records, figures and report.html."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite import distributed as idist
from ignite.engine import Events
from monai.bundle import ConfigParser

from bundle.comparison import Comparison, LanguageEvaluation, RegionEvaluation
from bundle.handlers.froc import AUROC, FROC
from bundle.handlers.pairs import images_of
from bundle.metrics.records import Records, of_finding
from bundle.metrics.table import Metrics, Notes, threshold_at
from bundle.report.evaluation import Judged, write_evaluation
from bundle.report.gallery import FALSE_POSITIVE, HIT, Gallery, Sighting, draw_sighting
from bundle.report.html import Example
from bundle.results.overlay import score_text

OPERATING_RATE = 1.0  # false positives per image; the score that gives it parts hits from misses in the gallery


class EvaluationReport:
    """Writes the results of an evaluator's run, on rank 0, when it completes: `bundle.report.evaluation` says what.

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
        judged = Judged(
            criterion=self.froc.metric_fn.criterion,
            datalist=self.datalist,
            made_for=self.judged_on,
            description=self.description,
            items=self.items,
            points=self.points if self.comparison is None else self.comparison.points(),
            outcome=None if self.comparison is None else self.comparison.result,
            spoken=spoken,
            primary=self.primary,
            replicates=self.replicates,
            seed=self.seed,
            config=_merged(self.config),
            examples=self._examples(records),
        )
        write_evaluation(self.output_dir, records, judged)

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
