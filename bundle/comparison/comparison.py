"""The comparison: plan on validation, freeze, judge on test, with paired intervals of the differences."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from ignite import distributed as idist

from bundle.comments import without_comments
from bundle.comparison.elsewhere import records_elsewhere
from bundle.comparison.localised import above_baselines
from bundle.comparison.localize import localization_figures
from bundle.comparison.observe import Method, Observed, Truth, observe
from bundle.comparison.outcome import LEFT_OUT, Outcome, write_outcome
from bundle.comparison.plan import Grid, as_setting, choose, choose_points, records_of, setting_dict
from bundle.comparison.unseeing import Unseeing, judge_unseeing
from bundle.fingerprint import file_fingerprint
from bundle.frozen_plan import read_plan, shown_points, write_plan
from bundle.metrics.matching import BEST_HIT, HitCriterion
from bundle.metrics.paired import compare
from bundle.metrics.planned import planned_from
from bundle.metrics.records import Records
from bundle.metrics.records_io import save_records
from bundle.precision import Precision
from bundle.probability import OperatingPoints

logger = logging.getLogger(__name__)


class Comparison:
    """Several methods on one validation and one test section, each by its best setting on validation.

    `plan()` chooses every method's scaling, floor and smoothing by its macro FROC score on the validation section, and
    the reference's calibration and thresholds, and freezes them to `plan_file`; where the file is there already, it is
    kept. `evaluate()` reads the file and looks at the test section once; it chooses nothing. Into `output_dir`:
    `comparison.json` and `comparison_notes.json` (keys of `bundle.metrics.paired.compare`), and `records/<number>` of
    every method.

    Args:
        findings: names of the K findings.
        methods: name -> `Method`, whose maps are candidates for the plan.
        reference: the method that the others are compared with.
        validation: batches of the validation section, not shuffled.
        test: batches of the test section, not shuffled.
        canvas: side of the square canvas in pixels.
        plan_file: JSON that holds the plan.
        output_dir: made if missing.
        files: what the plan holds for: name -> file (weights, datalist), known by their SHA-256; None for none.
        grid: settings to choose from; `Grid()` if None.
        criterion: hit criterion, one of `bundle.metrics.matching.CRITERIA`.
        threshold: of the criterion.
        box_fraction: of criterion `patch`.
        assignment: whether a candidate may find several lesions, one of `bundle.metrics.matching.ASSIGNMENTS`.
        judged_elsewhere: name -> {"records": folder, "supervision": words}: methods that make boxes, not maps, judged
            by their own `run evaluating` on the same test section. What is not there, or was not made for `judged_on`,
            is left out, and the log and the notes say why.
        judged_on: what the records of the test section are made for (`bundle.made_for.made_for`).
        left_out: name -> why other methods are left out, for the notes; one whose reason is empty is not.
        unseeing: name -> baseline that sees no map: no plan is made for it, and every other method is held against it.
        planned: name -> `method`, `claim`, `margin`, `figure` of `bundle.metrics.planned.Planned`: the comparisons that
            get p-values. The plan names them, and is refused where it names others; a plan of before there were any is
            refused where some are wanted.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        device: to compute on.
        precision: number format and layout.
        section: name of the validation section, or names: a plan is refused for another.
        false_marks: an image, of all findings together, that the thresholds of candidates are chosen for.
        image_score: how the network's image score is made: a plan is refused for another.

    Attributes:
        score: name of the reference's image score, of which the plan has calibration and thresholds.

    Raises:
        ValueError: the reference is not among the methods, or methods are judged elsewhere on data that are not said.
    """

    def __init__(
        self,
        findings: Sequence[str],
        methods: Mapping[str, Method],
        reference: str,
        validation: Iterable[Mapping[str, Any]],
        test: Iterable[Mapping[str, Any]],
        canvas: int,
        plan_file: str | Path,
        output_dir: str | Path,
        files: Mapping[str, str | Path | None],
        device: torch.device,
        precision: Precision,
        grid: Grid | None = None,
        criterion: str = "centre",
        threshold: float | None = None,
        box_fraction: float | None = None,
        assignment: str = BEST_HIT,
        judged_elsewhere: Mapping[str, Mapping[str, str]] | None = None,
        replicates: int = 1000,
        seed: int = 0,
        section: str | Sequence[str] | None = None,
        judged_on: Mapping[str, Any] | None = None,
        left_out: Mapping[str, str] | None = None,
        false_marks: float = 1.0,
        image_score: Mapping[str, Any] | None = None,
        unseeing: Mapping[str, Unseeing] | None = None,
        planned: Mapping[str, Mapping[str, float | str]] | None = None,
    ) -> None:
        if reference not in methods:
            raise ValueError(f"comparison: the reference {reference!r} is not among the methods {list(methods)}.")
        if judged_elsewhere and judged_on is None:
            raise ValueError("comparison: judged_on is missing; without it no records of other runs can be taken in.")
        self.unseeing = without_comments(unseeing)
        for name, baseline in self.unseeing.items():
            if baseline.findings != tuple(findings):
                raise ValueError(
                    f"comparison: the findings of {name} are {list(baseline.findings)}, wanted {list(findings)}: give "
                    "the training boxes the same list."
                )
        self.findings, self.methods, self.reference = list(findings), dict(methods), reference
        self.validation, self.test, self.canvas = validation, test, canvas
        self.plan_file, self.output_dir = Path(plan_file), Path(output_dir)
        self.files = {name: Path(file) for name, file in files.items() if file is not None}
        self.device, self.precision = device, precision
        self.grid = grid or Grid()
        self.criterion = HitCriterion(criterion, threshold, box_fraction, assignment)
        self.judged_elsewhere, self.judged_on = without_comments(judged_elsewhere), judged_on
        self.left_out = {name: why for name, why in without_comments(left_out).items() if why}
        self.replicates, self.seed, self.section = replicates, seed, section
        self.false_marks = float(false_marks)
        self.planned = planned_from({name: without_comments(each) for name, each in without_comments(planned).items()})
        self.image_score = None if image_score is None else without_comments(image_score)
        self.score = self.methods[reference].score
        self.result: Outcome | None = None

    def plan(self) -> dict[str, Any]:
        """Choose on validation and freeze, unless a plan for the same files stands already.

        Raises:
            PlanError: there is a plan for other files, methods or settings.
        """
        if not self.plan_file.is_file():
            for name, each in self.planned.items():
                if each.method not in {*self.methods, *self.unseeing, *self.judged_elsewhere}:
                    logger.warning(
                        "Planned comparison %r: %s is no method here, it will not be shown.", name, each.method
                    )
            logger.info("Choosing floor, smoothing and scaling of %d methods on validation.", len(self.methods))
            truths, seen = self._observe(self.validation)
            chosen = {}
            for name, method in self.methods.items():
                setting, score = choose(seen[name], truths, method.scalings, self.grid, self.findings, self.criterion)
                chosen[name] = {
                    **setting_dict(setting),
                    "validation_froc_score": score if math.isfinite(score) else None,
                }
                if edge := setting.at_edge(self.grid):
                    chosen[name]["edge"] = edge
                    logger.warning("%s: the best setting lies on the grid's edge: %s.", name, "; ".join(edge))
                logger.info("%s: %s, FROC score %.3f on validation.", name, _words(chosen[name]), score)
            own = self._records(self.reference, chosen[self.reference], seen[self.reference], truths)
            # records call a method's image score "image", whichever of the network's it is
            points, aim = choose_points(own, "image", self.false_marks)
            content = {
                "images": len(truths),
                "methods": chosen,
                "points": points,
                "false_marks": aim._asdict(),
                "score": self.score,
                "candidates": self._candidates(chosen),
            }
            if idist.get_rank() == 0:
                write_plan(self.plan_file, self._made_for, content)
            idist.barrier()
        return read_plan(self.plan_file, self._made_for)

    def candidates(self) -> dict[str, Any]:
        """The reference's frozen settings, as `extract_candidates` takes them."""
        candidates: dict[str, Any] = read_plan(self.plan_file, self._made_for)["candidates"]
        return candidates

    def _candidates(self, methods: Mapping[str, Any]) -> dict[str, Any]:
        setting = methods[self.reference]
        return {
            "floor": setting["floor"],
            "smoothing": setting["smoothing"],
            "box_fraction": self.grid.box_fraction,
            "max_candidates": self.grid.max_candidates,
        }

    def points(self) -> dict[str, dict[str, float]]:
        """The reference's frozen calibration and thresholds: finding -> name -> number."""
        points: dict[str, dict[str, float]] = read_plan(self.plan_file, self._made_for)["points"]
        return points

    def evaluate(self) -> None:
        """Judge every method on the test section by the frozen plan; the outcome stands in `self.result`.

        Raises:
            PlanError: there is no plan, or one for something else. Nothing is chosen here.
        """
        plan = read_plan(self.plan_file, self._made_for)
        truths, seen = self._observe(self.test)
        records: dict[str, Records] = {}
        methods: dict[str, dict[str, str]] = {}
        left_out = dict(self.left_out)
        for name, method in self.methods.items():
            content = plan["methods"][name]
            records[name] = self._records(name, content, seen[name], truths)
            methods[name] = {"supervision": method.supervision, "setting": _words(content)}
        # calibrated: it decides between one image's second mark and another's first, and no baseline is a straw man
        points = OperatingPoints(self.findings, shown_points(plan["points"]))
        probability = points.probability(seen[self.reference].probability)
        for name, baseline in self.unseeing.items():
            records[name] = judge_unseeing(baseline, truths, probability, self.criterion)
            methods[name] = {"supervision": baseline.supervision, "setting": baseline.setting}
        for name, source in self.judged_elsewhere.items():
            found, why = records_elsewhere(name, Path(source["records"]), self.judged_on or {}, records[self.reference])
            if found is None:
                left_out[name] = why
                continue
            records[name] = found
            methods[name] = {"supervision": source["supervision"], "setting": "boxes of its own"}
        metrics, notes = compare(records, self.reference, self.replicates, self.seed, planned=self.planned)
        for more, more_notes in (
            localization_figures(seen, truths, records, self.replicates, self.seed),
            above_baselines(records, [*self.unseeing], self.replicates, self.seed),
        ):
            metrics, notes = metrics | more, notes | more_notes
        notes |= {f"{LEFT_OUT}{name}": why for name, why in left_out.items()}
        if idist.get_rank() == 0:
            for number, (name, mine) in enumerate(records.items()):
                save_records(mine, self.output_dir / "comparison" / f"records_{number:02d}", made_for=self.judged_on)
                methods[name]["folder"] = f"comparison/records_{number:02d}"
        self.result = Outcome(metrics, notes, methods, self.reference, self.judged_on)
        if idist.get_rank() == 0:
            write_outcome(self.result, self.output_dir)

    def _records(self, name: str, content: Mapping[str, Any], seen: Observed, truths: Sequence[Truth]) -> Records:
        try:
            return records_of(seen, truths, as_setting(content), self.grid, self.findings, self.criterion)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def _observe(self, loader: Iterable[Mapping[str, Any]]) -> tuple[list[Truth], dict[str, Observed]]:
        return observe(self.methods, loader, self.canvas, self.device, self.precision)

    @cached_property
    def _made_for(self) -> dict[str, Any]:
        """What a plan must have been made for; weights can be large, so they are read once."""
        return {
            **{name: _fingerprint(file) for name, file in self.files.items()},
            "findings": self.findings,
            "canvas": self.canvas,
            "section": self.section,
            "methods": {name: {"scalings": m.scalings, "score": m.score} for name, m in self.methods.items()},
            "grid": asdict(self.grid),
            "criterion": str(self.criterion),
            "false_marks": {"another section": self.false_marks},
            "image_score": self.image_score,
            "planned": {name: asdict(each) for name, each in self.planned.items()} or None,
        }


def _fingerprint(file: Path) -> str:
    """The start of a file's SHA-256.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"comparison: there is no {file}; train first, or set the path under comparison#files.")
    return file_fingerprint(file)


def _words(content: Mapping[str, Any]) -> str:
    said = f"scaling {content['scaling']}, floor {content['floor']:g}, smoothing {content['smoothing']:g} patches"
    return f"{said} (outermost: {'; '.join(content['edge'])})" if "edge" in content else said
