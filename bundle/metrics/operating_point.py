"""One threshold on an image score: chosen on validation, judged elsewhere; and average precision over all of them.

An image is called positive where score >= threshold, everywhere.

Source: Youden, "Index for rating diagnostic tests" (Cancer 3, 1950).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.draws import Draws
from bundle.metrics.labelled import known_pairs, lacking_class
from bundle.metrics.records import Floats

NOTHING = {
    "sensitivity": "no positive images",
    "specificity": "no negative images",
    "ppv": "no image is called positive",
    "npv": "no image is called negative",
}
"""What a threshold's figures are, and why each may be undefined."""


def youden_threshold(scores: ArrayLike, label: ArrayLike) -> tuple[float, str | None]:
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


def sensitivity_threshold(scores: ArrayLike, label: ArrayLike, sensitivity: float) -> tuple[float, str | None]:
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


def operating_figures(
    scores: ArrayLike, label: ArrayLike, threshold: float, draws: Draws | None = None
) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """Sensitivity, specificity and predictive values at a threshold.

    Each is a share: of the positives called, of the negatives not called, of those called the positives (at this
    sample's prevalence only), of those not called the negatives (likewise).

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        threshold: as chosen on validation; an infinite one calls all or nothing.
        draws: of the images; None for the sample alone.

    Returns:
        By the names in `NOTHING`: the share (C,), the sample's first, NaN where nothing could be counted; and the
        images (I,) that it is a share of.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, or where the threshold is NaN.
    """
    if np.isnan(threshold):
        raise ValueError("the threshold is NaN: none could be chosen on validation, so there is nothing to judge")
    values, mine, known = known_pairs(scores, label)
    positive, called = np.zeros((2, len(known)), bool)
    positive[known], called[known] = mine, values >= threshold
    draws = Draws.alone(len(known)) if draws is None else draws
    negative, spared = known & ~positive, known & ~called
    return {
        name: (draws.ratio(part & whole, whole), whole)
        for name, part, whole in (
            ("sensitivity", called, positive),
            ("specificity", spared, negative),
            ("ppv", positive, called),
            ("npv", negative, spared),
        )
    }


def average_precision(scores: ArrayLike, label: ArrayLike, draws: Draws | None = None) -> Floats:
    """Average precision of one finding: sum_t (R_t - R_{t-1}) P_t over the distinct scores t, falling.

    R_t and P_t are recall and precision of calling score >= t; no interpolation. Chance is the prevalence, so the
    number means little without it. Not the area under the ROC curve, and not the box AP of `bundle.metrics.detection`.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        draws: of the images; None for the sample alone.

    Returns:
        (C,) average precisions, 0..1, the sample's first; NaN in columns that lack positives or negatives.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, known = known_pairs(scores, label)
    draws = (Draws.alone(len(known)) if draws is None else draws).at(known)
    falling = np.argsort(-values, kind="stable")
    values, positive, own = values[falling], positive[falling], draws.unit[falling]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))[: len(values)]  # of each run of equal scores
    result = np.full(draws.counts.shape[1], np.nan)
    for part, drawn in draws.chunks(len(values)) if len(values) else ():
        weight = drawn[own]  # (N, c)
        called = np.cumsum(weight, 0)[last]
        hits = np.cumsum(weight * positive[:, None], 0)[last]
        gained = np.diff(hits, axis=0, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(called > 0, hits / called, 0.0)
            area = (gained * precision).sum(0) / hits[-1]
        result[part] = np.where(hits[-1] < called[-1], area, np.nan)
    return result
