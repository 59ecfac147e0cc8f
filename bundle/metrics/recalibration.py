"""Calibration slope and intercept: what a logistic recalibration of probabilities would still change.

Source: Cox, "Two further applications of a model for binary regression" (Biometrika 45, 1958); Van Calster et al.,
"Calibration: the Achilles heel of predictive analytics" (BMC Med. 17, 2019), for their use and names.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from bundle.metrics.draws import Draws
from bundle.metrics.labelled import known_pairs, lacking_class
from bundle.metrics.records import Floats
from bundle.probability import margin

APART = "the probabilities part both classes, or are all the same: no slope is the likeliest"
_STEPS, _CLOSE = 50, 1e-10  # Newton's steps; a gradient an image that is none


def recalibration(probability: ArrayLike, label: ArrayLike, draws: Draws | None = None) -> Floats:
    """Slope b and intercept a of logit(P(y = 1)) = a + b · logit(p), the likeliest on these images.

    1 and 0 where probabilities mean what they say. b < 1: too extreme; a < 0, at b = 1: too high.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        draws: of the images; None for the sample alone.

    Returns:
        Slopes and intercepts (2, C), the sample's first; NaN in columns that lack a class or whose classes the
        probabilities part: `undefined` says which it is.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, known = known_pairs(probability, label)
    draws = (Draws.alone(len(known)) if draws is None else draws).at(known)
    feature, result = margin(values), np.empty((2, draws.counts.shape[1]))
    for part, drawn in draws.chunks(len(values)):
        result[:, part] = _fits(feature, positive, drawn[draws.unit])
    return result


def undefined(label: ArrayLike) -> str:
    """Why `recalibration` of images with these labels (I,) is NaN, where it is."""
    known = np.asarray(label, np.float64)
    return lacking_class(known[~np.isnan(known)] == 1) or APART


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
