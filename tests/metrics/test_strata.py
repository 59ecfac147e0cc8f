"""Sensitivity by size of the lesion."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bundle.grid import grid_to_stored
from bundle.metrics import froc_curve, sensitivity_at, summarise
from bundle.metrics.draws import Draws, draw_counts
from bundle.metrics.froc import FP_RATES
from bundle.metrics.records import of_finding
from bundle.metrics.strata import MM_TIERS, SIZE_TIERS, by_size, lesion_mm, mm_tier, patch_areas, put_pooled, size_tiers
from bundle.metrics.table import FigureTable
from tests.metrics.drawn import NAN, candidates, random_evaluation, records_of, truth

FINDINGS = ["A", "B", "C"]


@pytest.fixture(scope="module")
def records():
    return records_of(*random_evaluation(60)[:2])


def square(side: float, x: float = 0.0) -> tuple:
    return (0, x, 0, x + side, side)


class TestTiers:
    def test_the_edges(self):
        """Patches of 10 px: a box of exactly one patch, and of exactly four, is in the middle."""
        boxes = [square(9.9), square(10, 10), square(20, 20), square(20.1, 50)]
        records = records_of([candidates()], [truth(0, [1], boxes)], findings=["A"])
        assert size_tiers(records, [100.0])[0].tolist() == [0, 1, 1, 2]
        for rounding in (1 - 1e-12, 1 + 1e-12):
            assert size_tiers(records, [100.0 * rounding])[0].tolist() == [0, 1, 1, 2]

    def test_each_image_has_its_own_patches(self):
        truths = [truth(i, [1], [square(15)]) for i in (3, 7, 8)]
        records = records_of([candidates()] * 3, truths, findings=["A"])
        assert size_tiers(records, [400.0, 100.0, 25.0])[0].tolist() == [0, 1, 2]

    def test_only_lesions_that_count(self):
        truths = [truth(0, [1], [square(5)], boxed=[False]), truth(1, [1], [square(50)])]
        records = records_of([candidates()] * 2, truths, findings=["A"])
        assert size_tiers(records, [100.0, 100.0])[0].tolist() == [2]

    def test_the_area_of_a_patch(self):
        """A canvas of 100 px that shows the image at half size, on a grid of 4x5: patches of 50 x 40 stored pixels."""
        affine = grid_to_stored(torch.diag(torch.tensor([0.5, 0.5, 1.0])), (100, 100), (5, 4))
        assert patch_areas(affine) == pytest.approx(50 * 40)
        assert patch_areas(torch.stack([affine, affine / 2])).tolist() == pytest.approx([2000, 500])

    @pytest.mark.parametrize(
        ("area", "message"),
        [
            ([1.0], "one number for each of the 60 images, got"),
            (1.0, "one number for each"),
            ([1.0] * 59 + [0.0], "must be positive, got 0.0 for image 59"),
            ([np.nan] + [1.0] * 59, "must be positive, got nan for image 0"),
        ],
    )
    def test_refused(self, records, area, message):
        with pytest.raises(ValueError, match=message):
            by_size(records, patch_area=area)


def test_each_tier_has_its_lesions_and_all_false_positives(records):
    area = np.where(np.arange(60) % 2, 600.0, 100.0)  # boxes have 225 to 1521 px
    metrics, notes = by_size(records, replicates=50, patch_area=area)
    candidate, lesion = records.candidates, records.lesions
    size = (lesion.box[:, 2] - lesion.box[:, 0]) * (lesion.box[:, 3] - lesion.box[:, 1]) / area[lesion.index]
    inside = {"size_small": size < 1, "size_mid": (size >= 1) & (size <= 4), "size_large": size > 4}
    for k, finding in enumerate(FINDINGS):
        counted = np.flatnonzero(records.images.status[:, k] == 0)
        wrong = (candidate.finding == k) & (candidate.lesion < 0) & np.isin(candidate.index, counted)
        mine = (lesion.finding == k) & np.isin(lesion.index, counted)
        for tier in SIZE_TIERS:
            chosen = mine & inside[tier]
            assert metrics[f"n_lesions/{finding}/{tier}"] == chosen.sum() > 0
            curve = froc_curve(candidate.score[wrong], lesion.score[chosen], len(counted))
            for rate in FP_RATES:
                assert metrics[f"froc/{finding}/{tier}/sens_at_{rate:g}fp"] == sensitivity_at(curve, rate)
            assert metrics[f"froc/{finding}/{tier}/oracle"] == lesion.oracle[chosen].mean()
    for tier in SIZE_TIERS:
        values = [metrics[f"froc/{finding}/{tier}/sens_at_1fp"] for finding in FINDINGS]
        assert metrics[f"froc/mean/{tier}/sens_at_1fp"] == pytest.approx(np.mean(values))
        assert metrics[f"froc/mean/{tier}/sens_at_1fp/low"] <= metrics[f"froc/mean/{tier}/sens_at_1fp/high"]
    assert notes["size_tiers"].startswith("area of the box in patches")


def test_one_tier_with_everything_is_the_evaluation(records):
    metrics, notes = by_size(records, replicates=80, seed=4, patch_area=np.full(60, 1e-3))
    whole, _ = summarise(records, replicates=80, seed=4)
    for finding in [*FINDINGS, "mean"]:
        for end in ("", "/low", "/high"):
            assert metrics[f"froc/{finding}/size_large/sens_at_1fp{end}"] == whole[f"froc/{finding}/sens_at_1fp{end}"]
        assert metrics[f"froc/{finding}/size_small/sens_at_1fp"] is None
    assert notes["froc/A/size_small/sens_at_1fp"] == "no lesions of this size"
    assert notes["froc/mean/size_small/sens_at_1fp"] == "undefined for every finding"
    assert {key for key, value in metrics.items() if value is None} <= notes.keys()


def with_areas(records, area):
    return replace(records, images=replace(records.images, patch_area=np.asarray(area)))


def test_areas_of_the_records_are_as_good_as_areas_given(records):
    assert records.images.patch_area.tolist() == [12.5**2] * 60
    assert by_size(records, 20) == by_size(records, 20, patch_area=[12.5**2] * 60)
    area = np.where(np.arange(60) % 2, 600.0, 100.0)
    assert by_size(with_areas(records, area), 20) == by_size(records, 20, patch_area=area)


@pytest.mark.parametrize("unknown", [slice(None), slice(7, 8)])
def test_an_area_that_the_records_lack_leaves_no_figure(records, unknown):
    area = records.images.patch_area.copy()
    area[unknown] = np.nan
    metrics, notes = by_size(with_areas(records, area), 20)
    assert metrics == {}
    assert notes == {
        "size_tiers": "no figures by lesion size: the patches' geometry was not given",
        "mm_tiers": "no figures by lesion size in mm: the pixel spacing of no image with lesions is known",
    }


def with_pixels(records, pixel_mm):
    images = replace(records.images, pixel_mm=np.broadcast_to(pixel_mm, (len(records.images.index), 2)).copy())
    return replace(records, images=images)


class TestMillimetres:
    def test_the_longest_side_by_the_pixels_of_its_own_image(self):
        truths = [
            truth(i, [1], [(0, 0, 0, 10, 30)], pixel_mm=mm) for i, mm in enumerate([(1, 1), (0.1, 1), (NAN, NAN)])
        ]
        records = records_of([candidates()] * 4, [*truths, truth(3, [1], [square(5)])], findings=["A"])
        np.testing.assert_array_equal(lesion_mm(records), [30, 10, NAN, NAN])

    def test_edges_belong_to_the_smaller(self):
        lengths = np.array([1, 15, 15 * (1 + 1e-12), 15.1, 30, 31, 100, 101, 1e6, NAN])
        assert mm_tier(lengths).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, -1]

    def test_each_tier_has_its_lesions(self, records):
        own = with_pixels(records, (2.0, 0.5))  # boxes have 15 to 39 px
        own.images.pixel_mm[::3] = NAN
        metrics, notes = by_size(own, replicates=20)
        box, index = records.lesions.box, records.lesions.index
        longest = np.maximum(2.0 * (box[:, 3] - box[:, 1]), 0.5 * (box[:, 2] - box[:, 0]))
        counted, known = np.zeros(len(index), bool), index % 3 > 0
        for row, (image, k) in enumerate(zip(index, records.lesions.finding, strict=True)):
            counted[row] = records.images.status[image, k] == 0
        low = 0.0
        for tier, high in MM_TIERS.items():
            inside = counted & known & (longest > low) & (longest <= high)
            assert sum(metrics[f"n_lesions/{finding}/{tier}"] for finding in FINDINGS) == inside.sum()
            low = high
        assert notes["mm_tiers"].endswith(f"; known of {(counted & known).sum()} of {counted.sum()} lesions")

    def test_a_detector_has_sizes_in_mm_too(self, records):
        own = with_pixels(with_areas(records, np.full(60, NAN)), (1.0, 1.0))
        metrics, _ = by_size(own, replicates=0)
        assert "froc/mean/mm_15_to_30/sens_at_1fp_pooled" in metrics
        assert not any("size_" in key for key in metrics)


def test_pooled_counts_every_lesion_once(records):
    """Against loops over findings and lesions, and, in each replicate, over patients that are really drawn."""
    metrics, _ = by_size(records, replicates=0, patch_area=np.full(60, 600.0))
    tiers, found, total = size_tiers(records, np.full(60, 600.0)), 0, 0
    for k, tier in enumerate(tiers):
        data = of_finding(records, k)
        curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
        lowest = curve.thresholds[(curve.fp_per_image <= 1).sum() - 1]
        found += sum(score >= lowest for score in data.lesion_score[tier == 0])
        total += (tier == 0).sum()
    assert metrics["froc/mean/size_small/sens_at_1fp_pooled"] == pytest.approx(found / total)


def test_pooled_replicates_are_of_lesions_that_are_drawn(records):
    selections = [of_finding(records, k) for k in range(3)]
    unit = np.unique(records.images.group, return_inverse=True)[1]
    counts, table = draw_counts(unit.max() + 1, 25, 3), FigureTable(records.findings)
    put_pooled(table, "x", selections, [1.0], Draws(np.insert(counts, 0, 1, axis=1), unit), "none")
    for replicate, drawn in enumerate(counts.T):
        hits = lesions = 0.0
        for data in selections:
            fp, lesion = (np.repeat(np.arange(len(at)), drawn[unit[at]]) for at in (data.fp_image, data.lesion_image))
            if not len(lesion):
                continue
            curve = froc_curve(data.fp_score[fp], data.lesion_score[lesion], int(drawn[unit[data.image]].sum()))
            hits, lesions = hits + sensitivity_at(curve, 1) * len(lesion), lesions + len(lesion)
        assert table.draws["x/sens_at_1fp_pooled"][replicate] == pytest.approx(hits / lesions)
