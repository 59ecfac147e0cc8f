"""Sensitivity by size of the lesion."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bundle.grid import grid_to_stored
from bundle.metrics import froc_curve, sensitivity_at, summarise
from bundle.metrics.froc import FP_RATES
from bundle.metrics.strata import SIZE_TIERS, by_size, patch_areas, size_tiers
from tests.metrics.drawn import candidates, random_evaluation, records_of, truth

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
    assert notes == {"size_tiers": "no figures by lesion size: the patches' geometry was not given"}
