"""Area under the ROC curve of whole-image scores, per finding, with unknown labels left out."""

import numpy as np
from numpy.typing import NDArray


def auroc(scores: NDArray[np.float64], label: NDArray[np.float64]) -> tuple[float, str | None]:
    """Area under the ROC curve of one finding: the chance that a positive scores above a negative, ties one half.

    Args:
        scores: (I,) finite wherever the label is known.
        label: (I,) 1, 0 or NaN (unknown), which is left out.

    Returns:
        The area, 0..1, and None; or NaN and the reason why it is undefined.

    Raises:
        ValueError: where the score of a labelled image is not finite.
    """
    from sklearn.metrics import roc_auc_score  # more than a second to load: only for those who compute

    known = ~np.isnan(label)
    positive, negative = int((label == 1).sum()), int((label == 0).sum())
    if not np.isfinite(scores[known]).all():
        raise ValueError("the score of a labelled image is not finite")
    if not positive or not negative:
        return float("nan"), f"no {'positive' if not positive else 'negative'} images"
    return float(roc_auc_score(label[known], scores[known])), None
