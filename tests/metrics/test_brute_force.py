"""From candidates and boxes to metrics.json once more, in loops that know nothing of records, matching and curves."""

import math

import pytest

from bundle.metrics import FROCMetric, summarise
from bundle.metrics.froc import FP_RATES
from tests.metrics.drawn import random_evaluation

FINDINGS = ["A", "B", "C"]
CRITERIA = [("centre", None), ("iou", 0.1), ("iobb", 0.5)]


def hits(row: list[float], box: list[float], criterion: str, threshold: float | None) -> bool:
    """Whether a candidate hits a box."""
    _, _, x, y, left, top, right, bottom = row
    x0, y0, x1, y1 = box
    if criterion == "centre":
        return x0 <= x < x1 and y0 <= y < y1
    shared = max(0, min(right, x1) - max(left, x0)) * max(0, min(bottom, y1) - max(top, y0))
    own, other = (right - left) * (bottom - top), (x1 - x0) * (y1 - y0)
    return shared / (own + other - shared if criterion == "iou" else own) >= threshold


def judged(tables: list, truths: list, k: int, *criterion: object) -> tuple[dict[float, float], float]:
    """Sensitivity at every rate, and the weighted alternative area, of one finding."""
    wrong, found, weights, normal, images = [], [], [], [], 0
    for table, truth in zip(tables, truths, strict=True):
        if not truth["boxed"][k]:
            continue
        images += 1
        rows = [row for row in table.tolist() if row[0] == k]
        boxes = [box for box, f in zip(truth["boxes"].tolist(), truth["box_finding"].tolist(), strict=True) if f == k]
        found += [max((row[1] for row in rows if hits(row, box, *criterion)), default=-math.inf) for box in boxes]
        wrong += [row[1] for row in rows if not any(hits(row, box, *criterion) for box in boxes)]
        weights += [1 / len(boxes) for _ in boxes]
        if not boxes:
            normal.append(max((row[1] for row in rows), default=-math.inf))
    points = [(0.0, 0.0)]
    for threshold in {*wrong, *found} - {-math.inf}:
        rate = sum(score >= threshold for score in wrong) / images
        points.append((rate, sum(score >= threshold for score in found) / len(found)))
    sensitivity = {x: max(s for rate, s in points if rate <= x) for x in FP_RATES}
    order = sum(
        weight * ((score > other) + (score == other) / 2)
        for score, weight in zip(found, weights, strict=True)
        for other in normal
    )
    return sensitivity, order / sum(weights) / len(normal)


@pytest.mark.parametrize(("criterion", "threshold"), CRITERIA)
@pytest.mark.parametrize("seed", range(4))
def test_froc_and_wafroc_equal_a_brute_force(seed, criterion, threshold):
    tables, truths, _ = random_evaluation(40, seed=seed)
    metric = FROCMetric(FINDINGS, criterion, threshold)
    metric(tables, truths)
    metrics, _ = summarise(metric.records(), replicates=0)
    scores = []
    for k, finding in enumerate(FINDINGS):
        sensitivity, area = judged(tables, truths, k, criterion, threshold)
        assert {x: metrics[f"froc/{finding}/sens_at_{x:g}fp"] for x in FP_RATES} == pytest.approx(sensitivity)
        assert metrics[f"wafroc/{finding}"] == pytest.approx(area, abs=1e-12)
        scores.append(sum(sensitivity.values()) / len(sensitivity))
        assert metrics[f"froc/{finding}/score"] == pytest.approx(scores[-1], abs=1e-12)
    assert metrics["froc/mean/score"] == pytest.approx(sum(scores) / 3, abs=1e-12)
    assert 0 < metrics["froc/mean/score"] < 1
