"""The free-response ROC curve, its figures of merit, and nothing else: scores in, numbers out.

Which candidate is a false positive and what a lesion's score is, `bundle.metrics.matching` decides; the figures with
their replicates are `bundle.metrics.froc_figures`.

Sources: Bunch et al., "A free response approach to the measurement and characterization of radiographic observer
performance" (Proc. SPIE 0127, 1977; J. Appl. Photogr. Eng. 4, 1978) for FROC; Chakraborty and Berbaum, "Observer
studies involving detection and localization" (Med. Phys. 31, 2004) and Chakraborty and Zhai, "On the meaning of the
weighted alternative free-response operating characteristic figure of merit" (Med. Phys. 43, 2016) for wAFROC; the
seven rates and their mean are those of the LUNA16 and CAMELYON16 challenges.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.classification import area_above
from bundle.metrics.draws import Draws

FP_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
ROUNDING = 1e-9  # sensitivities this near are equal: far below one lesion of any data set, far above rounding

Scores = ArrayLike


@dataclass(frozen=True)
class FROCCurve:
    """Operating points from the strictest to the loosest threshold; the first is +inf, at which nothing is called.

    Attributes:
        fp_per_image: (T,) false positives with score >= threshold, per image; never falls.
        sensitivity: (T,) share of lesions with score >= threshold; never falls. NaN if there are no lesions.
        thresholds: (T,) +inf, then every distinct finite score, falling.
    """

    fp_per_image: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def froc_curve(fp_scores: Scores, lesion_scores: Scores, num_images: int) -> FROCCurve:
    """FROC curve of one finding.

    At every distinct score t,

        fp_per_image(t) = #{fp_scores >= t} / num_images,   sensitivity(t) = #{lesion_scores >= t} / #lesion_scores.

    Equal scores move together, so ties give one point however they are ordered. The loosest point is kept: a single
    lesion found with no false positive gives sensitivity 1 at 0 per image. A missed lesion (-inf) is in the
    denominator and is never reached. O(n log n).

    Not an ROC curve: the abscissa is a rate without upper end, so there is no area below it; use `froc_score` or
    `wafroc`. Not a count of hits: extra candidates on a found lesion must not be given at all.

    Args:
        fp_scores: (F,) finite scores of the candidates that hit nothing.
        lesion_scores: (L,) best score of each lesion, -inf where missed.
        num_images: images that count, with and without lesions.

    Returns:
        The curve, with 1 + (number of distinct finite scores) points.

    Raises:
        ValueError: where a score is NaN or +inf, a false positive's is -inf, an input is not one-dimensional, or
            num_images is not a positive whole number.

    Warns:
        UserWarning: without lesions; sensitivity is then NaN.
    """
    fp, lesion = check_scores(fp_scores, lesion_scores)
    if num_images <= 0 or num_images != int(num_images):
        raise ValueError(f"num_images must be a positive whole number, got {num_images}")
    # sorted once, together: what is not a lesion at a level is a false positive
    found = np.sort(lesion[lesion > -np.inf])
    levels, number = np.unique(np.concatenate([fp, found]), return_counts=True)
    lesions = np.bincount(np.searchsorted(levels, found), minlength=len(levels))
    thresholds = np.concatenate([[np.inf], levels[::-1]])
    if not len(lesion):
        warnings.warn("no lesions: the sensitivity of this FROC curve is undefined (NaN)", UserWarning, stacklevel=2)
        sensitivity = np.full(len(thresholds), np.nan)
    else:
        sensitivity = _reaching(lesions) / len(lesion)
    return FROCCurve(_reaching(number - lesions) / int(num_images), sensitivity, thresholds)


def sensitivity_at(curve: FROCCurve, fp_per_image: float) -> float:
    """Sensitivity at a false-positive rate: that of the loosest operating point at or below it.

    A step, without interpolation: every value is one that a threshold attains.

    Args:
        curve: from `froc_curve`.
        fp_per_image: false positives per image, >= 0. Beyond the end of the curve its last point holds.

    Returns:
        The sensitivity, 0..1, or NaN where the curve has no lesions.

    Raises:
        ValueError: where the rate is negative or NaN.
    """
    if not fp_per_image >= 0:
        raise ValueError(f"a rate of false positives per image must be >= 0, got {fp_per_image}")
    return float(curve.sensitivity[np.searchsorted(curve.fp_per_image, fp_per_image, side="right") - 1])


def froc_score(curve: FROCCurve, fp_rates: Sequence[float] = FP_RATES) -> float:
    """Mean of `sensitivity_at` over the rates, by default 1/8, 1/4, 1/2, 1, 2, 4 and 8 per image; NaN if undefined."""
    return float(np.mean([sensitivity_at(curve, rate) for rate in fp_rates]))


def wafroc(normal_scores: Scores, lesion_scores: Scores, lesion_image: ArrayLike) -> float:
    """Area under the weighted alternative FROC curve of one finding.

    With h_i the highest candidate of lesion-free image i of I, and lesion j one of the n_j lesions of its image, of
    the J images that have lesions,

        x(t) = #{i: h_i >= t} / I,   y(t) = (1 / J) sum_j [s_j >= t] / n_j,

    joined by straight lines from (0, 0) through every distinct score to (1, 1) (trapezoid). Every image with lesions
    counts the same, however many it has. The line to (1, 1) gives an unmarked image against a missed lesion one half,
    so the area is the chance that a lesion scores above a lesion-free image, lesions drawn with weight 1 / n_j.

    Not an AUROC of images: a lesion that is found elsewhere than it lies does not count.

    Args:
        normal_scores: (I,) highest candidate of each lesion-free image, -inf where it has none.
        lesion_scores: (L,) best score of each lesion, -inf where missed.
        lesion_image: (L,) the image of each lesion, any integers.

    Returns:
        The area, 0..1; NaN without lesions or without lesion-free images.

    Raises:
        ValueError: where a score is NaN or +inf, or shapes do not fit.

    Warns:
        UserWarning: where the area is undefined.
    """
    normal, lesion = check_scores(normal_scores, lesion_scores, missing_fp=True)
    image = np.asarray(lesion_image)
    if image.shape != lesion.shape:
        raise ValueError(f"{len(lesion)} lesions but images of shape {image.shape}")
    if not len(lesion) or not len(normal):
        lacking = "lesions" if not len(lesion) else "lesion-free images"
        warnings.warn(f"no {lacking}: the wAFROC area is undefined (NaN)", UserWarning, stacklevel=2)
        return float("nan")
    of_normal, of_lesion = Draws.alone(len(normal)), Draws.alone(len(lesion))
    return float(area_above(normal, lesion, of_normal, of_lesion, lesion_weights(image))[0])


def lesion_weights(lesion_image: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 / (number of lesions of its image) for every lesion: (L,) integers -> (L,), summing to 1 in each image."""
    _, inverse, count = np.unique(lesion_image, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1.0 / count[inverse]
    return weights


def _reaching(number: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many lie at each level or above, highest first after a 0: (T,) numbers by rising level -> (T + 1,)."""
    result = np.zeros(len(number) + 1)
    np.cumsum(number[::-1], out=result[1:])
    return result


def check_scores(
    fp_scores: Scores, lesion_scores: Scores, missing_fp: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both score lists as comparable float64 arrays, or a ValueError that names the fault.

    Where the two come in different floating types, both are rounded to the coarser first: 0.1 in float32 and 0.1 in
    float64 are the same score, and a tie must not be split by how it was stored.
    """
    arrays = [_as_array(fp_scores), _as_array(lesion_scores)]
    kinds = [array.dtype for array in arrays if array.dtype.kind == "f" and len(array)]
    coarsest = min(kinds, key=lambda kind: kind.itemsize, default=np.dtype(np.float64))
    fp, lesion = (array.astype(coarsest, copy=False).astype(np.float64, copy=False) for array in arrays)
    for name, array in (("fp_scores", fp), ("lesion_scores", lesion)):
        if array.ndim != 1:
            raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}")
        if np.isnan(array).any() or (array == np.inf).any():
            raise ValueError(f"{name} contain NaN or +inf")
    if not missing_fp and (fp == -np.inf).any():
        raise ValueError("fp_scores contain -inf: only a lesion can be missed")
    return fp, lesion


def _as_array(scores: Any) -> NDArray[np.floating]:
    if hasattr(scores, "detach"):  # a tensor; torch is not loaded for it
        scores = scores.detach().cpu()
        scores = scores.float() if str(scores.dtype) == "torch.bfloat16" else scores  # numpy has no bfloat16; exact
    array = np.asarray(scores)
    return array if array.dtype.kind == "f" else array.astype(np.float64)
