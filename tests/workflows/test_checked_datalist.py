"""Trained and judged by the table of a checked datalist: the same weights and figures as by the datalist alone."""

import json

import torch

from bundle.data.datalist import write_checked
from bundle.data.datalist_text import table_of
from tests.workflows.conftest import Place


def run(place):
    """The weights and figures of a training and its evaluation."""
    place.run("training", "train", boxed_in_batch=0.5)
    place.run("evaluating", "train", "evaluate")
    weights = torch.load(place.models / "last.pt", weights_only=True)["network"]
    return weights, json.loads((place.eval / "metrics.json").read_text())


def test_a_table_changes_no_weight_and_no_figure(tmp_path):
    plain, by_table = Place(tmp_path / "plain"), Place(tmp_path / "by_table")
    weights, metrics = run(plain)
    write_checked(by_table.data / "datalist.json")
    same_weights, same_metrics = run(by_table)
    assert table_of(by_table.data / "datalist.json").is_file()
    assert weights.keys() == same_weights.keys()
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights if torch.is_tensor(weights[name]))
    assert metrics == same_metrics
