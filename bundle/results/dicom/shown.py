"""Which of a document's candidates a DICOM result shows: the same as the overlay, so that all outputs agree."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.metrics.candidates import COLUMNS
from bundle.results.shown import findings_to_show, rows_to_show


def shown_candidates(
    document: Mapping[str, Any], min_score: float = 0.5, min_image_score: float = 0.5, max_per_finding: int = 3
) -> list[dict[str, Any]]:
    """Candidates with score >= min_score, the best `max_per_finding` of each finding whose image score allows it.

    A finding is left out where the image as a whole speaks against it: `scores["image"]` below `min_image_score`. One
    without an image score is kept.

    Args:
        document: what `bundle.results.findings_file.findings_document` gives.
        min_score: the lowest score.
        min_image_score: the lowest image score.
        max_per_finding: the most candidates of one finding.

    Returns:
        Candidates, by finding in the network's order and falling score.
    """
    names, candidates = list(document["findings"]), document["candidates"]
    image_scores = [scores.get("image") for scores in document["findings"].values()]
    wanted = findings_to_show([math.nan if score is None else score for score in image_scores], min_image_score)
    rows = rows_to_show(candidate_table(candidates, names), wanted, min_score, max_per_finding)
    return [candidates[row] for row in sorted(rows, key=lambda row: names.index(candidates[row]["finding"]))]


def candidate_table(candidates: Sequence[Mapping[str, Any]], findings: Sequence[str]) -> npt.NDArray[np.float64]:
    """Candidates of a document as the (M, 8) table of `bundle.metrics.candidates.COLUMNS`."""
    rows = [[findings.index(c["finding"]), c["score"], *c["peak"], *c["box"]] for c in candidates]
    return np.asarray(rows, np.float64).reshape(-1, len(COLUMNS))
