"""What frozen thresholds show: against loops over images, and thresholds against all that could be chosen."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from bundle.metrics.draws import draw_counts
from bundle.metrics.intervals import Share, figure_interval
from bundle.metrics.records import COUNTED
from bundle.metrics.shown import box_thresholds, shown, summarise_shown
from tests.metrics.drawn import NAN, candidates, random_evaluation, records_of, truth

IMAGES = 80
LIMITS = (np.array([0.3, 0.0, 0.6]), np.array([0.4, 0.7, 0.2]), 2)


def drawn(seed=0, images=IMAGES):
    tables, truths, scores = random_evaluation(images, seed=seed)
    records = records_of(tables, truths, scores)
    return records, np.random.default_rng(seed).random((images, 3))


def looped(records, probability, image, box, most):
    """Candidates and lesions shown, as sets of rows, by a loop over images and findings."""
    rows, found = set(), set()
    for place, index in enumerate(records.images.index):
        for k in range(3):
            mine = np.flatnonzero((records.candidates.index == index) & (records.candidates.finding == k))
            mine = mine[np.argsort(-records.candidates.score[mine], kind="stable")]
            if probability[place, k] < image[k]:
                continue
            kept = [row for row in mine if records.candidates.score[row] >= box[k]][:most]
            rows |= set(map(int, kept))
            lowest = min((records.candidates.score[row] for row in kept), default=np.inf)
            lesions = np.flatnonzero((records.lesions.index == index) & (records.lesions.finding == k))
            found |= {int(row) for row in lesions if records.lesions.score[row] >= lowest}
    return rows, found


@pytest.mark.parametrize("seed", range(3))
def test_is_a_loop_over_images(seed):
    records, probability = drawn(seed)
    mine = shown(records, probability, *LIMITS)
    rows, found = looped(records, probability, *LIMITS)
    assert rows
    assert set(np.flatnonzero(mine.candidate)) == rows
    assert set(np.flatnonzero(mine.lesion)) == found


def figures(records, probability, limits):
    """The figures of a whole data set, by loops."""
    rows, found = looped(records, probability, *limits)
    status = records.images.status
    place = {int(index): at for at, index in enumerate(records.images.index)}
    false = np.zeros(3)
    for row in rows:
        k = records.candidates.finding[row]
        at = place[int(records.candidates.index[row])]
        false[k] += records.candidates.lesion[row] < 0 and status[at, k] == COUNTED
    rate = sum(false[k] / (status[:, k] == COUNTED).sum() for k in range(3))
    judged = [
        row
        for row, (index, k) in enumerate(zip(records.lesions.index, records.lesions.finding, strict=True))
        if status[place[int(index)], k] == COUNTED
    ]
    free = [at for at in place.values() if (records.images.label[at] == 0).all() and (status[at] == COUNTED).all()]
    marked = {place[int(records.candidates.index[row])] for row in rows}
    return rate, len(found & set(judged)) / len(judged), len(marked & set(free)) / len(free)


def test_by_size_in_mm_is_a_loop_over_lesions():
    records, probability = drawn()
    assert not any("by_mm" in key for key in summarise_shown(records, probability, *LIMITS, replicates=0)[0])
    records = replace(records, images=replace(records.images, pixel_mm=np.full((IMAGES, 2), 1.0)))
    metrics, _ = summarise_shown(records, probability, *LIMITS, replicates=50)
    _, found = looped(records, probability, *LIMITS)
    sizes: dict[str, list[bool]] = {"mm_to_15": [], "mm_15_to_30": [], "mm_30_to_100": [], "mm_above_100": []}
    for row, (index, k, box) in enumerate(
        zip(records.lesions.index, records.lesions.finding, records.lesions.box, strict=True)
    ):
        if records.images.status[index, k] == COUNTED:
            side = max(box[2] - box[0], box[3] - box[1])
            sizes["mm_to_15" if side <= 15 else "mm_15_to_30" if side <= 30 else "mm_30_to_100"].append(row in found)
    for tier, hits in sizes.items():
        key = f"shown/sensitivity_by_mm/{tier}"
        assert metrics[f"shown/n_lesions/{tier}"] == len(hits)
        if hits:
            assert metrics[key] == pytest.approx(np.mean(hits))
            assert metrics[f"{key}/low"] < metrics[key] <= metrics[f"{key}/high"]
    assert metrics["shown/sensitivity_by_mm/mm_above_100"] is None


KEYS = ("shown/false_marks_per_image", "shown/sensitivity", "shown/finding_free_marked")


def test_figures_and_intervals_are_those_of_loops_and_real_resampling():
    tables, truths, scores = random_evaluation(IMAGES, seed=7)
    for index in range(0, IMAGES, 5):  # some are free of all findings
        truths[index] = truth(index, [0, 0, 0])
    truths = [{key: value for key, value in each.items() if key != "group"} for each in truths]
    records = records_of(tables, truths, scores)
    probability = np.random.default_rng(7).random((IMAGES, 3))
    metrics, _ = summarise_shown(records, probability, *LIMITS, replicates=0)
    assert [metrics[key] for key in KEYS] == pytest.approx(figures(records, probability, LIMITS))

    counts = draw_counts(IMAGES, 20, 2)
    replicated = []
    for column in counts.T:
        rows = np.repeat(np.arange(IMAGES), column)
        again = records_of(
            [tables[row] for row in rows],
            [{**truths[row], "index": number} for number, row in enumerate(rows)],
            [scores[row] for row in rows],
        )
        replicated.append(figures(again, probability[rows], LIMITS))
    metrics, _ = summarise_shown(records, probability, *LIMITS, replicates=20, seed=2, level=0.9)
    lesions, free = metrics["shown/n_lesions"], metrics["shown/n_finding_free"]
    with_lesions = len(np.unique(records.lesions.index))
    kinds = (None, Share(lesions, with_lesions), Share(free, free))
    for key, values, kind in zip(KEYS, np.array(replicated).T, kinds, strict=True):
        ends = (metrics[f"{key}/low"], metrics[f"{key}/high"])
        assert ends == pytest.approx(figure_interval(metrics[key], values, kind, 0.9))


@pytest.mark.parametrize("budget", [0.2, 0.7, 2.0])
def test_thresholds_keep_the_budget_and_waste_less_than_a_piece_of_the_hull(budget):
    records, probability = drawn(1, 40)
    image, most = LIMITS[0], LIMITS[2]

    def spent_and_found(box):
        metrics, _ = summarise_shown(records, probability, image, np.asarray(box), most, replicates=0)
        return metrics[KEYS[0]], metrics[KEYS[1]] * metrics["shown/n_lesions"]

    chosen = spent_and_found(box_thresholds(records, probability, image, most, budget))
    assert chosen[0] <= budget + 1e-9
    alone = []  # of each finding, at each threshold that makes a difference, the others showing nothing
    for k in range(3):
        levels = [np.inf, *np.unique(records.candidates.score[records.candidates.finding == k])]
        alone.append([spent_and_found([level if j == k else np.inf for j in range(3)]) for level in levels])
    every = np.array([np.sum(choice, 0) for choice in itertools.product(*alone)])
    best = every[every[:, 0] <= budget + 1e-9, 1].max()
    assert best - 3 <= chosen[1] <= best
    assert chosen[1] > 0.7 * best


def test_a_finding_without_lesions_is_never_shown():
    truths = [truth(0, [1, 0, 0], [(0, 0, 0, 10, 10)]), truth(1, [0, 0, 0])]
    records = records_of([candidates((0, 0.9, 5, 5), (1, 0.8, 5, 5)), candidates((1, 0.7, 5, 5))], truths)
    box = box_thresholds(records, np.full((2, 3), NAN), np.zeros(3), 3, 5.0)
    assert box.tolist() == [0.9, np.inf, np.inf]
