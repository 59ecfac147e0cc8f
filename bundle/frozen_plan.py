"""A plan's file: what was frozen on validation, what for, and what inference takes of it."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bundle.atomic import write_json
from bundle.comments import without_comments
from bundle.fingerprint import file_fingerprint
from bundle.made_for import differing
from bundle.probability import OperatingPoints
from bundle.versions import refuse_other_version

Floats = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)

FORMAT = 2
IMAGE = "image"  # the image score that inference shows
PLAN = "plan.json"  # in a training's folder


class PlanError(ValueError):
    """The plan is missing, or was made for something else."""


def write_plan(path: Path, made_for: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Freeze a plan.

    Args:
        path: of the file.
        made_for: what it holds for: weights, datalist, grid, criterion. `read_plan` wants the same.
        content: what was chosen.
    """
    write_json(path, {"format": FORMAT, "made_for": dict(made_for), **content})


def read_plan(path: Path, made_for: Mapping[str, Any]) -> dict[str, Any]:
    """A frozen plan.

    Args:
        path: of the file.
        made_for: what it must have been made for.

    Returns:
        What was chosen.

    Raises:
        PlanError: there is none, or it was made for something else; the message says for what.
    """
    plan = _plan_in(path)
    wanted = json.loads(json.dumps(dict(made_for)))
    other = differing(plan.get("made_for"), wanted) if plan else "it is no plan of this format"
    if other:
        raise PlanError(
            f"The plan at {path} was made for something else: {other}. Delete it, so that a new one is made on "
            "validation; results of the test section under the old plan are then no longer of this plan."
        )
    return plan


def plan_of_weights(
    path: str | Path, weights: str | Path, findings: Sequence[str], image_score: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The plan that was frozen for a network, whatever else it compares the network with.

    Args:
        path: of the file.
        weights: of the network.
        findings: its findings.
        image_score: how its image score is made.

    Raises:
        PlanError: there is none, or it was made for something else or another score; the message says for what.
    """
    plan = _plan_in(Path(path))
    made_for = plan.get("made_for")
    score = None if image_score is None else without_comments(image_score)
    own = {"weights": file_fingerprint(Path(weights)), "findings": list(findings), "image_score": score}
    known = made_for if isinstance(made_for, Mapping) else {}
    other = differing({key: known.get(key) for key in own}, own) if known else "it is no plan of this format"
    if other:
        raise PlanError(
            f"The plan at {path} was made for something else: {other}. Give the plan of these weights, or make "
            "another on validation (configs/compare.json)."
        )
    if plan.get("score") != IMAGE:
        raise PlanError(
            f"The plan at {path} calibrates the score {plan.get('score')!r}; inference shows {IMAGE!r}. "
            "Make a plan of that one."
        )
    return plan


def _plan_in(path: Path) -> dict[str, Any]:
    """What a plan's file holds; empty where it is no plan of this format."""
    if not path.is_file():
        raise PlanError(
            f"There is no plan at {path}. The test section is not tuned on: make the plan on validation first "
            "(python -m monai.bundle run freezing, with evaluate.json and compare.json)."
        )
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # half of one, or no text at all
        plan = None
    return plan if isinstance(plan, dict) and plan.get("format") == FORMAT else {}


def shown_points(points: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """A plan's points as `bundle.probability.OperatingPoints` takes them: an image is called by Youden's threshold."""
    names = {"slope": "slope", "offset": "offset", "youden": "image", "box": "box"}
    return {
        finding: {names[key]: value for key, value in point.items() if key in names}
        for finding, point in points.items()
    }


def as_shown(
    findings: Sequence[str], points: Mapping[str, Mapping[str, float]], score: npt.NDArray[np.floating[Any]]
) -> tuple[Floats, Floats, Floats, int]:
    """What a plan's points make of image scores, as `bundle.metrics.shown.shown` takes it.

    Args:
        findings: names of the K findings.
        points: of the plan, or of one in the making, without box thresholds.
        score: (I, K), of the images.

    Returns:
        Calibrated probabilities (I, K), lowest image probabilities (K,), lowest candidate scores (K,), and the most
        candidates of one finding and image.
    """
    rule = OperatingPoints(findings, shown_points(points))
    return rule.probability(torch.from_numpy(score)).numpy(), rule.image, rule.box, rule.max_per_finding


def operating_points(
    findings: Sequence[str],
    points: Mapping[str, Mapping[str, float]] | None,
    points_of: str | None = None,
    weights: str | Path | None = None,
    **limits: float | str | None,
) -> OperatingPoints:
    """Operating points, of the weights that they were frozen for and of no others.

    Args:
        findings: names of the K findings.
        points: as a package carries them.
        points_of: the fingerprint of their weights; None does not say.
        weights: the file that is used. Where it has another fingerprint, the points are left out, with a warning.
        limits: `min_score`, `min_image_score` of `OperatingPoints`.

    Raises:
        OtherVersionError: `weights` lie in a package of another version than the code that runs.
    """
    if weights is not None and (package := Path(weights).parent.parent / "bundle").is_dir():
        refuse_other_version(package.parent)  # MONAI Label has several packages in one process
    if points and points_of and weights is not None and file_fingerprint(weights) != points_of:
        logger.warning("%s is not what the operating points were frozen for: uncalibrated, thresholds .5.", weights)
        points = None
    return OperatingPoints(findings, points, **limits)  # type: ignore[arg-type]
