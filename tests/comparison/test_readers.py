"""Readers drawn by hand, and against plain loops, scikit-learn and a network that marks what a reader marked."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from bundle.comparison.readers import FIGURES, NOT_JUDGED, ReaderPoint, summarise_readers
from bundle.metrics.matching import HitCriterion
from tests.metrics.drawn import candidates, records_of, truth

CENTRE = HitCriterion()
A, B = (0, 0, 20, 20), (50, 50, 80, 80)


def reader(*boxes):
    """Boxes as (finding, x0, y0, x1, y1)."""
    table = np.array(boxes, float).reshape(-1, 5)
    return {"boxes": table[:, 1:], "box_finding": table[:, 0].astype(np.int64)}


def study(readings, tables=None, findings=("N",), criterion=CENTRE, replicates=0):
    """The figures of readings: for each image a dict of readers."""
    truths = [truth(index, [0.0] * len(findings)) for index in range(len(readings))]
    records = records_of(tables or [candidates()] * len(readings), truths, findings=list(findings))
    items = [{"index": index, "readers": readers} for index, readers in enumerate(readings)]
    return summarise_readers(records, items, criterion, replicates)


def test_two_readers_by_hand():
    readings = [
        {"x": reader((0, *A), (0, *B)), "y": reader((0, 2, 2, 20, 20))},  # one agreed, one alone
        {"x": reader(), "y": reader((0, *B))},
        {"x": reader(), "y": reader()},
        {"x": reader((0, *A)), "y": reader((0, *B))},  # both say present, not of one place
        {"x": reader((0, *A))},  # nobody to hold against
    ]
    network = candidates((0, 0.9, 10, 10), (0, 0.8, 100, 100))
    tables = [network, candidates(), candidates((0, 0.7, 1, 1)), network, network]
    metrics, notes, points = study(readings, tables)
    assert metrics["agreement/kappa/N/x|y"] == cohen_kappa_score([1, 0, 0, 1], [1, 1, 0, 1]) == 0.5
    assert metrics["agreement/f1/N/x|y"] == 2 * 1 / (3 + 3)
    assert metrics["agreement/kappa/mean/mean"] == metrics["agreement/kappa/N/mean"] == 0.5
    # x by what y saw: A hit in the first, B missed in the second and fourth; false: B in the first, A in the fourth
    assert metrics["readers/N/x/sensitivity"] == pytest.approx(1 / 3)
    assert metrics["readers/N/x/fp_per_image"] == 2 / 4
    # the network at no more than 2 / 4: 0.9 hits in the first and is false in the fourth, 0.8 false in both
    assert metrics["readers/N/x/model_sensitivity"] == pytest.approx(1 / 3)
    assert metrics["readers/N/x/difference"] == 0
    # y by what x saw (A, B, A): hits one; false are B in the second and in the fourth
    assert metrics["readers/N/y/sensitivity"] == pytest.approx(1 / 3)
    assert metrics["readers/N/y/fp_per_image"] == 2 / 4
    assert metrics["readers/N/y/model_sensitivity"] == pytest.approx(2 / 3)
    assert metrics["readers/mean/y/difference"] == pytest.approx(1 / 3)
    x, y = points
    assert (x.reader, x.fp_per_image, y.reader) == ("x", 0.5, "y")
    assert list(zip(y.model_fp_per_image, y.model_sensitivity, strict=True)) == [
        (0, 0),
        (0, pytest.approx(2 / 3)),
        (0.5, pytest.approx(2 / 3)),
        (0.75, pytest.approx(2 / 3)),
    ]
    assert not notes


def test_the_reference_is_what_any_other_saw_once():
    loose = (0, 0, 0, 20, 18)  # IoU .9 with A: one lesion
    readings = [{"x": reader((0, *A)), "y": reader(loose), "z": reader((0, *B))}] * 2 + [
        {"x": reader(), "y": reader(), "z": reader()}
    ]
    metrics, _, _ = study(readings)
    assert metrics["readers/N/x/sensitivity"] == 0.5  # A of y, B of z
    assert metrics["readers/N/z/sensitivity"] == 0  # A of x and y, once
    assert metrics["readers/N/z/fp_per_image"] == 2 / 3
    assert metrics["agreement/kappa/N/mean"] == 1
    assert metrics["agreement/f1/N/mean"] == pytest.approx((1 + 0 + 0) / 3)


def random_readings(images, seed):
    rng = np.random.default_rng(seed)
    readings, tables = [], []
    for _ in range(images):
        real = [(int(rng.integers(2)), *place) for place in (A, B, (100, 0, 130, 30)) if rng.random() < 0.4]
        readers = {}
        for name in "xyz":
            if rng.random() < 0.85:
                own = [box for box in real if rng.random() < 0.8]
                own += [(int(rng.integers(2)), 200, 200, 220, 220)] if rng.random() < 0.15 else []
                readers[name] = reader(*own)
        readings.append(readers)
        tables.append(
            candidates(*((k, rng.random(), x0 + 5, y0 + 5) for k, x0, y0, _, _ in real if rng.random() < 0.9))
        )
    return readings, tables


def test_against_loops_and_scikit_learn():
    readings, tables = random_readings(60, 0)
    metrics, _, _ = study(readings, tables, ("M", "N"))
    for k, finding in enumerate("MN"):
        for a, b in ("xy", "xz", "yz"):
            common = [r for r in readings if a in r and b in r]
            calls = [[k in r[name]["box_finding"] for r in common] for name in (a, b)]
            assert metrics[f"agreement/kappa/{finding}/{a}|{b}"] == pytest.approx(cohen_kappa_score(*calls))
            # boxes do not overlap here, so those that agree are equal: F1 of a table of boxes
            seen = [
                {(i, *box) for i, r in enumerate(common) for box in r[n]["boxes"][r[n]["box_finding"] == k].tolist()}
                for n in (a, b)
            ]
            every = sorted(seen[0] | seen[1])
            wanted = f1_score(*([box in boxes for box in every] for boxes in seen))
            assert metrics[f"agreement/f1/{finding}/{a}|{b}"] == pytest.approx(wanted)
        for name in "xyz":
            found = lesions = false = images = 0
            for readers in readings:
                if name not in readers or len(readers) < 2:
                    continue
                images += 1
                own, others = (
                    {tuple(box) for n in names for box in readers[n]["boxes"][readers[n]["box_finding"] == k].tolist()}
                    for names in ([name], readers.keys() - {name})
                )
                found, lesions, false = found + len(own & others), lesions + len(others), false + len(own - others)
            assert metrics[f"readers/{finding}/{name}/sensitivity"] == pytest.approx(found / lesions)
            assert metrics[f"readers/{finding}/{name}/fp_per_image"] == pytest.approx(false / images)


def test_a_network_that_marks_what_a_reader_marked_does_not_differ_in_any_replicate():
    readings, _ = random_readings(60, 1)
    rows = []
    for own in (readers.get("x", reader()) for readers in readings):
        boxes = zip(own["boxes"].tolist(), own["box_finding"].tolist(), strict=True)
        rows.append([(k, 1.0, (x0 + x1) / 2, (y0 + y1) / 2) for (x0, y0, x1, y1), k in boxes])
    metrics, notes, _ = study(readings, [candidates(*row) for row in rows], ("M", "N"), replicates=50)
    for finding in ("M", "N", "mean"):
        start = f"readers/{finding}/x"
        assert metrics[f"{start}/model_sensitivity"] == metrics[f"{start}/sensitivity"] > 0
        assert metrics[f"{start}/difference"] == 0
        for figure in FIGURES[:3]:
            low, high = metrics[f"{start}/{figure}/low"], metrics[f"{start}/{figure}/high"]
            assert low < metrics[f"{start}/{figure}"] < high
    for figure in ("kappa", "f1"):
        key = f"agreement/{figure}/mean/mean"
        assert metrics[f"{key}/low"] < metrics[key] < metrics[f"{key}/high"]
    assert "bootstrap" not in notes


def test_kappa_of_readers_that_never_differ_is_undefined_and_says_so():
    readings = [{"x": reader((0, *A)), "y": reader((0, *A))}] * 3
    metrics, notes, _ = study(readings, findings=("N", "M"))
    assert metrics["agreement/kappa/N/x|y"] is None
    assert notes["agreement/kappa/N/x|y"] == "both readers say the same of every image"
    assert metrics["agreement/f1/N/x|y"] == 1
    assert metrics["agreement/f1/M/x|y"] is None
    assert notes["agreement/f1/M/x|y"] == "neither drew a box"
    assert notes["agreement/f1/mean/mean"].startswith("mean of 1 of 2 findings")


def test_without_two_readers_there_is_nothing_and_patches_judge_no_reader():
    assert study([{}, {"x": reader((0, *A))}]) == ({}, {}, [])
    readings = [{"x": reader((0, *A)), "y": reader()}]
    metrics, notes, points = study(readings, criterion=HitCriterion("patch", 0.5, 0.5))
    assert (metrics, points) == ({}, [])
    assert "patch" in notes[NOT_JUDGED]
    assert all(isinstance(point, ReaderPoint) for point in study(readings)[2])
    assert math.isclose(study(readings)[0]["readers/N/y/fp_per_image"], 0)
