"""Which of a document's candidates a DICOM result shows: the same as the overlay, so that all outputs agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.metrics.candidates import COLUMNS


def shown_candidates(
    document: Mapping[str, Any], min_score: float = 0.5, min_image_score: float = 0.5, max_per_finding: int = 3
) -> list[dict[str, Any]]:
    """Candidates with score >= min_score, the best `max_per_finding` of each finding whose image score allows it.

    A finding is left out where the image as a whole speaks against it: `scores["image"]` below `min_image_score`. One
    without an image score is kept. The rule is the overlay's.

    Args:
        document: what `bundle.report.findings_file.findings_document` gives.
        min_score: the lowest score.
        min_image_score: the lowest image score.
        max_per_finding: the most candidates of one finding.

    Returns:
        Candidates, by finding in the network's order and falling score.
    """
    chosen = []
    for finding, scores in document["findings"].items():
        image_score = scores.get("image")
        if image_score is not None and image_score < min_image_score:
            continue
        of_finding = [c for c in document["candidates"] if c["finding"] == finding and c["score"] >= min_score]
        chosen += sorted(of_finding, key=lambda c: -c["score"])[:max_per_finding]
    return chosen


def candidate_table(candidates: Sequence[Mapping[str, Any]], findings: Sequence[str]) -> npt.NDArray[np.float64]:
    """Candidates of a document as the (M, 8) table of `bundle.metrics.candidates.COLUMNS`."""
    rows = [[findings.index(c["finding"]), c["score"], *c["peak"], *c["box"]] for c in candidates]
    return np.asarray(rows, np.float64).reshape(-1, len(COLUMNS))
