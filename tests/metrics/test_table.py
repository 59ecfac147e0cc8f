"""What a table of figures says of them."""

import math

import numpy as np

from bundle.metrics.table import FigureTable


def test_an_interval_without_width_is_no_certainty():
    table = FigureTable(("A",))
    table.put("all found", 1.0, None, np.ones(50))
    table.put("nearly", 1.0, None, np.append(np.ones(999), 0.9))  # its percentiles are 1 too
    table.put("partly undefined", 0.0, None, np.append(np.zeros(9), math.nan))
    table.put("never reached", math.inf, "no end", np.full(50, math.inf))
    metrics, notes = table.finish()
    assert metrics["nearly/low"] == metrics["all found/low"] == 1
    said = "the same in every replicate: an interval without width is no certainty"
    assert notes["all found"] == said
    assert "nearly" not in notes
    assert notes["partly undefined"].endswith(f"; {said}")
    assert said not in notes["never reached"]
