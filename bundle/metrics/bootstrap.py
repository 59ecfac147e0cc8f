"""Bootstrap replicates of FROC, wAFROC and AUROC, all at once: a replicate is a vector of how often each unit is drawn.

Units (patients, or images where none is named) are drawn with replacement; every image of a unit comes along, with its
lesions and candidates. Scores are sorted once, and each replicate only sums its own weights along them, so nothing is
drawn, copied or sorted a thousand times. The sums are of whole numbers, hence exact: the figures equal those of a
resampled data set to the last bit for FROC, to rounding for areas.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13, for the percentile interval.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bundle.metrics.froc import FP_RATES, lesion_weights
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
    found = data.lesion_score > -np.inf
    levels = np.unique(data.lesion_score[found])
    groups = len(counts)
    # a false positive reaches the highest level not above it, and all below; those below every level matter nowhere
    fp_level = np.searchsorted(levels, data.fp_score, side="right") - 1
    reaches = fp_level >= 0
    fp = _weights(fp_level[reaches], unit[data.fp_image[reaches]], (len(levels), groups))
    lesion_level = np.searchsorted(levels, data.lesion_score[found])
    lesion = _weights(lesion_level, unit[data.lesion_image[found]], (len(levels), groups))
    images = np.bincount(unit[data.image], minlength=groups).astype(np.float64)
    lesions = np.bincount(unit[data.lesion_image], minlength=groups).astype(np.float64)

    result = np.empty((len(fp_rates), counts.shape[1]))
    for part, drawn in _chunks(counts, len(levels)):
        fp_reaching = _from_the_top(fp @ drawn)  # (levels, r), strictest first
        lesions_reaching = _from_the_top(lesion @ drawn)
        with np.errstate(invalid="ignore", divide="ignore"):  # nothing drawn: 0 / 0 is NaN, as it should be
            fp_per_image = fp_reaching / (images @ drawn)
            sensitivity = lesions_reaching / (lesions @ drawn)
        nothing_called = np.where(lesions @ drawn > 0, 0.0, np.nan)[None]
        sensitivity = np.concatenate([nothing_called, sensitivity])
        for i, rate in enumerate(fp_rates):
            point = (fp_per_image <= rate).sum(0)  # as many levels can be used, because the rate never falls
            result[i, part] = sensitivity[point, np.arange(sensitivity.shape[1])]
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
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), undefined)


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
