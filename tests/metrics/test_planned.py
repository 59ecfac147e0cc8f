"""Planned comparisons: Holm against the closed test that it is, p-values against counting and a normal law."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from bundle.metrics.paired import compare
from bundle.metrics.planned import Planned, holm, planned_from, replicate_p
from bundle.report.sections import comparison_section
from tests.metrics.drawn import NAN, random_evaluation, records_of

PLAN = {
    "better": Planned("theirs", "superiority", 0.0),
    "not worse": Planned("theirs", "non-inferiority", 0.9),
    "absent": Planned("nobody", "superiority", 0.0),
}


@pytest.fixture(scope="module")
def records():
    tables, truths, scores = random_evaluation(80)
    fewer = [table[: len(table) // 2] for table in tables]
    return {"ours": records_of(tables, truths, scores), "theirs": records_of(fewer, truths, scores)}


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closed_test_of_bonferroni(seed):
    """A hypothesis falls where every set of hypotheses that holds it falls by its smallest p."""
    p = np.round(np.random.default_rng(seed).random(5) ** 3, 2)
    for i, mine in enumerate(holm(p)):
        sets = [s for n in range(1, 6) for s in itertools.combinations(range(5), n) if i in s]
        assert mine == pytest.approx(min(1.0, max(len(s) * min(p[list(s)]) for s in sets)))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, NAN]) == pytest.approx([0.04, 1.0])  # what was not tested still counts
    assert holm([]) == []


def test_a_p_value_is_that_of_the_normal_law_its_replicates_follow():
    draws = norm.ppf((np.arange(1, 100000) - 0.5) / 99999, loc=0.1, scale=0.05)
    for limit in (-0.05, 0.0, 0.05):
        assert replicate_p(draws, limit) == pytest.approx(2 * norm.cdf(limit, 0.1, 0.05), abs=1e-4)
    assert replicate_p(draws, 0.2) == 1.0


def test_a_p_value_by_counting():
    draws = np.array([0.1, 0.2, -0.1, NAN, 0.3])
    assert replicate_p(draws, 0.0) == pytest.approx(2 * 2 / 5)
    assert replicate_p(draws, -0.5) == pytest.approx(2 / 5)  # no smaller with so few
    assert np.isnan(replicate_p(np.full(3, 0.1), 0.0))
    assert np.isnan(replicate_p(np.full(3, NAN), 0.0))


def test_they_join_the_comparison(records):
    metrics, notes = compare(records, "ours", 200, planned=PLAN)
    low, high = (metrics[f"compare/theirs/mean/sens_at_1fp/difference/{end}"] for end in ("low", "high"))
    assert [metrics[f"planned/better/difference/{end}"] for end in ("low", "high")] == [low, high]
    assert (metrics["planned/better/p"] < 0.05) == (low > 0)
    assert (metrics["planned/not worse/p"] < 0.05) == (low > -0.9)
    assert metrics["planned/absent/p"] is None
    ps = [metrics[f"planned/{name}/p"] for name in ("better", "not worse")]
    assert [metrics[f"planned/{name}/p_holm"] for name in PLAN] == pytest.approx(holm([*ps, 1.0]))
    assert notes["planned/not worse"].startswith(
        "non-inferiority over theirs by mean/sens_at_1fp, more than -0.9: shown"
    )
    assert ": not shown at 0.05, of 3 planned" in notes["planned/absent"]
    assert notes["planned/absent/p"] == "not tested: nobody was not compared by mean/sens_at_1fp"
    assert "is exploratory" in notes["exploratory"]
    about = {name: {"supervision": "none", "setting": "floor 0.1"} for name in records}
    section = comparison_section(metrics, notes, about, "ours")
    assert [name for name, _ in section.tables[0].rows] == [*PLAN]
    assert section.tables[0].rows[0][1][0]["text"] == f"{metrics['planned/better/difference']:.2f}"
    assert "exploratory" in section.text[0]


def test_without_any_all_differences_are_exploratory(records):
    metrics, notes = compare(records, "ours", 10)
    assert not any(key.startswith("planned/") for key in metrics)
    assert "is exploratory" in notes["exploratory"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"a/b": {}}, "stands in keys with slashes: found 'a/b'"),
        ({"a": {"method": "x", "claim": "equality", "margin": 0.1}}, "planned comparison 'a': the claim is 'equality'"),
        ({"a": {"method": "x", "claim": "non-inferiority", "margin": 0.0}}, "the margin of non-inferiority is 0.0"),
        ({"a": {"method": "x", "claim": "superiority", "margin": -0.1}}, "the margin of superiority is -0.1"),
        ({"a": {"method": "x"}}, "planned comparison 'a': .*claim"),
        (
            {"a": {"method": "x", "claim": "superiority", "margin": 0, "figure": "mean/fp_at_0.8sens"}},
            "of which more is better",
        ),
    ],
)
def test_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        planned_from(settings)
