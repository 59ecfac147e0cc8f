"""What the comparison's figure says where a number is missing."""

import re
import xml.etree.ElementTree as ET

from bundle.metrics.table import Metrics
from bundle.report.comparison_figure import draw_comparison

SENSITIVITY, FALSE_POSITIVES = "compare/{}/mean/sens_at_1fp", "compare/{}/mean/fp_at_reference_sens_at_1fp"
METHODS = ["A", "B"]


def drawn(sensitivity: float | None, fp: float | None, high: float | None = 2.0) -> tuple[str, int]:
    """The words of a figure of A and of this B, and how many strokes it has."""
    metrics: Metrics = {SENSITIVITY.format("A"): 0.7, FALSE_POSITIVES.format("A"): 1.0}
    metrics |= {SENSITIVITY.format("B"): sensitivity, FALSE_POSITIVES.format("B"): fp}
    metrics |= {FALSE_POSITIVES.format("B") + "/low": 0.5, FALSE_POSITIVES.format("B") + "/high": high}
    svg = draw_comparison(METHODS, "A", metrics).svg
    words = " ".join(element.text or "" for element in ET.fromstring(svg).iter() if element.text)
    return words, len(re.findall("<path", svg))


def test_without_lesions_nothing_is_never_reached() -> None:
    words, _ = drawn(None, None)
    assert "never reached" not in words
    assert words.count("no lesions") == 2
    words, _ = drawn(0.5, None)
    assert words.count("never reached") == 1
    assert "no lesions" not in words


def test_an_interval_without_end_is_drawn_to_the_edge() -> None:
    strokes = drawn(0.5, 1.0)[1]
    assert drawn(0.5, 1.0, high=None)[1] > strokes  # the same whisker and an arrow
