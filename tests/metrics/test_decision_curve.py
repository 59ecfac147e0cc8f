"""Net benefit against counting by scikit-learn's confusion matrix, and at its ends."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from bundle.metrics.decision_curve import TRUST, net_benefit, worth
from bundle.metrics.draws import draw_counts
from bundle.metrics.image_level import choose_operating_points, summarise_images
from bundle.probability import calibrated
from bundle.report.decision_figure import draw_decisions
from bundle.report.operating_section import operating_section
from tests.metrics.drawn import NAN, random_evaluation, records_of

PROBABILITY = np.random.default_rng(0).random(80)
LABEL = np.where(np.arange(80) % 9 == 0, NAN, (np.arange(80) % 3 == 0).astype(float))


def by_confusion(probability, label, threshold):
    known = ~np.isnan(label)
    tn, fp, fn, tp = confusion_matrix(label[known] == 1, probability[known] >= threshold, labels=[False, True]).ravel()
    return (tp - fp * threshold / (1 - threshold)) / (tn + fp + fn + tp)


def test_it_is_that_of_the_confusion_matrix():
    own, everything = net_benefit(PROBABILITY, LABEL, TRUST)
    for i, threshold in enumerate(TRUST):
        assert own[i] == pytest.approx(by_confusion(PROBABILITY, LABEL, threshold))
        assert everything[i] == pytest.approx(by_confusion(np.ones(80), LABEL, threshold))


def test_a_perfect_probability_has_the_prevalence_and_none_called_has_nothing():
    known = ~np.isnan(LABEL)
    own, _ = net_benefit(np.nan_to_num(LABEL), LABEL, [0.1, 0.9])
    assert own.tolist() == pytest.approx([LABEL[known].mean()] * 2)
    assert net_benefit(np.zeros(80), LABEL, [0.1])[0].tolist() == [0]
    assert np.isnan(net_benefit(PROBABILITY, np.full(80, NAN), [0.1])).all()


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1])
def test_a_threshold_at_an_end_is_refused(threshold):
    with pytest.raises(ValueError, match="between 0 and 1"):
        worth(PROBABILITY, LABEL, threshold)


def test_figures_and_intervals_are_those_of_real_resampling_and_reach_the_report():
    tables, truths, scores = random_evaluation(60)
    scores = [{"image": np.clip(np.asarray(each["image"]), 0.02, 0.98)} for each in scores]
    records = records_of(tables, truths, scores)
    points = choose_operating_points(records, "image")
    metrics, notes = summarise_images(records, points, replicates=40, seed=3)
    unit = np.unique(records.images.group, return_inverse=True)[1]
    counts = draw_counts(unit.max() + 1, 40, 3)
    label, point = records.images.label[:, 0], points["A"]
    probability = calibrated(records.images.scores["image"][:, 0], point["slope"], point["offset"])
    key = "net_benefit/A/at_0.3"
    assert metrics[key] == pytest.approx(by_confusion(probability, label, 0.3))
    assert metrics[f"{key}/treat_all"] == pytest.approx(by_confusion(np.ones(60), label, 0.3))
    rows = [np.repeat(np.arange(60), counts[unit, r]) for r in range(40)]
    draws = [by_confusion(probability[drawn], label[drawn], 0.3) for drawn in rows]
    assert [metrics[f"{key}/{end}"] for end in ("low", "high")] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    low, slope, high = (metrics[f"recalibration/A/slope{end}"] for end in ("/low", "", "/high"))
    assert low < slope < high
    table = operating_section(records.findings, metrics, notes).tables[1]
    cells = dict(table.rows)["A"]
    assert cells[0]["text"] == f"{slope:.3f}"
    assert cells[table.headings.index("Net benefit from 0.3 on") - 1]["text"] == f"{metrics[key]:.3f}"
    assert len(operating_section(records.findings, summarise_images(records, {}, 0)[0], {}).tables) == 1
    figure = draw_decisions(records, points)
    assert figure is not None
    assert figure == draw_decisions(records, points)
    assert draw_decisions(records, {}) is None
    row = next(row for row in figure.table[1:] if row[0] == "A" and row[1] == pytest.approx(0.3))
    assert row[2:] == pytest.approx((metrics[key], metrics[f"{key}/treat_all"]))
