"""The simulation that docs/evaluation.md takes its tables of coverage from."""

import fire
import numpy as np
import pytest

from bundle.metrics.draws import Draws
from bundle.metrics.froc_figures import sensitivities
from scripts import interval_coverage
from scripts.interval_coverage import KINDS, Case, coverage


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_its_truth_is_that_of_a_large_sample(clustered, fixed):
    case = Case(0.9, 20000, clustered)
    draws = Draws.of(np.arange(3 * (case.patient.max() + 1)))
    data = interval_coverage._finding(np.random.default_rng(1), case, draws, fixed)
    assert sensitivities(draws, data, [1.0]) == pytest.approx(0.9, abs=0.01)
    if not fixed:
        for rate in (0.25, 2.0, 4.0):
            expected = interval_coverage._true_sensitivity(case, rate)
            assert sensitivities(draws, data, [rate]) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_hold_a_high_truth(clustered):
    """Percentiles hold .97 on 12 lesions in about 3 of 10 test sets."""
    for kind, share in coverage(Case(0.97, 12, clustered), 60, 100, ["share", "sensitivity", "auroc"]).items():
        assert share >= 0.88, kind


def test_it_prints_a_table_for_each_kind(capsys):
    fire.Fire(interval_coverage.main, ["--truths", "(0.9,)", "--lesions", "(6,)", "--trials", "2", "--replicates", "9"])
    said = capsys.readouterr().out
    for words in KINDS.values():
        assert f"{words}:\n\n| truth | 6 | 6 clustered |\n|---|---|---|\n| 0.9 | " in said
