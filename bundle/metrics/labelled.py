"""Scores beside labels: which labels are known, and the refusal of a score that says nothing, by its place."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.arrays import as_array
from bundle.metrics.records import Floats


def check_labelled(scores: ArrayLike, label: ArrayLike) -> tuple[Floats, Floats]:
    """Scores and labels, tensors or arrays, as float64 arrays, or an error that names the place of the fault.

    Args:
        scores: (I,) or (I, K), finite wherever the label is known.
        label: the same shape; 1, 0 or NaN (unknown).

    Returns:
        Both, unchanged.

    Raises:
        ValueError: where shapes differ, a label is none of the three, or the score of a known label is not finite.
    """
    values, labels = as_array(scores), as_array(label)
    if values.shape != labels.shape or values.ndim not in (1, 2):
        raise ValueError(f"scores and labels must both be (I,) or (I, K), got {values.shape} and {labels.shape}")
    known = ~np.isnan(labels)
    for name, array, fault, wanted in (
        ("label", labels, known & (labels != 0) & (labels != 1), "a label is 1, 0 or NaN (unknown)"),
        ("score", values, known & ~np.isfinite(values), "a labelled image needs a finite score"),
    ):
        if fault.any():
            place = np.argwhere(fault)[0].tolist()
            where = f"row {place[0]}" + "".join(f", finding {k}" for k in place[1:])
            raise ValueError(f"the {name} at {where} is {array[tuple(place)]:g}; {wanted}")
    return values, labels


def known_pairs(scores: ArrayLike, label: ArrayLike) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """The images of one finding whose label is known.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown).

    Returns:
        Of the N images with a known label the scores (N,) and whether each is positive (N,); and which of all they
        are (I,).

    Raises:
        ValueError: as `check_labelled`, or where there is more than one finding.
    """
    values, labels = check_labelled(scores, label)
    if values.ndim != 1:
        raise ValueError(f"scores of one finding must be (I,), got {values.shape}")
    known = ~np.isnan(labels)
    return values[known], labels[known] == 1, known


def lacking_class(positive: NDArray[np.bool_]) -> str | None:
    """Why a figure that compares the two classes is undefined, or None where both are there."""
    if positive.any() and not positive.all():
        return None
    return f"no {'negative' if positive.any() else 'positive'} images"
