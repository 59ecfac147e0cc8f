"""Which candidates are shown: one rule for overlay, viewers and DICOM results, so that all of them agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.candidate_tables import FINDING, SCORE
from bundle.probability import OperatingPoints


def rows_to_show(
    table: NDArray[np.floating[Any]], wanted: Sequence[int], min_score: ArrayLike, max_per_finding: int
) -> list[int]:
    """Rows of the candidates to show, by falling score.

    Args:
        table: (M, 8), columns of `bundle.metrics.candidate_tables.COLUMNS`.
        wanted: places of the findings.
        min_score: the lowest score; one, or (K,), each finding's.
        max_per_finding: the most candidates of one finding; of equal ones the first.
    """
    rows: list[int] = []
    count = dict.fromkeys(wanted, 0)
    lowest = np.asarray(min_score, np.float64)
    for row in np.argsort(-table[:, SCORE], kind="stable").tolist():
        finding = int(table[row, FINDING])
        if finding not in count or count[finding] >= max_per_finding:
            continue
        if table[row, SCORE] >= (lowest[finding] if lowest.ndim else lowest):
            count[finding] += 1
            rows.append(row)
    return rows


def rows_of(points: OperatingPoints, table: NDArray[np.floating[Any]], image_scores: ArrayLike) -> list[int]:
    """Rows of the candidates that operating points show.

    Args:
        points: of the K findings.
        table: (M, 8), as for `rows_to_show`.
        image_scores: (K,) calibrated image probabilities.
    """
    return rows_to_show(table, points.findings_to_show(image_scores), points.box, points.max_per_finding)


def image_scores(scores: Mapping[str, Any], findings: int) -> NDArray[np.float64]:
    """(K,) of the image scores by name; NaN, which speaks against nothing, where there is none."""
    score = scores.get("image")
    return np.full(findings, np.nan) if score is None else np.asarray(score, np.float64)
