"""Which candidates are shown: one rule for overlay, viewers and DICOM results, so that all of them agree."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.candidates import FINDING, SCORE


def findings_to_show(image_scores: Sequence[float], min_image_score: float) -> list[int]:
    """Places of the findings that the image as a whole does not speak against.

    Args:
        image_scores: of the K findings; NaN where there is none, which speaks against nothing.
        min_image_score: below it a finding is not shown.
    """
    return [k for k, score in enumerate(image_scores) if not score < min_image_score]


def rows_to_show(
    table: NDArray[np.floating[Any]], wanted: Sequence[int], min_score: float, max_per_finding: int
) -> list[int]:
    """Rows of the candidates to show, by falling score.

    Args:
        table: (M, 8), columns of `bundle.metrics.candidates.COLUMNS`.
        wanted: places of the findings (`findings_to_show`).
        min_score: the lowest score.
        max_per_finding: the most candidates of one finding; of equal ones the first.
    """
    rows: list[int] = []
    count = dict.fromkeys(wanted, 0)
    for row in np.argsort(-table[:, SCORE], kind="stable").tolist():
        finding = int(table[row, FINDING])
        if finding in count and table[row, SCORE] >= min_score and count[finding] < max_per_finding:
            count[finding] += 1
            rows.append(row)
    return rows
