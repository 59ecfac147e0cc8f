"""Baselines beside cells: of the datalist and a cell's records alone, the same truth and the same draws."""

import json

import numpy as np
import pytest
import torch

from bundle.comparison import NoLookMarker, training_boxes
from bundle.comparison.box_places import section_truths
from bundle.comparison.unseeing import judge_unseeing
from bundle.experiments.seeds import record_figures
from bundle.experiments.unseeing_rows import FIGURE, NAMES, UnseeingRows
from bundle.metrics.froc import froc_curve, sensitivity_at
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import of_finding
from tests.tiny import FINDINGS, write_tiny_data
from tests.workflows.conftest import ROOT, TINY

FILES = [ROOT / "configs" / "train.json", TINY, ROOT / "configs" / "evaluate.json"]


def test_figures_of_a_cells_records(tmp_path):
    path = write_tiny_data(tmp_path)
    truths = section_truths(path, "test", FINDINGS)
    assert [truth["stored_size"] for truth in truths[:2]] == [(120, 90), (96, 112)]
    boxes = training_boxes(path, "training", FINDINGS)
    cell = judge_unseeing(NoLookMarker(boxes), truths, torch.zeros(5, 2), HitCriterion())
    rows = UnseeingRows(FILES, {"dataset_dir": str(tmp_path)})
    figures = rows.figures(cell, 30, 0)
    assert list(figures) == [f"{FIGURE}/{name}" for name in NAMES]
    marker = f"{FIGURE}/{NAMES[0]}"
    found = [
        sensitivity_at(froc_curve(d.fp_score, d.lesion_score, len(d.image)), 1)
        for d in map(of_finding, [cell] * 2, range(2))
    ]
    assert 0 < figures[marker][0] == pytest.approx(np.mean(found))
    np.testing.assert_array_equal(figures[marker], record_figures(cell, 30, 0)[FIGURE])

    document = json.loads(path.read_text())
    document["test"][0]["boxes"][0]["box"][0] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="'no-look marker' and 'the cell' cannot be compared: the boxes differ"):
        UnseeingRows(FILES, {"dataset_dir": str(tmp_path)}).figures(cell, 30, 0)


def test_by_patches_there_are_none(tmp_path):
    path = write_tiny_data(tmp_path)
    hit = {"criterion": "patch", "threshold": 0.5, "box_fraction": 0.5, "assignment": "best_hit"}
    rows = UnseeingRows(FILES, {"dataset_dir": str(tmp_path), "hit_criterion": hit})
    truths = section_truths(path, "test", FINDINGS)
    boxes = training_boxes(path, "training", FINDINGS)
    cell = judge_unseeing(NoLookMarker(boxes), truths, torch.zeros(5, 2), HitCriterion())
    assert rows.figures(cell, 30, 0) == {}
