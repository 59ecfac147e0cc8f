"""Intervals that include the seeds: another training gives other figures, and an honest interval says so."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

from bundle.metrics.bootstrap import auroc_replicates, draw_counts, froc_replicates
from bundle.metrics.means import mean_replicates
from bundle.metrics.records import Floats, Records, of_finding
from bundle.metrics.table import sensitivities
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


def mean_sensitivity(records: Records, rate: float = 1.0) -> float:
    """Macro sensitivity at so many false positives per image, over the findings that have lesions; NaN without any."""
    each = [sensitivities(of_finding(records, k), [rate])[0] for k in range(len(records.findings))]
    return float(np.nanmean(each)) if not np.isnan(each).all() else float("nan")


def record_replicates(records: Records, replicates: int, seed: int, score: str | None = None) -> Mapping[str, Floats]:
    """Replicates of the macro sensitivity at 1 FP/image and of the macro AUROC, drawing patients.

    Args:
        records: of an evaluation.
        replicates: R.
        seed: of the draws.
        score: name of the image score; None for the first.

    Returns:
        `froc/mean/sens_at_1fp` and `auroc/mean`: (R,) each.
    """
    units, unit = np.unique(records.images.group, return_inverse=True)
    counts = draw_counts(len(units), replicates, seed)
    sensitivity, area = [], []
    scores = records.images.scores[score] if score is not None else next(iter(records.images.scores.values()))
    for k in range(len(records.findings)):
        data = of_finding(records, k)
        if len(data.lesion_score):
            sensitivity.append(froc_replicates(counts, data, unit, [1.0])[0])
        label = records.images.label[:, k]
        negative, positive = label == 0, label == 1
        if negative.any() and positive.any():
            mine = scores[:, k]
            area.append(auroc_replicates(counts, mine[negative], unit[negative], mine[positive], unit[positive]))
    return {"froc/mean/sens_at_1fp": np.mean(sensitivity, 0), "auroc/mean": np.mean(area, 0)}


def answer_replicates(answers: Answers, replicates: int, seed: int) -> tuple[dict[str, float], dict[str, Floats]]:
    """Accuracy of answers and its replicates, of all questions and of each type, drawing patients.

    Args:
        answers: of an evaluation.
        replicates: R.
        seed: of the draws.

    Returns:
        By `vqa/accuracy` and `vqa/accuracy/<type>`: the figure, and its (R,) replicates.
    """
    units, unit = np.unique(answers.group, return_inverse=True)
    counts = draw_counts(len(units), replicates, seed)
    asked = {f"/{TYPES[number]}": answers.type == number for number in np.unique(answers.type)}
    figures, draws = {}, {}
    for ending, mine in {"": np.ones(len(answers.type), bool), **asked}.items():
        figures[f"vqa/accuracy{ending}"] = float(answers.right[mine].mean())
        right = np.where(mine, answers.right, np.nan)[:, None]
        draws[f"vqa/accuracy{ending}"] = mean_replicates(counts, right, unit)[0]
    return figures, draws
