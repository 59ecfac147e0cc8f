"""Differences between groups at common thresholds: by counting, and in patients that are really drawn."""

from dataclasses import replace

import numpy as np
import pytest

from bundle.metrics.draws import draw_counts
from bundle.metrics.group_gaps import gaps_between_groups
from bundle.metrics.records import COUNTED
from bundle.metrics.shown import shown
from bundle.report.sections import subgroup_section
from tests.metrics.drawn import random_evaluation, records_of

FINDINGS = ["A", "B", "C"]
IMAGES = 120
INFO = {i: {"sex": ["F", "M", "M", ""][i // 2 % 4], "view": ["PA", "AP", "LL"][i // 2 % 3]} for i in range(IMAGES)}
LIMITS = (np.array([0.3, 0.5, 0.6]), np.array([0.4, 0.6, 0.2]), 2)


@pytest.fixture(scope="module")
def records():
    return records_of(*random_evaluation(IMAGES, seed=5))


PROBABILITY = np.random.default_rng(3).random((IMAGES, 3))


def by_hand(records, field, value, k, drawn):
    """(equal opportunity, average odds, lesions as shown) where every image counts as often as it is drawn."""
    found = shown(records, PROBABILITY, *LIMITS).lesion
    sums: dict[tuple, float] = {}
    for i in range(IMAGES):
        group = INFO[i][field]
        if not group:
            continue
        side = "g" if group == value else "r"
        label, called = records.images.label[i, k], PROBABILITY[i, k] >= LIMITS[0][k]
        for what, is_one in (("all", 1.0), ("called", float(called))):
            sums[side, label, what] = sums.get((side, label, what), 0) + is_one * drawn[i]
        if records.images.status[i, k] != COUNTED:
            continue
        for row in np.flatnonzero((records.lesions.index == i) & (records.lesions.finding == k)):
            sums[side, "lesions"] = sums.get((side, "lesions"), 0) + drawn[i]
            sums[side, "hit"] = sums.get((side, "hit"), 0) + drawn[i] * found[row]
    rate = {(s, y): sums[s, y, "called"] / sums[s, y, "all"] for s in "gr" for y in (0.0, 1.0)}
    opportunity = rate["g", 1.0] - rate["r", 1.0]
    odds = (opportunity + rate["g", 0.0] - rate["r", 0.0]) / 2
    return opportunity, odds, sums["g", "hit"] / sums["g", "lesions"] - sums["r", "hit"] / sums["r", "lesions"]


def gaps(records, **more):
    settings = {"replicates": 40, "seed": 2, "least": 1, "fields": ("sex", "view", "vendor"), **more}
    return gaps_between_groups(records, INFO, PROBABILITY, *LIMITS, **settings)


@pytest.mark.parametrize(("field", "value"), [("sex", "F"), ("sex", "M"), ("view", "LL")])
def test_differences_are_those_of_counting_and_intervals_of_drawn_patients(records, field, value):
    metrics, _ = gaps(records)
    unit = np.unique(records.images.group, return_inverse=True)[1]
    counts = draw_counts(IMAGES // 2, 40, 2)
    names = "equal_opportunity", "average_odds", "lesions_shown"
    for k, finding in enumerate(FINDINGS):
        whole = by_hand(records, field, value, k, np.ones(IMAGES))
        draws = np.array([by_hand(records, field, value, k, counts[unit, r]) for r in range(40)])
        for name, mine, drawn in zip(names, whole, draws.T, strict=True):
            key = f"gap/{field}/{value}/{name}/{finding}"
            assert metrics[key] == pytest.approx(mine)
            ends = [metrics[f"{key}/{end}"] for end in ("low", "high")]
            if np.ptp(drawn) > 1e-9:
                assert ends == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
            else:  # nobody differs in the sample: some of all patients may
                assert -1 <= ends[0] < mine < ends[1] <= 1


def test_two_groups_differ_by_opposite_numbers_and_the_unknown_is_neither(records):
    metrics, notes = gaps(records)
    for finding in [*FINDINGS, "mean"]:
        first, second = (metrics[f"gap/sex/{sex}/equal_opportunity/{finding}"] for sex in "FM")
        assert first == pytest.approx(-second)
    assert not any("unknown" in key or "vendor" in key for key in metrics)
    assert notes["gaps"].endswith("at least 1 positives, negatives or lesions on either side")


def test_a_threshold_that_calls_everything_leaves_no_difference_and_yet_a_width(records):
    everything = np.zeros(3), np.zeros(3), 100
    metrics, _ = gaps_between_groups(records, INFO, PROBABILITY, *everything, replicates=40, fields=("sex",))
    for name in ("equal_opportunity", "average_odds"):
        low, value, high = (metrics[f"gap/sex/F/{name}/A{end}"] for end in ("/low", "", "/high"))
        assert value == 0
        assert low < 0 < high


def test_few_of_either_side_have_no_difference(records):
    metrics, notes = gaps(records, least=40)
    few = {key: value for key, value in metrics.items() if key.startswith("gap/sex/F/equal_opportunity/")}
    assert set(few.values()) == {None}
    assert notes["gap/sex/F/equal_opportunity/A"].endswith("on one side, fewer than 40")


def test_the_report_names_them(records):
    metrics, notes = gaps(records)
    counted = {"subgroup/sex/F/n_images": 30, "subgroup/sex/M/n_images": 60}
    section = subgroup_section(metrics | counted, notes)
    assert section is not None
    rows = dict(section.tables[1].rows)
    assert rows["sex: F"][0]["text"] == f"{metrics['gap/sex/F/equal_opportunity/mean']:.2f}"
    assert "at the thresholds that were frozen for all" in section.tables[1].caption
    assert len(subgroup_section(counted, {}).tables) == 1


def test_an_image_without_info_is_refused(records):
    images = replace(records.images, index=records.images.index + 1)
    with pytest.raises(ValueError, match="no info"):
        gaps(replace(records, images=images))
