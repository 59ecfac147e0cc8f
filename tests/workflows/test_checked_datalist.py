"""Trained and judged by the table of a checked datalist: the same weights and figures as by the datalist alone."""

import json

import torch

from scripts.check_datalist import main
from tests.workflows.conftest import Place


def run(place):
    """The weights and figures of a training and its evaluation."""
    said = place.run("training", "train", boxed_in_batch=0.5), place.run("evaluating", "train", "evaluate")
    weights = torch.load(place.models / "last.pt", weights_only=True)["network"]
    return weights, json.loads((place.eval / "metrics.json").read_text()), said


def test_a_table_changes_no_weight_and_no_figure(tmp_path):
    plain, by_table = Place(tmp_path / "plain"), Place(tmp_path / "by_table")
    weights, metrics, said = run(plain)
    assert all("by the table of its check" not in each for each in said)
    main(str(by_table.data / "datalist.json"))
    same_weights, same_metrics, said = run(by_table)
    assert all("22 entries by the table of its check" in each for each in said)
    assert weights.keys() == same_weights.keys()
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights if torch.is_tensor(weights[name]))
    assert metrics == same_metrics
