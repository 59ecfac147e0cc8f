"""Calibration slope and intercept: what a logistic recalibration of probabilities would still change.

Source: Cox, "Two further applications of a model for binary regression" (Biometrika 45, 1958); Van Calster et al.,
"Calibration: the Achilles heel of predictive analytics" (BMC Med. 17, 2019), for their use and names.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bundle.metrics.labelled import known_pairs, lacking_class
from bundle.metrics.records import Floats, Integers
from bundle.probability import margin

APART = "the probabilities part both classes, or are all the same: no slope is the likeliest"
_STEPS, _CLOSE = 50, 1e-10  # Newton's steps; a gradient an image that is none
_CHUNK = 1 << 22  # numbers in one intermediate array: 32 MiB


def recalibration(probability: Floats, label: Floats) -> tuple[float, float, str | None]:
    """Slope b and intercept a of logit(P(y = 1)) = a + b · logit(p), the likeliest on these images.

    1 and 0 where probabilities mean what they say. b < 1: too extreme; a < 0, at b = 1: too high.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.

    Returns:
        b, a and None; or NaN, NaN and the reason why there are none.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, _ = known_pairs(probability, label)
    if reason := lacking_class(positive):
        return float("nan"), float("nan"), reason
    slope, intercept = _fits(margin(values), positive, np.ones((len(values), 1)))[:, 0]
    return float(slope), float(intercept), None if np.isfinite(slope) else APART


def recalibration_replicates(
    counts: NDArray[np.int32], probability: Floats, label: Floats, unit: Integers
) -> tuple[Floats, Floats]:
    """`recalibration` in each replicate.

    Args:
        counts: (G, R) from `bundle.metrics.bootstrap.draw_counts`.
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        unit: (I,) unit of every image, 0..G-1.

    Returns:
        Slopes and intercepts (R,); NaN in replicates that lack a class or whose classes the probabilities part.
    """
    values, positive, known = known_pairs(probability, label)
    feature, weight = margin(values), counts[unit[known]]  # (N,), (N, R)
    result = np.empty((2, counts.shape[1]))
    width = max(1, _CHUNK // max(1, len(values)))
    for start in range(0, counts.shape[1], width):
        part = slice(start, start + width)
        result[:, part] = _fits(feature, positive, weight[:, part].astype(np.float64))
    return result[0], result[1]


def _fits(feature: Floats, positive: NDArray[np.bool_], weight: Floats) -> Floats:
    """Slope and intercept (2, R) of R logistic regressions on one feature (N,), weighted (N, R), by Newton's method.

    A step is halved for all fits that it would make less likely, so that none runs away. NaN where the feature parts
    the classes, be it at one value that both have: then the likelihood has no maximum.
    """
    ends = []
    for mine in (positive, ~positive):
        drawn, x = (weight > 0) & mine[:, None], feature[:, None]
        ends.append((np.where(drawn, x, np.inf).min(0), np.where(drawn, x, -np.inf).max(0)))
    (low, high), (other_low, other_high) = ends
    # also where a class is not drawn: its ends are infinite
    parted = (high <= other_low) | (other_high <= low)
    weight = np.where(parted, 0.0, weight)
    fitted = np.zeros((2, weight.shape[1]))
    x, y, total = feature[:, None], positive[:, None].astype(np.float64), np.maximum(weight.sum(0), 1.0)

    def loss(at: Floats) -> Floats:
        eta = x * at[0] + at[1]
        lost: Floats = (weight * (np.logaddexp(0.0, eta) - y * eta)).sum(0)
        return lost

    gradient = np.full((2, weight.shape[1]), np.inf)
    for _ in range(_STEPS):
        p = expit(x * fitted[0] + fitted[1])
        error, curvature = weight * (p - y), weight * p * (1 - p)
        gradient = np.stack([(error * x).sum(0), error.sum(0)])
        xx, x1, one = (curvature * x * x).sum(0), (curvature * x).sum(0), curvature.sum(0)
        if (np.abs(gradient) <= _CLOSE * total).all():
            break
        determinant = np.maximum(xx * one - x1 * x1, 1e-300)
        step = np.stack([one * gradient[0] - x1 * gradient[1], xx * gradient[1] - x1 * gradient[0]]) / determinant
        before, scale = loss(fitted), np.ones(weight.shape[1])
        for _ in range(20):
            worse = ~(loss(fitted - scale * step) <= before * (1 + 1e-12))
            if not worse.any():
                break
            scale[worse] /= 2
        fitted = fitted - scale * step
    return np.where((np.abs(gradient) <= 1e-6 * total).all(0) & ~parted, fitted, np.nan)
