"""Box average precision: drawn by hand, against MONAI's implementation, and resampled for real."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou

from bundle.metrics import FROCMetric, Records, detection, draws
from bundle.metrics.detection import IOUS, box_matches, box_precision
from bundle.metrics.draws import Draws, draw_counts
from tests.metrics.drawn import NAN, truth


def boxes(*rows: tuple) -> torch.Tensor:
    """Candidates as (finding, score, x0, y0, x1, y1)."""
    table = [[k, s, (x0 + x1) / 2, (y0 + y1) / 2, x0, y0, x1, y1] for k, s, x0, y0, x1, y1 in rows]
    return torch.tensor(table, dtype=torch.float64).reshape(-1, 8)


def records_of(tables: list, truths: list, findings: int = 1) -> Records:
    metric = FROCMetric([f"F{k}" for k in range(findings)])
    metric(tables, truths)
    return metric.records()


def random_records(images: int, seed: int, ties: bool = False) -> Records:
    """Candidates near the lesions and elsewhere; three findings, some labels unknown, some positives without boxes."""
    rng = np.random.default_rng(seed)
    tables, truths = [], []
    for index in range(images):
        label = rng.choice([0.0, 1.0, 1.0, NAN], 3)
        lesions, rows, boxed = [], [], []
        for k in range(3):
            boxed.append(bool(label[k] == 0 or (label[k] == 1 and rng.random() < 0.8)))
            if label[k] == 1 and boxed[k]:
                for _ in range(rng.integers(1, 4)):
                    low = rng.random(2) * 60
                    lesions.append((k, *low, *(low + 10 + rng.random(2) * 30)))
        for k, *box in lesions:
            for _ in range(rng.integers(0, 3)):
                jitter = rng.normal(size=4) * 5
                jittered = np.array(box) + jitter
                if (jittered[2:] > jittered[:2]).all():
                    rows.append((k, rng.random(), *jittered))
        for _ in range(rng.integers(0, 6)):
            low = rng.random(2) * 60
            rows.append((int(rng.integers(3)), rng.random(), *low, *(low + 5 + rng.random(2) * 30)))
        tables.append(boxes(*((k, round(s, 1) if ties else s, *box) for k, s, *box in rows)))
        truths.append(truth(index, label.tolist(), lesions, boxed))
    return records_of(tables, truths, 3)


def precision(records: Records, **options) -> np.ndarray:
    """Of each finding and IoU (K, T), in the sample."""
    alone = Draws.alone(len(records.images.index))
    return np.stack([box_precision(matches, alone)[:, 0] for matches in box_matches(records, **options)])


class TestByHand:
    def test_every_step(self):
        """Two lesions; hit at .9, miss at .8, hit at .7: precision 1 up to recall 1/2, then 2/3."""
        image = truth(0, [1], [(0, 0, 0, 10, 10), (0, 50, 50, 60, 60)])
        table = boxes((0, 0.9, 0, 0, 10, 10), (0, 0.8, 80, 80, 90, 90), (0, 0.7, 50, 50, 60, 60))
        assert precision(records_of([table], [image])) == pytest.approx(np.full((1, 3), (51 + 50 * 2 / 3) / 101))
        assert len(IOUS) == 3

    def test_the_threshold(self):
        """Half of a box of twice the height: IoU 1/2, which reaches .5; one pixel less does not."""
        image = truth(0, [1], [(0, 0, 0, 10, 20)])
        assert precision(records_of([boxes((0, 0.9, 0, 0, 10, 10))], [image]))[0] == pytest.approx([1, 1, 1])
        assert precision(records_of([boxes((0, 0.9, 0, 0, 10, 9))], [image]))[0] == pytest.approx([1, 1, 0])

    def test_a_second_hit_is_wrong(self):
        image = truth(0, [1], [(0, 0, 0, 10, 10), (0, 50, 50, 60, 60)])
        table = boxes((0, 0.9, 0, 0, 10, 10), (0, 0.8, 0, 0, 10, 10), (0, 0.7, 50, 50, 60, 60))
        assert precision(records_of([table], [image]))[0, 0] == pytest.approx((51 + 50 * 2 / 3) / 101)

    def test_a_false_positive_on_a_normal_image_costs(self):
        found, normal = truth(0, [1], [(0, 0, 0, 10, 10)]), truth(1, [0])
        tables = [boxes((0, 0.5, 0, 0, 10, 10)), boxes((0, 0.9, 0, 0, 10, 10))]
        assert precision(records_of(tables, [found, normal]))[0, 0] == pytest.approx(1 / 2)
        # of a positive without boxes nobody can say
        assert precision(records_of(tables, [found, truth(1, [1])]))[0, 0] == pytest.approx(1)
        assert precision(records_of(tables, [found, truth(1, [NAN])]))[0, 0] == pytest.approx(1)

    def test_findings_do_not_mix(self):
        image = truth(0, [1, 1], [(0, 0, 0, 10, 10), (1, 50, 50, 60, 60)])
        table = boxes((1, 0.9, 0, 0, 10, 10), (1, 0.8, 50, 50, 60, 60))
        assert precision(records_of([table], [image], 2))[:, 0] == pytest.approx([0, 1 / 2])

    def test_only_the_highest_are_looked_at(self):
        image = truth(0, [1], [(0, 0, 0, 10, 10)])
        table = boxes((0, 0.9, 50, 50, 60, 60), (0, 0.8, 0, 0, 10, 10))
        records = records_of([table], [image])
        assert precision(records)[0, 0] == pytest.approx(1 / 2)
        assert precision(records, max_detections=1)[0, 0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_monai(seed):
    records = random_records(40, seed, ties=seed == 2)
    result = precision(records)
    for k in range(3):  # MONAI knows no images that do not count, so one finding at a time
        counted = records.images.index[records.images.status[:, k] == 0]
        predicted = [(records.candidates.index == i) & (records.candidates.finding == k) for i in counted]
        wanted = [(records.lesions.index == i) & (records.lesions.finding == k) for i in counted]
        metric = COCOMetric(["F"], iou_list=IOUS, iou_range=(0.1, 0.5, 0.2), max_detection=[100], verbose=False)
        matched = matching_batch(
            iou_fn=box_iou,
            iou_thresholds=metric.iou_thresholds,
            pred_boxes=[records.candidates.box[rows] for rows in predicted],
            pred_classes=[np.zeros(rows.sum(), int) for rows in predicted],
            pred_scores=[records.candidates.score[rows] for rows in predicted],
            gt_boxes=[records.lesions.box[rows] for rows in wanted],
            gt_classes=[np.zeros(rows.sum(), int) for rows in wanted],
        )
        figures = metric(matched)[0]
        assert result[k] == pytest.approx([figures[f"AP_IoU_{t:.2f}_MaxDet_100"] for t in IOUS], abs=1e-6)
    assert 0.05 < result.mean(0).min() < result.mean(0).max() < 0.95


def resampled(records: Records, drawn: np.ndarray) -> Records:
    """A data set in which image i stands drawn[i] times: every copy an image of its own, copies together."""
    images, lesions, candidates = records.images, records.lesions, records.candidates
    copies = np.repeat(np.arange(len(images.index)), drawn)
    new = np.arange(len(copies))

    def rows(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(row, copy) for copy, image in zip(new, copies, strict=True) for row in np.flatnonzero(index == image)]
        row, copy = np.array(pairs, int).reshape(-1, 2).T
        return row, copy

    def taken(table, index):
        row, copy = rows(index)
        return replace(
            table, **{name: (copy if name == "index" else value[row]) for name, value in vars(table).items()}
        )

    return replace(
        records,
        images=replace(images, index=new, group=new, label=images.label[copies], status=images.status[copies]),
        lesions=taken(lesions, lesions.index),
        candidates=taken(candidates, candidates.index),
    )


@pytest.mark.parametrize(("images", "chunk"), [(20, 1 << 22), (20, 60), (3, 1 << 22)])
def test_replicates_equal_resampling(images, chunk, monkeypatch):
    monkeypatch.setattr(draws, "_CHUNK", chunk)
    records = random_records(images, images)
    unit = np.arange(images) // 2
    counts = draw_counts(unit.max() + 1, 25, 0)
    replicates = np.stack([box_precision(match, Draws(counts, unit)) for match in box_matches(records)])  # (K, T, R)
    for r in range(25):
        wanted = precision(resampled(records, counts[unit, r]))
        np.testing.assert_allclose(replicates[..., r], wanted, atol=1e-12)
    assert np.isnan(replicates).any() == (images == 3)


def test_is_pycocotools_also_with_ties():
    records, seen = random_records(30, 5, ties=True), []

    class Kept(detection.COCOeval):
        def __init__(self, *given) -> None:
            super().__init__(*given)
            seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "COCOeval", Kept)
        mine = precision(records)
    with contextlib.redirect_stdout(io.StringIO()):
        seen[0].accumulate()
    table = seen[0].eval["precision"][..., 0, 0]  # (T, 101, K)
    np.testing.assert_allclose(mine, table.mean(1).T, atol=1e-12)


class TestUndefined:
    def test_no_lesions(self):
        table = boxes((0, 0.9, 0, 0, 10, 10), (1, 0.5, 0, 0, 10, 10))
        records = records_of([table], [truth(0, [0, 1], [(1, 0, 0, 10, 10)])], 2)
        result = precision(records)
        assert np.isnan(result[0]).all()
        assert result[1].tolist() == pytest.approx([1, 1, 1])
        assert np.isnan(box_precision(box_matches(records)[0], Draws.of([0], 4))).all()

    def test_nothing_at_all(self):
        assert np.isnan(precision(records_of([boxes()], [truth(0, [0])]))).all()

    def test_nothing_called_is_zero(self):
        records = records_of([boxes()], [truth(0, [1], [(0, 0, 0, 10, 10)])])
        assert precision(records).tolist() == [[0, 0, 0]]
        assert box_precision(box_matches(records)[0], Draws.of([0], 2)).max() == 0


def test_quiet(capsys):
    box_matches(random_records(3, 0))
    assert capsys.readouterr().out == ""


class TestFaults:
    @pytest.mark.parametrize("options", [{"iou": []}, {"iou": [0]}, {"iou": [1.1]}, {"max_detections": 0}])
    def test_settings(self, options):
        with pytest.raises(ValueError, match="wanted"):
            box_matches(random_records(2, 0), **options)

    def test_scores_and_boxes_are_named_by_image(self):
        records = records_of([boxes((0, 0.5, 0, 0, 1, 1))], [truth(7, [1], [(0, 0, 0, 10, 10)])])
        broken = replace(records, candidates=replace(records.candidates, score=np.array([NAN])))
        with pytest.raises(ValueError, match="image 7: a candidate has a score that is not finite"):
            box_matches(broken)
        empty = replace(records, candidates=replace(records.candidates, box=np.array([[1.0, 1, 1, 5]])))
        with pytest.raises(ValueError, match="image 7: a candidate has a box that is empty"):
            box_matches(empty)
