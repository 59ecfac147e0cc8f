"""What the comparison's figure says where a number is missing."""

import re
import xml.etree.ElementTree as ET

from bundle.metrics.table import Metrics
from bundle.report.comparison_figure import draw_comparison

SENSITIVITY, OWN = "compare/{}/mean/sens_at_1fp", "compare/{}/mean/fp_at_own_sens_at_1fp"
METHODS = ["A", "B"]


def drawn(
    sensitivity: float | None, ratio: float | None, high: float | None = 1.1, **needed: float | None
) -> tuple[str, int]:
    """The words of a figure of A and of this B, and how many strokes it has."""
    metrics: Metrics = {SENSITIVITY.format("A"): 0.7, SENSITIVITY.format("B"): sensitivity}
    metrics |= {OWN.format("B") + "/ratio": ratio, **{f"{OWN.format('B')}/{key}": needed[key] for key in needed}}
    metrics |= {OWN.format("B") + "/ratio/low": 0.5, OWN.format("B") + "/ratio/high": high}
    svg = draw_comparison(METHODS, "A", metrics).svg
    words = " ".join(element.text or "" for element in ET.fromstring(svg).iter() if element.text)
    return words, len(re.findall("<path", svg))


def test_why_there_is_no_number() -> None:
    words, _ = drawn(None, None)
    assert words.count("no lesions") == 2
    assert "not reached" not in words
    words, _ = drawn(0.5, None, reference=None)
    assert words.count("not reached by A") == 1
    assert "no lesions" not in words
    assert drawn(0.5, None, reference=0.0)[0].count("no FP") == 1
    assert drawn(0.5, None)[0].count("not computed") == 1
    assert "not reached" not in drawn(0.5, 0.5)[0]  # nor of A, which is held against nobody


def test_an_interval_without_end_is_drawn_to_the_edge() -> None:
    strokes = drawn(0.5, 0.8)[1]
    assert drawn(0.5, 0.8, high=None)[1] > strokes  # the same whisker and an arrow
