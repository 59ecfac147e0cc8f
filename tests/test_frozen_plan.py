"""A plan's file as a package takes it: of these weights, findings and image score, and of no others."""

import logging

import pytest

from bundle.fingerprint import file_fingerprint
from bundle.frozen_plan import PlanError, operating_points, plan_of_weights, shown_points, write_plan

FINDINGS = ["Mass"]
SCORE = {"weights": "patch"}
POINTS = {"Mass": {"slope": 0.5, "offset": -1.0, "youden": 0.3, "sensitive": 0.1, "box": 0.7}}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    made_for = {"weights": file_fingerprint(path), "findings": FINDINGS, "image_score": SCORE, "canvas": 9}
    write_plan(tmp_path / "plan.json", made_for, {"points": POINTS, "score": "image"})
    return path


def test_a_plan_of_these_weights_is_taken(weights):
    plan = plan_of_weights(weights.parent / "plan.json", weights, FINDINGS, SCORE)
    assert shown_points(plan["points"]) == {"Mass": {"slope": 0.5, "offset": -1.0, "image": 0.3, "box": 0.7}}


def test_a_plan_of_something_else_is_refused(weights):
    path = weights.parent / "plan.json"
    with pytest.raises(PlanError, match="image_score"):
        plan_of_weights(path, weights, FINDINGS, {"weights": "global"})
    with pytest.raises(PlanError, match="findings"):
        plan_of_weights(path, weights, ["Nodule"], SCORE)
    with pytest.raises(PlanError, match="no plan at"):
        plan_of_weights(weights.parent / "other.json", weights, FINDINGS, SCORE)
    weights.write_bytes(b"others")
    with pytest.raises(PlanError, match="weights"):
        plan_of_weights(path, weights, FINDINGS, SCORE)


def test_a_plan_of_a_score_that_inference_does_not_show_is_refused(weights):
    made_for = {"weights": file_fingerprint(weights), "findings": FINDINGS, "image_score": SCORE}
    write_plan(weights.parent / "plan.json", made_for, {"points": POINTS, "score": "sparse"})
    with pytest.raises(PlanError, match="calibrates the score 'sparse'; inference shows 'image'"):
        plan_of_weights(weights.parent / "plan.json", weights, FINDINGS, SCORE)


def test_points_are_of_their_own_weights_and_of_no_others(weights, caplog):
    points = shown_points(POINTS)
    assert operating_points(FINDINGS, points, file_fingerprint(weights), weights).calibrated
    assert operating_points(FINDINGS, points).calibrated  # nothing says of what
    with caplog.at_level(logging.WARNING):
        other = operating_points(FINDINGS, points, "0" * 16, weights, min_score=0.2)
    assert not other.calibrated
    assert other.box.tolist() == [0.2]
    assert other.image.tolist() == [0.5]
    assert "is not what the operating points were frozen for" in caplog.text
