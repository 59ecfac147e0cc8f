"""From scores to probabilities and to what is shown."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from bundle.probability import NEVER, OperatingPoints, calibrated, margin

FINDINGS = ["A", "B"]
POINTS = {"A": {"slope": 0.5, "offset": -2.0, "image": 0.2, "box": 0.6}, "B": {"image": 0.7, "box": NEVER}}


def test_margin_is_the_log_odds_and_finite():
    p = np.array([0.0, 0.2, 0.5, 1.0, np.nan])
    assert margin(p)[1:3] == pytest.approx(logit(p[1:3]))
    assert np.isfinite(margin(p)[[0, 3]]).all()
    assert np.isnan(margin(p)[4])
    assert calibrated(p[1:3], 2.0, -1.0) == pytest.approx(expit(2 * logit(p[1:3]) - 1))


def test_scores_become_probabilities_finding_by_finding():
    points = OperatingPoints(FINDINGS, POINTS)
    score = torch.tensor([[0.3, 0.3], [torch.nan, 0.9]])
    probability = points.probability(score)
    assert probability[0, 0].item() == pytest.approx(expit(0.5 * logit(np.float32(0.3)) - 2), rel=1e-6)
    assert torch.equal(probability[:, 1], score[:, 1].double())  # it has no calibration: to the bit
    assert torch.isnan(probability[1, 0])
    assert not points.calibrated
    assert OperatingPoints(FINDINGS, {"A": POINTS["A"], "B": POINTS["A"]}).calibrated


def test_a_finding_is_shown_unless_the_image_speaks_against_it():
    points = OperatingPoints(FINDINGS, POINTS)
    assert points.findings_to_show([0.2, 0.69]) == [0]
    assert points.findings_to_show([0.19, np.nan]) == [1]
    assert OperatingPoints(FINDINGS, min_image_score=0.0).findings_to_show([0, 0]) == [0, 1]


def test_points_go_through_json_and_take_other_thresholds():
    points = OperatingPoints(FINDINGS, POINTS)
    again = OperatingPoints(FINDINGS, points.document())
    assert again.document() == points.document()
    other = points.replaced(min_score=0.1)
    assert other.box.tolist() == [0.1, 0.1]
    assert other.image.tolist() == points.image.tolist()
    assert not other.calibrated
    assert not OperatingPoints(FINDINGS).replaced(min_score="").calibrated


@pytest.mark.parametrize("value", [30, -0.1, "high", float("nan")])
def test_a_threshold_for_all_is_a_share(value):
    with pytest.raises(ValueError, match=r"min_image_score is .*; wanted a number from 0 to 1"):
        OperatingPoints(FINDINGS, min_image_score=value)


def test_an_equal_score_reaches_its_own_threshold():
    slope, offset = 1.3, -2.1
    own = float(calibrated(np.float64(np.float32(0.9999999)), slope, offset))
    points = OperatingPoints(["A"], {"A": {"slope": slope, "offset": offset, "image": own, "box": 0.0}})
    assert points.findings_to_show(points.probability(torch.tensor([0.9999999]))) == [0]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"C": {}}, r"operating points of \['C'\]; the findings are \['A', 'B'\]"),
        ({"A": {"slope": 0}}, "operating point of A: wanted a finite slope above 0"),
        ({"A": {"slope": float("nan")}}, "operating point of A: wanted a finite slope"),
        ({"A": {"box": -0.1}}, "operating point of A: box must be a threshold >= 0"),
        ({"A": {"image": float("nan")}}, "operating point of A: image must be a threshold"),
        ({"A": {"temperature": 2}}, "operating point of A: .*temperature"),
    ],
)
def test_what_cannot_be_is_refused(points, message):
    with pytest.raises(ValueError, match=message):
        OperatingPoints(FINDINGS, points)
