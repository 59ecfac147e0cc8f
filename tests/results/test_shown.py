"""Which candidates are shown, against a readable loop."""

import numpy as np

from bundle.metrics.candidates import COLUMNS, FINDING, SCORE
from bundle.results.shown import rows_to_show


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
        assert rows == rows_to_show(table, [0, 2, 3], [0.4] * 4, 2)
        own = rows_to_show(table, [0, 2, 3], [0.4, 0.0, 0.9, 2.0], 20)  # each finding has its own, and the last none
        assert {int(k) for k in table[own, FINDING]} <= {0, 2}
        assert all(table[row, SCORE] >= (0.4 if table[row, FINDING] == 0 else 0.9) for row in own)
    assert rows_to_show(np.zeros((0, len(COLUMNS))), [0], 0.0, 3) == []
