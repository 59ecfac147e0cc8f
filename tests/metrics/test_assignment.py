"""One-to-one matching against every assignment that there is."""

import itertools

import numpy as np
import pytest

from bundle.metrics import FROCMetric
from bundle.metrics.assignment import one_to_one
from bundle.metrics.froc import FP_RATES
from bundle.metrics.matching import HitCriterion, match, match_batch, overlap_ratio
from bundle.metrics.records_check import check_same_truth
from tests.metrics.drawn import random_evaluation, truth

HUNGARIAN = HitCriterion(assignment="hungarian")


def every_matching(hits):
    """All sets of pairs in which no candidate and no lesion stands twice."""
    pairs = list(zip(*np.nonzero(hits), strict=True))
    for number in range(min(hits.shape) + 1):
        for chosen in itertools.combinations(pairs, number):
            if len({i for i, _ in chosen}) == len({j for _, j in chosen}) == number:
                yield chosen


@pytest.mark.parametrize("seed", range(40))
def test_best_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    hits = rng.random((rng.integers(1, 5), rng.integers(1, 5))) < 0.6
    score, overlap = np.round(rng.random(len(hits)), 1), rng.random(hits.shape)
    candidate, lesion = one_to_one(hits, score, overlap)
    found = list(zip(candidate, lesion, strict=True))
    assert found in [sorted(pairs) for pairs in every_matching(hits)]

    rank = {value: place for place, value in enumerate(sorted(set(score)))}

    def worth(pairs):
        return len(pairs), sum(rank[score[i]] for i, _ in pairs), round(sum(overlap[pair] for pair in pairs), 9)

    assert worth(found) == max(worth(pairs) for pairs in every_matching(hits))
    for threshold in score:  # one matching serves every point of the curve
        above = sum(score[i] >= threshold for i in candidate)
        assert above == max(len(pairs) for pairs in every_matching(hits & (score >= threshold)[:, None]))


def test_a_peak_in_two_boxes_finds_one_and_a_left_over_hit_is_no_false_positive():
    boxes = [[0, 0, 20, 20], [10, 10, 40, 40]]
    both, first = [0, 0.6, 12, 12, 5, 5, 20, 20], [0, 0.4, 5, 5, 0, 0, 10, 10]
    alone = match([both], boxes, [0, 0], HUNGARIAN)
    assert sorted(alone.lesion_scores.tolist()) == [-np.inf, 0.6]
    assert alone.lesion_scores[alone.hit_lesion[0]] == 0.6
    pair = match([both, first], boxes, [0, 0], HUNGARIAN)
    assert pair.lesion_scores.tolist() == [0.4, 0.6]
    assert pair.hit_lesion.tolist() == [1, 0]
    third = match([both, first, [0, 0.5, 4, 4, 0, 0, 9, 9]], boxes, [0, 0], HUNGARIAN)
    assert third.lesion_scores.tolist() == [0.5, 0.6]
    assert (third.hit_lesion >= 0).all()


@pytest.mark.parametrize("criterion", [HUNGARIAN, HitCriterion("iobb", 0.5, assignment="hungarian")], ids=str)
def test_images_at_once_and_by_brute_force(criterion):
    tables, truths, _ = random_evaluation(40, seed=5)
    for image in truths:  # many overlapping boxes
        image["boxes"][:, 2:] += 30
    real = [(image["box_finding"] >= 0).numpy() for image in truths]
    boxes = [image["boxes"].numpy()[keep] for image, keep in zip(truths, real, strict=True)]
    findings = [image["box_finding"].numpy()[keep] for image, keep in zip(truths, real, strict=True)]
    batch = match_batch(tables, boxes, findings, criterion)
    plain = HitCriterion(criterion.name, criterion.threshold)
    differing = 0
    for table, box, finding, found in zip(tables, boxes, findings, batch, strict=True):
        single, best_hit = (match(table, box, finding, rule) for rule in (criterion, plain))
        for mine, its in ((found.hits, single.hits), (found.lesion_scores, single.lesion_scores)):
            np.testing.assert_array_equal(mine, its)
        np.testing.assert_array_equal(found.hit_lesion, single.hit_lesion)
        np.testing.assert_array_equal(found.hit_lesion < 0, best_hit.hit_lesion < 0)
        differing += (found.lesion_scores != best_hit.lesion_scores).any()
        for k in range(3):
            own = [i for i, row in enumerate(table.tolist()) if row[0] == k and found.hits[i].any()]
            lesions = np.flatnonzero(finding == k)
            every = [
                sorted((table[i, 1].item() for i, _ in pairs), reverse=True)
                for pairs in every_matching(found.hits[np.ix_(own, lesions)])
                for pairs in [[(own[i], j) for i, j in pairs]]
            ]
            scores = found.lesion_scores[lesions]
            assert sorted(scores[scores > -np.inf].tolist(), reverse=True) == max(every, key=lambda s: (len(s), s))
    assert differing > 3


def test_overlap_decides_among_equals():
    boxes = np.array([[0, 0, 20, 20], [0, 0, 40, 40]])
    table = np.array([[0, 0.5, 5, 5, 0, 0, 40, 40], [0, 0.5, 6, 6, 0, 0, 20, 20]])
    assert match(table, boxes, [0, 0], HUNGARIAN).hit_lesion.tolist() == [1, 0]
    assert overlap_ratio(table[:, 4:], boxes[::-1], "iou").tolist() == [1, 1]


def test_records_say_the_rule_and_are_not_compared_with_others():
    image = truth(0, [1.0], [(0, 0, 0, 20, 20), (0, 10, 10, 40, 40)])
    records = {}
    for assignment in ("best_hit", "hungarian"):
        metric = FROCMetric(["A"], assignment=assignment)
        metric([np.array([[0, 0.6, 12, 12, 5, 5, 20, 20]])], [image])
        records[assignment] = metric.records()
        assert metric.aggregate() == (1.0 if assignment == "best_hit" else 0.5)
        assert metric.fp_rates == FP_RATES
    assert records["hungarian"].criterion == "centre: the peak lies inside the box, one candidate a lesion (Hungarian)"
    with pytest.raises(ValueError, match="their hit criteria are"):
        check_same_truth(records, "best_hit")
    with pytest.raises(ValueError, match="unknown assignment 'greedy'; known: best_hit, hungarian"):
        HitCriterion(assignment="greedy")
