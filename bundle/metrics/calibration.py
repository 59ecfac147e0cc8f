"""Whether probabilities mean what they say, and a slope and an offset per finding to mend them, fitted on validation.

Sources: Brier, "Verification of forecasts expressed in terms of probability" (Mon. Weather Rev. 78, 1950); Naeini et
al., "Obtaining well calibrated probabilities using Bayesian binning" (AAAI 2015) for the expected calibration error;
Platt, "Probabilistic outputs for support vector machines" (Advances in Large Margin Classifiers, 1999).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from bundle.metrics.draws import Draws
from bundle.metrics.labelled import known_pairs, lacking_class
from bundle.metrics.records import Floats, Integers
from bundle.probability import calibrated, margin

Binning = Literal["equal_width", "equal_mass"]
BINNINGS = ("equal_width", "equal_mass")
NO_LABELS = "no labelled images"
NOT_RISING = "the scores do not rise with the label: no calibration keeps their order"


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
    probability: ArrayLike, label: ArrayLike, bins: int = 10, binning: Binning = "equal_width", level: float = 0.95
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
    values, positive, _ = _probabilities(probability, label)
    if bins < 1 or binning not in BINNINGS:
        raise ValueError(f"bins must be >= 1 and binning one of {BINNINGS}, got {bins} and {binning!r}")
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    if binning == "equal_mass" and len(values):
        inner = np.quantile(values, inner)
    place = np.searchsorted(inner, values)
    count, total, hits = (np.bincount(place, weight, bins) for weight in (None, values, positive))
    filled = count > 0
    count = count[filled]
    wilson = [
        binomtest(int(k), int(n)).proportion_ci(level, method="wilson")
        for k, n in zip(hits[filled], count, strict=True)
    ]
    low, high = np.array(wilson).reshape(-1, 2).T
    return ReliabilityCurve(total[filled] / count, hits[filled] / count, low, high, count)


def calibration_error(probability: ArrayLike, label: ArrayLike, draws: Draws | None = None, bins: int = 10) -> Floats:
    """Expected calibration error: sum_b n_b / N · |observed_b - predicted_b| over bins of equal width.

    It depends on the bins, so name them beside it; with few images it is biased upwards. Not a proper score: always
    saying the prevalence has no error. `brier_score` is one.

    Drawing images again adds noise to every bin, and the absolute difference turns noise into error: replicates lie
    above the figure that they belong to by about as much as it lies above the true one. They are moved to have it as
    their mean, and not below 0.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        draws: of the images, the sample first; None for the sample alone.
        bins: how many, as `reliability_curve` makes them.

    Returns:
        (C,) errors, 0..1; NaN in columns without a labelled image.

    Raises:
        ValueError: as `reliability_curve`.
    """
    values, positive, known = _probabilities(probability, label)
    if bins < 1:
        raise ValueError(f"bins must be >= 1, got {bins}")
    draws = (Draws.alone(len(known)) if draws is None else draws).at(known)
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], values)
    mine = bin_of == np.arange(bins)[:, None]  # (bins, N)
    excess = draws.sums(np.where(mine, positive - values, 0.0))  # positives less predicted ones, of every bin
    with np.errstate(invalid="ignore"):  # nothing drawn: 0 / 0 is NaN, as it should be
        error: Floats = np.abs(excess).sum(0) / draws.sums(np.ones((1, len(values))))[0]
    if len(error) > 1 and len(values):
        error[1:] = np.maximum(error[1:] - (np.nanmean(error[1:]) - error[0]), 0.0)
    return error


def brier_score(probability: ArrayLike, label: ArrayLike, draws: Draws | None = None) -> Floats:
    """Mean of (p - y)^2.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        draws: of the images; None for the sample alone.

    Returns:
        (C,) scores, 0 (perfect) to 1, the sample's first; NaN in columns without a labelled image.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, or for a value outside 0..1.
    """
    values, positive, known = _probabilities(probability, label)
    draws = (Draws.alone(len(known)) if draws is None else draws).at(known)
    return draws.mean(np.square(values - positive))


def fit_platt(probability: ArrayLike, label: ArrayLike) -> tuple[float, float, str | None]:
    """Slope and offset of one finding that make sigmoid(a · margin(p) + b) the likeliest: fit them on validation.

    The logarithmic loss against Platt's targets, (N+ + 1) / (N+ + 2) for positives and 1 / (N- + 2) for negatives,
    which keep the minimum finite where the scores part both classes. A temperature alone, b = 0, cannot mend scores
    that are all too high.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.

    Returns:
        a > 0, b and None; or NaN, NaN and the reason why there are none.

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`, or for a value outside 0..1.
    """
    values, positive, _ = _probabilities(probability, label)
    if reason := lacking_class(positive):
        return float("nan"), float("nan"), reason
    from sklearn.linear_model import LogisticRegression  # a second to load: only for those who fit

    feature, hits = margin(values)[:, None], int(positive.sum())
    if np.ptp(feature) == 0:
        return float("nan"), float("nan"), NOT_RISING
    target = np.where(positive, (hits + 1) / (hits + 2), 1 / (len(values) - hits + 2))
    twice, of_both = np.concatenate([feature, feature]), np.repeat([1, 0], len(values))
    fit = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    fit.fit(twice, of_both, sample_weight=np.concatenate([target, 1 - target]))
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if not slope > 0:
        return float("nan"), float("nan"), NOT_RISING
    return slope, offset, None


def by_other_half(probability: ArrayLike, label: ArrayLike, unit: Integers) -> tuple[Floats, str | None]:
    """What recalibration on some of these patients would make of the others: `fit_platt` on every second one.

    Args:
        probability: (I,) 0..1 wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown).
        unit: (I,) patient of every image, 0..G-1; the even ones calibrate the odd ones, and the reverse.

    Returns:
        (I,) calibrated probabilities, and None; or the reason why a half cannot calibrate.
    """
    values, known = np.asarray(probability, np.float64), np.asarray(label, np.float64)
    mended = np.full(values.shape, np.nan)
    for half in (0, 1):
        teaching = unit % 2 != half
        slope, offset, reason = fit_platt(values[teaching], known[teaching])
        if reason:
            return mended, f"half of the patients cannot calibrate: {reason}"
        mended[~teaching] = calibrated(values[~teaching], slope, offset)
    return mended, None


def _probabilities(probability: ArrayLike, label: ArrayLike) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    values, positive, known = known_pairs(probability, label)
    if len(values) and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"probabilities must lie in 0..1, got {values.min():g}..{values.max():g}; of logits, take the sigmoid first"
        )
    return values, positive, known
