"""Which of a document's candidates a DICOM result shows: the same as the overlay, so that all outputs agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.metrics.candidates import COLUMNS
from bundle.probability import MAX_PER_FINDING, OperatingPoints
from bundle.results.shown import rows_of


def operating_points(
    document: Mapping[str, Any],
    min_score: float | None = None,
    min_image_score: float | None = None,
    max_per_finding: int = MAX_PER_FINDING,
) -> OperatingPoints:
    """A document's operating points, with other thresholds where they are given.

    Args:
        document: what `bundle.results.findings_file.findings_document` gives; one without points has the defaults.
        min_score: the lowest score of every finding's candidates; None keeps each finding's own.
        min_image_score: the lowest image score of every finding; None likewise.
        max_per_finding: the most candidates of one finding.
    """
    points = document.get("operating_points")
    return OperatingPoints(list(document["findings"]), points, min_score, min_image_score, max_per_finding)


def shown_candidates(document: Mapping[str, Any], points: OperatingPoints | None = None) -> list[dict[str, Any]]:
    """The candidates that operating points show (`bundle.results.shown.rows_of`).

    Args:
        document: what `bundle.results.findings_file.findings_document` gives.
        points: of its findings; None takes what the document says.

    Returns:
        Candidates, by finding in the network's order and falling score.
    """
    names, candidates = list(document["findings"]), document["candidates"]
    scores = [values.get("image") for values in document["findings"].values()]
    image = [np.nan if score is None else score for score in scores]
    if points is None and all("shown" in candidate for candidate in candidates):  # told before scores were rounded
        rows = [row for row, candidate in enumerate(candidates) if candidate["shown"]]
    else:
        rows = rows_of(points or operating_points(document), candidate_table(candidates, names), image)
    return [candidates[row] for row in sorted(rows, key=lambda row: names.index(candidates[row]["finding"]))]


def candidate_table(candidates: Sequence[Mapping[str, Any]], findings: Sequence[str]) -> npt.NDArray[np.float64]:
    """Candidates of a document as the (M, 8) table of `bundle.metrics.candidates.COLUMNS`."""
    rows = [[findings.index(c["finding"]), c["score"], *c["peak"], *c["box"]] for c in candidates]
    return np.asarray(rows, np.float64).reshape(-1, len(COLUMNS))
