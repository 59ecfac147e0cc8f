"""One threshold on an image score: chosen on validation, judged elsewhere; and average precision over all of them.

An image is called positive where score >= threshold, everywhere.

Sources: Youden, "Index for rating diagnostic tests" (Cancer 3, 1950); Wilson, "Probable inference, the law of
succession, and statistical inference" (J. Am. Stat. Assoc. 22, 1927).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from bundle.metrics.labelled import known_pairs, lacking_class
from bundle.metrics.means import drawn_sums
from bundle.metrics.records import Floats, Integers

FIGURES = ("sensitivity", "specificity", "ppv", "npv")

Scores = torch.Tensor | ArrayLike
_CHUNK = 1 << 22  # numbers in one intermediate array: 32 MiB


@dataclass(frozen=True)
class Proportion:
    """A share, with its Wilson interval.

    Attributes:
        count: images that have the property.
        of: images that could.
        value: count / of; NaN where `of` is 0.
        low: lower end of the interval, NaN where undefined.
        high: upper end.
        reason: why it is undefined, or None.
    """

    count: int
    of: int
    value: float
    low: float
    high: float
    reason: str | None = None


@dataclass(frozen=True)
class OperatingFigures:
    """What a threshold does, on images of one finding.

    Attributes:
        threshold: called positive where score >= threshold.
        sensitivity: of the positives, the share called.
        specificity: of the negatives, the share not called.
        ppv: of those called, the share that is positive. It holds at this sample's prevalence only.
        npv: of those not called, the share that is negative; likewise.
    """

    threshold: float
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion


def youden_threshold(scores: Scores, label: Scores) -> tuple[float, str | None]:
    """The threshold with the highest J = sensitivity + specificity - 1; the highest of several equal ones.

    Thresholds tried are the scores that occur, so that one of them is always returned: constant scores give that
    constant (all called, J = 0). J is compared in whole numbers, so rounding splits no tie.

    Not for the data on which the figures are then reported: choose on validation.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.

    Returns:
        The threshold and None; or NaN and the reason why there is none.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, _ = known_pairs(scores, label)
    if reason := lacking_class(positive):
        return float("nan"), reason
    levels, level = np.unique(values, return_inverse=True)
    called_positive = np.bincount(level[positive], minlength=len(levels))[::-1].cumsum()
    called_negative = np.bincount(level[~positive], minlength=len(levels))[::-1].cumsum()
    gain = called_positive * int((~positive).sum()) - called_negative * int(positive.sum())  # J · P · N
    return float(levels[::-1][gain.argmax()]), None


def sensitivity_threshold(scores: Scores, label: Scores, sensitivity: float) -> tuple[float, str | None]:
    """The highest threshold at which at least this share of the positives is called.

    With P positives it is the score of the ceil(sensitivity · P)-th highest of them. On other data the sensitivity
    will differ: report what it became.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        sensitivity: wanted, in (0, 1].

    Returns:
        The threshold and None; or NaN and the reason why there is none.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, or where the sensitivity is out of range.
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f"the wanted sensitivity must lie in (0, 1], got {sensitivity}")
    values, positive, _ = known_pairs(scores, label)
    if not positive.any():
        return float("nan"), "no positive images"
    falling = np.sort(values[positive])[::-1]
    needed = int(np.ceil(sensitivity * len(falling) - 1e-9))  # .9 · 10 is 9, not a rounding error above it
    return float(falling[max(needed, 1) - 1]), None


def operating_figures(scores: Scores, label: Scores, threshold: float, level: float = 0.95) -> OperatingFigures:
    """Sensitivity, specificity and predictive values at a threshold, with Wilson intervals.

    Wilson's intervals take images as independent; where patients have several, use `operating_replicates`.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        threshold: as chosen on validation; an infinite one calls all or nothing.
        level: of confidence.

    Returns:
        The figures; each is NaN, with its reason, where nothing could be counted.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, or where the threshold is NaN.
    """
    values, positive, _ = known_pairs(scores, label)
    called = values >= _checked(threshold)
    true, false = int((called & positive).sum()), int((~called & ~positive).sum())
    return OperatingFigures(
        threshold=float(threshold),
        sensitivity=proportion(true, int(positive.sum()), level, "no positive images"),
        specificity=proportion(false, int((~positive).sum()), level, "no negative images"),
        ppv=proportion(true, int(called.sum()), level, "no image is called positive"),
        npv=proportion(false, int((~called).sum()), level, "no image is called negative"),
    )


def operating_replicates(
    counts: NDArray[np.int32], scores: Scores, label: Scores, unit: Integers, threshold: float
) -> dict[str, Floats]:
    """The figures of `operating_figures` in each replicate, the threshold fixed.

    Args:
        counts: (G, R) from `bundle.metrics.bootstrap.draw_counts`.
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        unit: (I,) unit of every image, 0..G-1.
        threshold: as chosen on validation.

    Returns:
        By the names in `FIGURES`, (R,) each; NaN in replicates in which nothing could be counted.

    Raises:
        ValueError: as `operating_figures`.
    """
    values, positive, known = known_pairs(scores, label)
    own = unit[known]
    called = values >= _checked(threshold)
    # how many images of each outcome every unit brings, (4, G)
    cells = np.stack([np.bincount(own[cell], minlength=len(counts)) for cell in _outcomes(called, positive)])
    hit, missed, wrong, right = drawn_sums(counts, cells)
    with np.errstate(invalid="ignore"):  # nothing to count: 0 / 0 is NaN, as it should be
        return {
            "sensitivity": hit / (hit + missed),
            "specificity": right / (right + wrong),
            "ppv": hit / (hit + wrong),
            "npv": right / (right + missed),
        }


def average_precision(scores: Scores, label: Scores) -> tuple[float, str | None]:
    """Average precision of one finding: sum_t (R_t - R_{t-1}) P_t over the distinct scores t, falling.

    R_t and P_t are recall and precision of calling score >= t; no interpolation. Chance is the prevalence, so the
    number means little without it. Not the area under the ROC curve, and not the box AP of `bundle.metrics.detection`.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.

    Returns:
        The average precision, 0..1, and None; or NaN and the reason why it is undefined.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, _ = known_pairs(scores, label)
    if reason := lacking_class(positive):
        return float("nan"), reason
    return float(average_precision_score(positive, values)), None


def average_precision_replicates(counts: NDArray[np.int32], scores: Scores, label: Scores, unit: Integers) -> Floats:
    """`average_precision` in each replicate: scores are sorted once, each replicate sums its weights along them.

    Args:
        counts: (G, R) from `bundle.metrics.bootstrap.draw_counts`.
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        unit: (I,) unit of every image, 0..G-1.

    Returns:
        (R,); NaN in replicates without positives or without negatives.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, known = known_pairs(scores, label)
    own = unit[known]
    falling = np.argsort(-values, kind="stable")
    values, positive, own = values[falling], positive[falling], own[falling]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))[: len(values)]  # of each run of equal scores
    result = np.full(counts.shape[1], np.nan)
    width = max(1, _CHUNK // max(1, len(values)))
    for start in range(0, counts.shape[1] if len(values) else 0, width):
        part = slice(start, start + width)
        weight = counts[own, part].astype(np.float64)  # (N, r)
        called = np.cumsum(weight, 0)[last]
        hits = np.cumsum(weight * positive[:, None], 0)[last]
        gained = np.diff(hits, axis=0, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(called > 0, hits / called, 0.0)
            area = (gained * precision).sum(0) / hits[-1]
        result[part] = np.where(hits[-1] < called[-1], area, np.nan)
    return result


def proportion(count: int, of: int, level: float = 0.95, reason: str = "nothing to count") -> Proportion:
    """A share with its Wilson interval.

    Args:
        count: images that have the property, 0..of.
        of: images that could.
        level: of confidence.
        reason: said where `of` is 0.

    Returns:
        The share, NaN with the reason where `of` is 0.
    """
    if not of:
        return Proportion(count, of, float("nan"), float("nan"), float("nan"), reason)
    low, high = binomtest(count, of).proportion_ci(level, method="wilson")
    return Proportion(count, of, count / of, float(low), float(high))


def _checked(threshold: float) -> float:
    if np.isnan(threshold):
        raise ValueError("the threshold is NaN: none could be chosen on validation, so there is nothing to judge")
    return threshold


def _outcomes(called: NDArray[np.bool_], positive: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
    """True positives, false negatives, false positives, true negatives."""
    return called & positive, ~called & positive, called & ~positive, ~called & ~positive
