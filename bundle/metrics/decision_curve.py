"""Decision curve: whether acting on a probability is worth more than acting on all images or on none.

Source: Vickers and Elkin, "Decision curve analysis: a novel method for evaluating prediction models" (Med. Decis.
Making 26, 2006).
"""

import numpy as np
from numpy.typing import ArrayLike

from bundle.metrics.labelled import known_pairs
from bundle.metrics.records import Floats

TRUST = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Threshold probabilities at which the net benefit is a figure of metrics.json."""


def worth(probability: Floats, label: Floats, threshold: float) -> tuple[Floats, Floats]:
    """What each image adds to the net benefit, of acting where p >= t, and of acting on all; acting on none adds 0.

        net benefit = TP / N - FP / N · t / (1 - t) = mean of [p >= t] (y - (1 - y) t / (1 - t)).

    t / (1 - t) is the price of a false positive in true positives, for whoever acts from probability t on.

    Args:
        probability: (I,) 0..1, calibrated.
        label: (I,) 1, 0 or NaN (unknown).
        threshold: t, above 0 and below 1.

    Returns:
        Two (I,), NaN where the label is unknown.

    Raises:
        ValueError: a threshold that is not between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"a threshold probability must lie between 0 and 1, got {threshold}")
    everywhere = label - (1 - label) * threshold / (1 - threshold)
    return np.where(np.isnan(label), np.nan, (probability >= threshold) * everywhere), everywhere


def net_benefit(probability: Floats, label: Floats, thresholds: ArrayLike) -> tuple[Floats, Floats]:
    """Net benefit of the probability and of acting on all, at each threshold probability; that of none is 0.

    Args:
        probability: (I,) 0..1, calibrated.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        thresholds: (T,) above 0 and below 1.

    Returns:
        Two (T,); NaN without a known label.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled` and `worth`.
    """
    values, positive, _ = known_pairs(probability, label)
    wanted = np.asarray(thresholds, np.float64)
    if not len(values):
        nothing = np.full(len(wanted), np.nan)
        return nothing, nothing
    pairs = [worth(values, positive.astype(np.float64), float(t)) for t in wanted]
    own, everything = (np.array([each[i].mean() for each in pairs]) for i in (0, 1))
    return own, everything
