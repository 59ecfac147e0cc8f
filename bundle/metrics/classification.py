"""Area under the ROC curve of whole-image scores, per finding, with unknown labels left out."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from bundle.metrics.draws import Draws
from bundle.metrics.labelled import known_pairs
from bundle.metrics.records import Floats


def auroc(scores: ArrayLike, label: ArrayLike, draws: Draws | None = None) -> Floats:
    """Area under the ROC curve of one finding: the chance that a positive scores above a negative, ties one half.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.
        draws: of the images; None for the sample alone.

    Returns:
        (C,) areas, 0..1, the sample's first; NaN in columns that lack positives or negatives
        (`bundle.metrics.labelled.lacking_class` says which).

    Raises:
        ValueError: as `bundle.metrics.labelled.check_labelled`.
    """
    values, positive, known = known_pairs(scores, label)
    own = (Draws.alone(len(known)) if draws is None else draws).at(known)
    return area_above(values[~positive], values[positive], own.at(~positive), own.at(positive))


def area_above(
    negative: Floats, positive: Floats, of_negative: Draws, of_positive: Draws, weight: Floats | None = None
) -> Floats:
    """The chance that one of the positives scores above one of the negatives, ties one half.

        sum_ij w_i w_j ([p_i > n_j] + [p_i = n_j] / 2) / (sum_i w_i · sum_j w_j)

    with w the times the unit counts, the positives' multiplied by their own weight.

    Args:
        negative: (N,) scores, -inf allowed.
        positive: (P,) scores, -inf allowed.
        of_negative, of_positive: the same draws, of the negatives and of the positives.
        weight: (P,) weights; None for 1.

    Returns:
        (C,); NaN in columns without positives or without negatives.
    """
    levels, level = np.unique(np.concatenate([negative, positive]), return_inverse=True)
    shape = (len(levels), len(of_negative.counts))
    ones = np.ones(len(negative)), np.ones(len(positive)) if weight is None else weight
    below = sparse.csr_array((ones[0], (level[: len(negative)], of_negative.unit)), shape)
    above = sparse.csr_array((ones[1], (level[len(negative) :], of_positive.unit)), shape)
    result = np.full(of_negative.counts.shape[1], np.nan)
    for part, drawn in of_negative.chunks(len(levels)) if len(levels) else ():
        n, p = below @ drawn, above @ drawn  # (levels, c), lowest first
        # summed one by one: the last bit of a figure does not depend on how many columns stand beside it
        wins, weights = (np.cumsum(each, 0)[-1] for each in (p * (np.cumsum(n, 0) - n / 2), p))
        with np.errstate(invalid="ignore", divide="ignore"):
            result[part] = wins / (weights * n.sum(0))
    return result
