"""Whether probabilities mean what they say, and one temperature per finding to mend them, fitted on validation.

Sources: Brier, "Verification of forecasts expressed in terms of probability" (Mon. Weather Rev. 78, 1950); Naeini et
al., "Obtaining well calibrated probabilities using Bayesian binning" (AAAI 2015) for the expected calibration error;
Guo et al., "On calibration of modern neural networks" (ICML 2017) for temperature scaling.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from bundle.metrics.cumulative import as_array
from bundle.metrics.labelled import check_labelled, known_pairs, lacking_class
from bundle.metrics.operating_point import proportion
from bundle.metrics.records import Floats, Integers

Binning = Literal["equal_width", "equal_mass"]
BINNINGS = ("equal_width", "equal_mass")

Scores = torch.Tensor | ArrayLike


@dataclass(frozen=True)
class ReliabilityCurve:
    """Predicted against observed, in the bins that hold an image.

    Attributes:
        predicted: (M,) mean probability in each bin, rising.
        observed: (M,) share of positives.
        low: (M,) lower end of the Wilson interval of `observed`.
        high: (M,) upper end.
        count: (M,) images.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: Integers


def reliability_curve(
    probability: Scores, label: Scores, bins: int = 10, binning: Binning = "equal_width", level: float = 0.95
) -> ReliabilityCurve:
    """Share of positives against mean probability, by bins of probability.

    Edges are b/bins for `equal_width`, and the b/bins quantiles of the probabilities for `equal_mass`. A probability
    on an edge belongs to the bin below it. Empty bins are left out: many ties leave few bins of equal mass.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        bins: how many, >= 1.
        binning: "equal_width" or "equal_mass".
        level: of confidence.

    Returns:
        The curve; empty without known labels.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, for a value outside 0..1, no bin or an unknown
            binning.
    """
    values, positive = _probabilities(probability, label)
    if bins < 1 or binning not in BINNINGS:
        raise ValueError(f"bins must be >= 1 and binning one of {BINNINGS}, got {bins} and {binning!r}")
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    if binning == "equal_mass" and len(values):
        inner = np.quantile(values, inner)
    place = np.searchsorted(inner, values)
    count, total, hits = (np.bincount(place, weight, bins) for weight in (None, values, positive))
    filled = count > 0
    count = count[filled]
    shares = [proportion(int(k), int(n), level) for k, n in zip(hits[filled], count, strict=True)]
    return ReliabilityCurve(
        predicted=total[filled] / count,
        observed=np.array([share.value for share in shares]),
        low=np.array([share.low for share in shares]),
        high=np.array([share.high for share in shares]),
        count=count,
    )


def calibration_error(
    probability: Scores, label: Scores, bins: int = 10, binning: Binning = "equal_width"
) -> tuple[float, str | None]:
    """Expected calibration error: sum_b n_b / N · |observed_b - predicted_b| over the bins of `reliability_curve`.

    It depends on the bins, so name them beside it; with few images it is biased upwards. Not a proper score: always
    saying the prevalence has no error. `brier_score` is one.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        bins: how many, >= 1.
        binning: "equal_width" or "equal_mass".

    Returns:
        The error, 0..1, and None; or NaN and the reason why it is undefined.

    Raises:
        ValueError: as `reliability_curve`.
    """
    curve = reliability_curve(probability, label, bins, binning)
    if not len(curve.count):
        return float("nan"), "no labelled images"
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.count)), None


def brier_score(probability: Scores, label: Scores) -> tuple[float, str | None]:
    """Mean of (p - y)^2.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.

    Returns:
        The score, 0 (perfect) to 1, and None; or NaN and the reason why it is undefined.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, or for a value outside 0..1.
    """
    values, positive = _probabilities(probability, label)
    if not len(values):
        return float("nan"), "no labelled images"
    return float(np.square(values - positive).mean()), None


def fit_temperature(logits: Scores, label: Scores) -> tuple[float, str | None]:
    """The temperature T of one finding that makes sigmoid(z / T) the likeliest: fit it on validation.

    The mean of log(1 + exp(-b m_i)), with m_i = (2 y_i - 1) z_i and b = 1 / T, is convex in b. It has its minimum at a
    finite b > 0 exactly where sum m_i > 0 and some m_i < 0; there its slope, -mean(m_i sigmoid(-b m_i)), is 0.

    Not a shift: where the prompts favour one answer for all images, T can only damp it.

    Args:
        logits: (I,) log-odds of the finding, s⟨e, t+⟩ - s⟨e, t-⟩ of a prompt pair, finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.

    Returns:
        T > 0 and None; or NaN and the reason why there is none.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, _ = known_pairs(logits, label)
    if reason := lacking_class(positive):
        return float("nan"), reason
    margin = np.where(positive, values, -values)
    if margin.sum() <= 0:
        return float("nan"), "the logits do not point towards the labels: no temperature beats a probability of 1/2"
    if (margin >= 0).all():
        return float("nan"), "the logits' sign is right for every image: the likeliest temperature is 0"

    def slope(sharpness: float) -> float:
        return -float(np.mean(margin * expit(-sharpness * margin)))

    scale = float(np.abs(margin).max())  # the search is of b · scale, so that it does not depend on the logits' unit
    upper = 1.0
    while slope(upper / scale) < 0:
        upper *= 2
    return scale / float(brentq(lambda b: slope(b / scale), 0.0, upper, xtol=1e-12)), None


def fit_temperatures(logits: Scores, label: Scores) -> tuple[Floats, tuple[str | None, ...]]:
    """`fit_temperature` of each finding.

    Args:
        logits: (I, K) log-odds, finite wherever the label is known.
        label: (I, K) 1, 0 or NaN (unknown).

    Returns:
        (K,) temperatures, NaN where there is none, and the K reasons.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, or where there is no finding axis.
    """
    values, labels = check_labelled(logits, label)
    if values.ndim != 2:
        raise ValueError(f"logits must be (I, K), got {values.shape}; of one finding: fit_temperature")
    fits = [fit_temperature(values[:, k], labels[:, k]) for k in range(values.shape[1])]
    return np.array([value for value, _ in fits]), tuple(reason for _, reason in fits)


def scaled_probability(logits: Scores, temperature: Scores) -> Floats:
    """sigmoid(z / T).

    Args:
        logits: (I, K) or (I,) log-odds; NaN stays NaN.
        temperature: (K,) or a single T > 0.

    Returns:
        Probabilities, of the logits' shape.

    Raises:
        ValueError: where a temperature is not above 0 or NaN.
    """
    divisor = as_array(temperature)
    if not ((divisor > 0) & np.isfinite(divisor)).all():
        raise ValueError(
            f"temperatures must be finite and above 0, got {divisor.tolist()}; "
            "where none could be fitted, leave the finding as it is by T = 1"
        )
    result: Floats = expit(as_array(logits) / divisor)
    return result


def _probabilities(probability: Scores, label: Scores) -> tuple[Floats, NDArray[np.bool_]]:
    values, positive, _ = known_pairs(probability, label)
    if len(values) and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"probabilities must lie in 0..1, got {values.min():g}..{values.max():g}; of logits, take the sigmoid first"
        )
    return values, positive
