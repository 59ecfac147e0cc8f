"""Intervals that include the seeds: another training gives other figures, and an honest interval says so."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from bundle.metrics.classification import auroc
from bundle.metrics.draws import Draws
from bundle.metrics.froc_figures import sensitivities
from bundle.metrics.records import Floats, Records, of_finding
from bundle.metrics.vqa import Answers
from bundle.question_types import TYPES

_NOTHING = 1e-18  # a variance below it is rounding


def seeds_interval(
    values: Sequence[float], draws: Sequence[Floats], least: float = 0.0, level: float = 0.95
) -> tuple[float | None, float | None]:
    """Interval of the mean over S trainings, by Student's t with Satterthwaite's degrees of freedom.

        V = s² / S + Var,   mean ± t_f sqrt(V),   f = (S - 1) V² / (s² / S)²

    s² is the variance of the S values, of S - 1 degrees of freedom; Var that of the mean of the S trainings over draws
    of patients, of so many that its own are taken as infinite. A percentile over S drawn trainings would take the few
    that there are for all that there could be. What differs between trainings on these patients alone is counted twice.

    Source: Satterthwaite, "An approximate distribution of estimates of variance components" (Biometrics Bulletin 2,
    1946).

    Args:
        values: of each training, or of a paired difference.
        draws: of each training its (R,) replicates, all by the same draws of patients.
        least: the least possible figure, where the interval ends: 0, or -1 for a difference; the largest is 1.
        level: of confidence.

    Returns:
        Both ends; of one training, whose seed nothing is known of, those that patients give. None where all values and
        replicates are the same, because an interval without width is no certainty.
    """
    return interval_over_seeds(values, float(np.nanvar(np.mean(draws, 0))), least, level)


def interval_over_seeds(
    values: Sequence[float], patients: float, least: float = 0.0, level: float = 0.95, most: float = 1.0
) -> tuple[float | None, float | None]:
    """`seeds_interval` with Var given: `patients`, the variance of the mean of the trainings over draws of patients.

    `most` is the greatest possible figure: 1, or infinite for a number an image.
    """
    between = float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0
    total, mean = patients + between, float(np.mean(values))
    if total < _NOTHING:
        return None, None
    freedom = (len(values) - 1) * (total / between) ** 2 if between > _NOTHING else np.inf
    half = float(student.ppf((1 + level) / 2, freedom) * np.sqrt(total))
    return max(least, mean - half), min(most, mean + half)


def seeds_row(values: Sequence[float], ends: tuple[float | None, float | None]) -> dict[str, Any]:
    """A figure's row of a summary: the `value`, mean over the trainings, with `low` and `high`, and each's, `seeds`."""
    return {"value": float(np.mean(values)), "low": ends[0], "high": ends[1], "seeds": list(values)}


def record_figures(records: Records, replicates: int, seed: int, score: str | None = None) -> dict[str, Floats]:
    """The macro sensitivity at 1 FP/image, over the findings that have lesions, and the macro AUROC, drawing patients.

    Args:
        records: of an evaluation.
        replicates: R; 0 for none.
        seed: of the draws.
        score: name of the image score; None for the first.

    Returns:
        `froc/mean/sens_at_1fp` and `auroc/mean`: the figure and its replicates, (1 + R,) each; NaN where no finding has
        it.
    """
    draws, scores = Draws.of(records.images.group, replicates, seed), records.images.primary_score(score)
    findings = range(len(records.findings))
    found = [sensitivities(draws, of_finding(records, k), [1.0])[0] for k in findings]
    areas = [auroc(scores[:, k], records.images.label[:, k], draws) for k in findings]
    return {"froc/mean/sens_at_1fp": _mean_of(found), "auroc/mean": _mean_of(areas)}


def _mean_of(figures: Sequence[Floats]) -> Floats:
    """The mean of the figures that are defined; a replicate counts where all of these are defined in it."""
    defined = [figure for figure in figures if not np.isnan(figure[0])]
    mean: Floats = np.mean(defined, 0) if defined else figures[0]
    return mean


def answer_figures(answers: Answers, replicates: int, seed: int) -> dict[str, Floats]:
    """Accuracy of answers, of all questions and of each type, drawing patients.

    Args:
        answers: of an evaluation.
        replicates: R; 0 for none.
        seed: of the draws.

    Returns:
        By `vqa/accuracy` and `vqa/accuracy/<type>`: the figure and its replicates, (1 + R,).
    """
    draws = Draws.of(answers.group, replicates, seed)
    asked = {f"/{TYPES[number]}": answers.type == number for number in np.unique(answers.type)}
    return {
        f"vqa/accuracy{ending}": draws.ratio(answers.right & mine, mine)
        for ending, mine in {"": np.ones(len(answers.type), bool), **asked}.items()
    }
