"""Bootstrap replicates of FROC, wAFROC and AUROC, all at once: a replicate is a vector of how often each unit is drawn.

Units (patients, or images where none is named) are drawn with replacement; every image of a unit comes along, with its
lesions and candidates. Scores are sorted once, and each replicate only sums its own weights along them, so nothing is
drawn, copied or sorted a thousand times. The sums are of whole numbers, hence exact: the figures equal those of a
resampled data set to the last bit for FROC, to rounding for areas.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13, for the percentile interval.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bundle.metrics.froc import FP_RATES, ROUNDING, lesion_weights
from bundle.metrics.records import FindingRecords, Floats, Integers

_CHUNK = 1 << 22  # numbers in one intermediate array: 32 MiB, about what the last cache level still helps with


class Interval(NamedTuple):
    """A percentile interval and the replicates it rests on."""

    low: float
    high: float
    undefined: int  # replicates left out because the figure is undefined in them


def draw_counts(units: int, replicates: int, seed: int) -> NDArray[np.int32]:
    """How often each unit is drawn in each replicate.

    Args:
        units: G, from which each replicate draws G with replacement.
        replicates: R.
        seed: of the generator; the same seed gives the same counts.

    Returns:
        (G, R) multinomial counts; every column sums to G.

    Raises:
        ValueError: where there is nothing to draw or no replicate wanted.
    """
    if units < 1 or replicates < 1:
        raise ValueError(f"a bootstrap needs at least one unit and one replicate, got {units} and {replicates}")
    generator = np.random.default_rng(seed)
    counts = np.empty((units, replicates), np.int32)
    for replicate in range(replicates):
        counts[:, replicate] = np.bincount(generator.integers(units, size=units), minlength=units)
    return counts


def froc_replicates(
    counts: NDArray[np.int32], data: FindingRecords, unit: Integers, fp_rates: Sequence[float] = FP_RATES
) -> Floats:
    """Sensitivity at each rate of false positives per image, in each replicate.

    Sensitivity rises only at lesions' scores. So per replicate it is enough to know, at each of these, the weights of
    the lesions and of the false positives that reach it; the loosest with FP/image <= x is the operating point.

    Args:
        counts: (G, R) from `draw_counts`.
        data: what counts for the finding.
        unit: (I,) unit of every image, 0..G-1.
        fp_rates: X rates.

    Returns:
        (X, R); NaN in replicates that drew no lesion.
    """
    steps = _Steps(data, unit, len(counts))
    result = np.empty((len(fp_rates), counts.shape[1]))
    for part, drawn in _chunks(counts, len(steps)):
        fp_per_image, sensitivity, defined = steps.of(drawn)
        sensitivity = np.concatenate([np.where(defined, 0.0, np.nan)[None], sensitivity])  # first: nothing called
        for i, rate in enumerate(fp_rates):
            point = (fp_per_image <= rate).sum(0)  # as many levels can be used, because the rate never falls
            result[i, part] = sensitivity[point, np.arange(sensitivity.shape[1])]
    return result


def fp_at_sensitivity_replicates(
    counts: NDArray[np.int32], data: FindingRecords, unit: Integers, sensitivities: ArrayLike
) -> Floats:
    """False positives per image at each sensitivity, in each replicate: `bundle.metrics.froc.fp_at_sensitivity`.

    Args:
        counts: (G, R) from `draw_counts`.
        data: what counts for the finding.
        unit: (I,) unit of every image, 0..G-1.
        sensitivities: (X,), or (X, R) where each replicate has its own, as when the sensitivity to match is itself
            an estimate.

    Returns:
        (X, R); +inf in replicates that do not reach the sensitivity, NaN in those that drew no lesion.
    """
    return mean_fp_at_sensitivity_replicates(counts, [data], unit, sensitivities)


def mean_fp_at_sensitivity_replicates(
    counts: NDArray[np.int32], selections: Sequence[FindingRecords], unit: Integers, sensitivities: ArrayLike
) -> Floats:
    """`bundle.metrics.froc.fp_at_sensitivity` of several findings' `mean_curve`, in each replicate.

    The mean curve rises where a finding's does, by that rise over K. So the rises of all findings are sorted by their
    rate of false positives and summed, until the sum reaches the sensitivity.

    Args:
        counts: (G, R) from `draw_counts`.
        selections: what counts for each of the K findings.
        unit: (I,) unit of every image, 0..G-1.
        sensitivities: (X,), or (X, R) where each replicate has its own.

    Returns:
        (X, R); +inf in replicates that do not reach the sensitivity, NaN in those in which a finding drew no lesion.
    """
    wanted = np.asarray(sensitivities, np.float64)
    wanted = np.broadcast_to(wanted.reshape(len(wanted), -1), (len(wanted), counts.shape[1]))
    every = [_Steps(data, unit, len(counts)) for data in selections]
    result = np.empty(wanted.shape)
    for part, drawn in _chunks(counts, sum(map(len, every))):
        rates, sensitivity, defined = map(list, zip(*(steps.of(drawn) for steps in every), strict=True))
        fp_per_image, reached = rates[0], sensitivity[0]
        if len(every) > 1:
            rises = np.concatenate([np.diff(each, axis=0, prepend=0.0) for each in sensitivity])
            fp_per_image = np.concatenate(rates)
            order = np.argsort(fp_per_image, 0)
            fp_per_image = np.take_along_axis(fp_per_image, order, 0)
            reached = np.take_along_axis(rises, order, 0).cumsum(0) / len(every)
        never = np.full((1, drawn.shape[1]), np.inf)
        rate = np.concatenate([np.zeros_like(never), fp_per_image, never])  # before: nothing called; after: no end
        for i, s in enumerate(wanted[:, part]):
            point = np.where(s <= ROUNDING, 0, 1 + (reached < s - ROUNDING).sum(0))
            result[i, part] = np.where(np.all(defined, 0), rate[point, np.arange(rate.shape[1])], np.nan)
    return result


def wafroc_replicates(counts: NDArray[np.int32], data: FindingRecords, unit: Integers) -> Floats:
    """wAFROC area in each replicate: `bundle.metrics.froc.wafroc` as the weighted AUROC that it is.

    Args:
        counts: (G, R) from `draw_counts`.
        data: what counts for the finding.
        unit: (I,) unit of every image, 0..G-1.

    Returns:
        (R,); NaN in replicates that drew no lesion or no lesion-free image.
    """
    return auroc_replicates(
        counts,
        data.normal_score,
        unit[data.normal_image],
        data.lesion_score,
        unit[data.lesion_image],
        lesion_weights(data.lesion_image),
    )


def auroc_replicates(
    counts: NDArray[np.int32],
    negative: Floats,
    negative_unit: Integers,
    positive: Floats,
    positive_unit: Integers,
    positive_weight: Floats | None = None,
) -> Floats:
    """Area under the ROC curve in each replicate.

        sum_ij w_i w_j ([p_i > n_j] + [p_i = n_j] / 2) / (sum_i w_i · sum_j w_j)

    with w the times the unit was drawn, the positives' multiplied by their own weight.

    Args:
        counts: (G, R) from `draw_counts`.
        negative: (N,) scores, -inf allowed.
        negative_unit: (N,) their units.
        positive: (P,) scores, -inf allowed.
        positive_unit: (P,) their units.
        positive_weight: (P,) weights; None for 1.

    Returns:
        (R,); NaN in replicates without positives or without negatives.
    """
    levels, level = np.unique(np.concatenate([negative, positive]), return_inverse=True)
    shape = (len(levels), len(counts))
    below = _weights(level[: len(negative)], negative_unit, shape)
    above = _weights(level[len(negative) :], positive_unit, shape, positive_weight)
    result = np.empty(counts.shape[1])
    for part, drawn in _chunks(counts, len(levels)):
        n, p = below @ drawn, above @ drawn  # (levels, r), lowest first
        wins = np.einsum("lr,lr->r", p, np.cumsum(n, 0) - n / 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            result[part] = wins / (p.sum(0) * n.sum(0))
    return result


def interval(replicates: Floats, level: float = 0.95) -> Interval:
    """Percentile interval over the replicates in which the figure is defined.

    Infinite replicates are defined and take their place at the end. Between a finite and an infinite one there is no
    number, so an end that falls between two replicates is then the outer of them.

    Args:
        replicates: (R,), NaN where undefined.
        level: of confidence.

    Returns:
        The quantiles (1 - level) / 2 and (1 + level) / 2, NaN if no replicate is defined, and the number left out.
    """
    defined = replicates[~np.isnan(replicates)]
    undefined = len(replicates) - len(defined)
    if not len(defined):
        return Interval(float("nan"), float("nan"), undefined)
    ends = (1 - level) / 2, (1 + level) / 2
    if np.isfinite(defined).all():
        low, high = np.quantile(defined, ends)
        return Interval(float(low), float(high), undefined)
    ordered, last = np.sort(defined), len(defined) - 1
    return Interval(float(ordered[math.floor(ends[0] * last)]), float(ordered[math.ceil(ends[1] * last)]), undefined)


class _Steps:
    """Where one finding's sensitivity rises: at its lesions' scores, its levels.

    Args:
        data: what counts for the finding.
        unit: (I,) unit of every image, 0..G-1.
        groups: G.
    """

    def __init__(self, data: FindingRecords, unit: Integers, groups: int) -> None:
        found = data.lesion_score > -np.inf
        levels = np.unique(data.lesion_score[found])
        shape = (len(levels), groups)
        # a false positive reaches the highest level not above it, and all below; those below every level matter nowhere
        fp_level = np.searchsorted(levels, data.fp_score, side="right") - 1
        reaches = fp_level >= 0
        self._fp = _weights(fp_level[reaches], unit[data.fp_image[reaches]], shape)
        lesion_level = np.searchsorted(levels, data.lesion_score[found])
        self._lesion = _weights(lesion_level, unit[data.lesion_image[found]], shape)
        self._images = np.bincount(unit[data.image], minlength=groups).astype(np.float64)
        self._lesions = np.bincount(unit[data.lesion_image], minlength=groups).astype(np.float64)

    def __len__(self) -> int:
        return self._fp.shape[0]

    def of(self, drawn: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """(G, r) draws -> FP/image and sensitivity at every level, strictest first (levels, r); lesions drawn? (r,)."""
        lesions = self._lesions @ drawn
        with np.errstate(invalid="ignore", divide="ignore"):  # nothing drawn: 0 / 0 is NaN, as it should be
            fp_per_image = _from_the_top(self._fp @ drawn) / (self._images @ drawn)
            sensitivity = _from_the_top(self._lesion @ drawn) / lesions
        return fp_per_image, sensitivity, lesions > 0


def _weights(
    level: Integers, unit: Integers, shape: tuple[int, int], weight: Floats | None = None
) -> "sparse.csr_array":
    """(levels, G) matrix that carries counts of units to weights at score levels."""
    return sparse.csr_array((np.ones(len(level)) if weight is None else weight, (level, unit)), shape)


def _chunks(counts: NDArray[np.int32], levels: int) -> Iterator[tuple[slice, Floats]]:
    """Replicates a part at a time, as float64, so that no array of the computation exceeds `_CHUNK` numbers."""
    width = max(1, _CHUNK // max(levels, len(counts), 1))
    for start in range(0, counts.shape[1], width):
        part = slice(start, start + width)
        yield part, counts[:, part].astype(np.float64)


def _from_the_top(weights: Floats) -> Floats:
    """Sums over each level and all higher ones, highest level first: (levels, r) ascending -> (levels, r)."""
    return np.cumsum(weights[::-1], 0)
