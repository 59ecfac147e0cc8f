"""Figures of the FROC curve of a finding, in the sample and in every replicate of it (`bundle.metrics.draws`).

The sums are of whole numbers, hence exact: the figures equal those of a resampled data set, read off
`bundle.metrics.froc.froc_curve`, to the last bit; areas to rounding.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bundle.metrics.classification import area_above
from bundle.metrics.draws import Draws
from bundle.metrics.froc import FP_RATES, ROUNDING, lesion_weights
from bundle.metrics.records import FindingRecords, Floats, Integers


def sensitivities(draws: Draws, data: FindingRecords, fp_rates: Sequence[float] = FP_RATES) -> Floats:
    """Sensitivity at each rate of false positives per image: `bundle.metrics.froc.sensitivity_at`.

    Sensitivity rises only at lesions' scores. So per column it is enough to know, at each of these, the weights of the
    lesions and of the false positives that reach it; the loosest with FP/image <= x is the operating point.

    Args:
        draws: of the images.
        data: what counts for the finding.
        fp_rates: X rates.

    Returns:
        (X, C); NaN in columns without lesions.
    """
    steps = _Steps(data, draws)
    result = np.empty((len(fp_rates), draws.counts.shape[1]))
    for part, drawn in draws.chunks(len(steps)):
        fp_per_image, sensitivity, defined = steps.of(drawn)
        sensitivity = np.concatenate([np.where(defined, 0.0, np.nan)[None], sensitivity])  # first: nothing called
        for i, rate in enumerate(fp_rates):
            point = (fp_per_image <= rate).sum(0)  # as many levels can be used, because the rate never falls
            result[i, part] = sensitivity[point, np.arange(sensitivity.shape[1])]
    return result


def fp_at_sensitivities(draws: Draws, selections: Sequence[FindingRecords], wanted: ArrayLike) -> Floats:
    """False positives per image at each sensitivity, read off the mean curve of K findings (one: its own).

        min { x : (1 / K) sum_k sensitivity_k(x) >= s - 1e-9 },  and +inf where no rate x reaches s.

    x is the same for every finding. Infinite, not NaN, because it is known: however many false positives are accepted,
    the method does not find that many lesions. The mean curve rises where a finding's does, by that rise over K. So the
    rises of all findings are sorted by their rate of false positives and summed, until the sum reaches the sensitivity.

    Args:
        draws: of the images.
        selections: what counts for each of the K findings.
        wanted: (X,) sensitivities, or (X, C) where each column has its own, as when the sensitivity to match is itself
            an estimate.

    Returns:
        (X, C); +inf in columns that do not reach the sensitivity, NaN in those in which a finding has no lesion.

    Raises:
        ValueError: where a sensitivity does not lie in 0..1.
    """
    each = np.asarray(wanted, np.float64)
    if ((each < 0) | (each > 1)).any() or (each.ndim == 1 and np.isnan(each).any()):
        raise ValueError(f"a sensitivity must lie in 0..1, got {each.min():g} to {each.max():g}")
    each = np.broadcast_to(each.reshape(len(each), -1), (len(each), draws.counts.shape[1]))
    every = [_Steps(data, draws) for data in selections]
    result = np.empty(each.shape)
    for part, drawn in draws.chunks(sum(map(len, every))):
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
        for i, s in enumerate(each[:, part]):
            point = np.where(s <= ROUNDING, 0, 1 + (reached < s - ROUNDING).sum(0))
            result[i, part] = np.where(np.all(defined, 0), rate[point, np.arange(rate.shape[1])], np.nan)
    return result


def wafroc_area(draws: Draws, data: FindingRecords) -> Floats:
    """Area under the wAFROC curve, `bundle.metrics.froc.wafroc`, as the weighted AUROC that it is.

    Args:
        draws: of the images.
        data: what counts for the finding.

    Returns:
        (C,); NaN in columns without lesions or without lesion-free images.
    """
    return area_above(
        data.normal_score,
        data.lesion_score,
        draws.at(data.normal_image),
        draws.at(data.lesion_image),
        lesion_weights(data.lesion_image),
    )


class _Steps:
    """Where one finding's sensitivity rises: at its lesions' scores, its levels."""

    def __init__(self, data: FindingRecords, draws: Draws) -> None:
        found, unit, groups = data.lesion_score > -np.inf, draws.unit, len(draws.counts)
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
        """(G, c) counts -> FP/image and sensitivity at every level, strictest first (levels, c); any lesions? (c,)."""
        lesions = self._lesions @ drawn
        with np.errstate(invalid="ignore", divide="ignore"):  # nothing drawn: 0 / 0 is NaN, as it should be
            fp_per_image = _from_the_top(self._fp @ drawn) / (self._images @ drawn)
            sensitivity = _from_the_top(self._lesion @ drawn) / lesions
        return fp_per_image, sensitivity, lesions > 0


def _weights(level: Integers, unit: Integers, shape: tuple[int, int]) -> "sparse.csr_array":
    """(levels, G) matrix that carries counts of units to weights at score levels."""
    return sparse.csr_array((np.ones(len(level)), (level, unit)), shape)


def _from_the_top(weights: Floats) -> Floats:
    """Sums over each level and all higher ones, highest level first: (levels, c) ascending -> (levels, c)."""
    return np.cumsum(weights[::-1], 0)
