"""Summing up the cells of a label-efficiency run."""

import json
from pathlib import Path

import numpy as np
import pytest

from bundle.experiments.label_efficiency import FIGURES, Cell, summarise_cells
from bundle.metrics import save_records, summarise
from bundle.report.label_efficiency_figure import draw_label_efficiency
from tests.report.cases import made_records

MARKS = "shown/false_marks_per_image"


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    cells = [Cell(share, seed) for share in (1.0, 0.1) for seed in range(3)]
    for number, cell in enumerate(cells):
        records = made_records(seed=number)
        metrics, _ = summarise(records, replicates=0)
        marks = 1.4 + 0.1 * cell.seed
        metrics |= {MARKS: marks, f"{MARKS}/low": marks - 0.2, f"{MARKS}/high": marks + 0.2}
        save_records(records, tmp_path / cell.name / "records")
        (tmp_path / cell.name / "metrics.json").write_text(json.dumps(metrics))
    return cells


def test_values_are_means_of_seeds_inside_intervals_that_include_them(cells: list[Cell], tmp_path: Path) -> None:
    summary = summarise_cells(tmp_path, cells, replicates=200)
    assert list(summary) == ["1", "0.1"]
    for share, row in summary.items():
        for figure in (*FIGURES, MARKS):
            seeds = row[figure]["seeds"]
            assert len(seeds) == 3
            assert row[figure]["value"] == pytest.approx(np.mean(seeds))
            assert row[figure]["low"] < row[figure]["value"] < row[figure]["high"], share
    one_seed = summarise_cells(tmp_path, cells[:1], replicates=200)["1"][FIGURES[0]]
    repeated = summarise_cells(tmp_path, [cells[0]] * 3, replicates=200)["1"][FIGURES[0]]
    assert repeated["low"] == pytest.approx(one_seed["low"])  # equal seeds add nothing to the interval


def test_figure_names_every_share(cells: list[Cell], tmp_path: Path) -> None:
    figure = draw_label_efficiency(summarise_cells(tmp_path, cells, replicates=50))
    assert "100%" in figure.svg
    assert "10%" in figure.svg
    assert "with 10%" in figure.alt
