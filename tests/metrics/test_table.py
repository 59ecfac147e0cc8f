"""What a table of figures says of them."""

import math

import numpy as np
import pytest

from bundle.metrics.intervals import Difference, Share, area_interval, wilson
from bundle.metrics.table import FigureTable, area_of, share_of


def test_an_interval_without_width_is_none():
    table = FigureTable(("A",))
    table.put("all found", np.ones(51), None, Share(62, 62))
    table.put("no difference", np.append(np.zeros(10), math.nan), None, Difference(62))
    table.put("constant", np.full(51, 3.5))  # of no known kind: nothing can be said
    table.put("never reached", np.full(51, math.inf), "no end")
    metrics, notes = table.finish()
    assert (metrics["all found/low"], metrics["all found/high"]) == (pytest.approx(62 / (62 + 1.96**2), abs=1e-4), 1)
    assert metrics["no difference/low"] == -metrics["no difference/high"] == pytest.approx(-0.0583, abs=1e-4)
    assert (metrics["constant/low"], metrics["constant/high"]) == (None, None)
    assert notes["constant/low"] == "no interval: the figure is the same in every replicate"
    assert notes["never reached/high"] == "plus infinity"


def test_a_mean_is_of_the_kind_of_its_figures():
    table = FigureTable(("A", "B"))
    for finding, of in (("A", 6), ("B", 12)):
        unit = np.arange(of) // 2
        table.put(f"share/{finding}", np.ones(10), None, share_of(unit))
        table.put(f"area/{finding}", np.ones(10), None, area_of(unit, unit))
    table.mean("share/{}")
    table.mean("area/{}")
    metrics, _ = table.finish()
    assert table.kinds["share/mean"] == Share(pytest.approx(16), pytest.approx(8))  # 4 / (1/6 + 1/12)
    assert metrics["share/mean/low"] == pytest.approx(wilson(1.0, 8.0)[0])
    assert metrics["area/A/low"] < metrics["area/B/low"] < metrics["area/mean/low"] < 1
    assert metrics["area/B/low"] == area_interval(1.0, np.ones(9), area_of(np.arange(6), np.arange(6)))[0]
