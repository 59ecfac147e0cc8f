"""Which candidates are shown, against a readable loop."""

import math

import numpy as np

from bundle.metrics.candidates import COLUMNS, FINDING, SCORE
from bundle.results.shown import findings_to_show, rows_to_show


def test_a_finding_without_an_image_score_is_shown():
    assert findings_to_show([0.5, 0.49, math.nan], 0.5) == [0, 2]
    assert findings_to_show([0.5, 0.49, math.nan], 0.0) == [0, 1, 2]


def test_the_best_of_each_wanted_finding_from_the_lowest_score_on():
    rng = np.random.default_rng(0)
    for _ in range(50):
        table = np.zeros((20, len(COLUMNS)))
        table[:, FINDING], table[:, SCORE] = rng.integers(4, size=20), rng.integers(6, size=20) / 5
        expected = []
        for finding in (0, 2, 3):
            own = [row for row in range(20) if table[row, FINDING] == finding and table[row, SCORE] >= 0.4]
            expected += sorted(own, key=lambda row: (-table[row, SCORE], row))[:2]
        rows = rows_to_show(table, [0, 2, 3], 0.4, 2)
        assert sorted(rows) == sorted(expected)
        assert rows == sorted(rows, key=lambda row: (-table[row, SCORE], row))
    assert rows_to_show(np.zeros((0, len(COLUMNS))), [0], 0.0, 3) == []
