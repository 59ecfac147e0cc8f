"""The cumulative metric: what counts, drawn by hand."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.metrics import FROCMetric, froc_curve, froc_score
from bundle.metrics.records import COUNTED, UNBOXED, UNKNOWN, of_finding
from tests.metrics.drawn import NAN, candidates, random_evaluation, truth

ONE = ["Nodule"]
BOX = (0, 10, 10, 20, 20)


def score(images: list, findings: list = ONE, **settings) -> float:
    metric = FROCMetric(findings, **settings)
    metric([image[0] for image in images], [image[1] for image in images])
    return metric.aggregate().item()


class TestDrawn:
    def test_perfect(self):
        assert score([(candidates((0, 0.9, 15, 15)), truth(0, [1], [BOX])), (candidates(), truth(1, [0]))]) == 1.0

    def test_nothing_detected(self):
        assert score([(candidates(), truth(0, [1], [BOX]))]) == 0.0

    def test_a_false_positive_above_the_hit(self):
        # two images; at 1/8 and 1/4 FP per image nothing may be called, from 1/2 on the lesion is found
        images = [(candidates((0, 0.8, 15, 15), (0, 0.9, 50, 50)), truth(0, [1], [BOX])), (candidates(), truth(1, [0]))]
        assert score(images) == pytest.approx(5 / 7)

    def test_extra_hits_on_a_found_lesion_are_nothing(self):
        rows = [(0, 0.9, 12, 12), (0, 0.8, 15, 15), (0, 0.7, 18, 18)]
        metric = FROCMetric(ONE)
        metric([candidates(*rows)], [truth(0, [1], [BOX])])
        data = of_finding(metric.records(), 0)
        assert len(data.fp_score) == 0
        assert data.lesion_score.tolist() == [0.9]

    def test_two_touching_lesions_need_two_candidates(self):
        boxes = [BOX, (0, 20, 10, 30, 20)]
        one, two = candidates((0, 0.9, 15, 15)), candidates((0, 0.9, 15, 15), (0, 0.6, 25, 15))
        assert score([(one, truth(0, [1], boxes))]) == 0.5
        assert score([(two, truth(0, [1], boxes))]) == 1.0

    def test_overlapping_boxes_of_one_finding_are_both_found(self):
        boxes = [BOX, (0, 14, 14, 30, 30)]
        assert score([(candidates((0, 0.9, 16, 16)), truth(0, [1], boxes))]) == 1.0

    def test_a_hit_on_a_positive_image_without_boxes_is_no_false_positive(self):
        lesion = (candidates((0, 0.5, 15, 15)), truth(0, [1], [BOX]))
        unboxed = (candidates((0, 0.99, 15, 15)), truth(1, [1]))
        assert score([lesion, unboxed]) == 1.0
        metric = FROCMetric(ONE)
        metric([unboxed[0]], [unboxed[1]])
        assert np.isnan(metric.aggregate().item())
        assert len(of_finding(metric.records(), 0).image) == 0

    def test_unknown_images_are_left_out_and_lesion_free_ones_counted(self):
        metric = FROCMetric(["A", "B"])
        metric(
            [candidates((0, 0.9, 1, 1), (1, 0.9, 1, 1))] * 5,
            [
                truth(0, [0, NAN]),
                truth(1, [1, 0]),
                truth(2, [NAN, NAN], boxed=[True, False]),  # complete and empty without a label
                truth(3, [NAN, 1], [(0, 5, 5, 9, 9)], boxed=[False, False]),  # one box, but perhaps not all
                truth(4, [NAN, 1], [(0, 0, 0, 9, 9), (1, 0, 0, 9, 9)]),  # a box without a label is a lesion
            ],
        )
        assert metric.records().images.status.T.tolist() == [
            [COUNTED, UNBOXED, COUNTED, UNBOXED, COUNTED],
            [UNKNOWN, COUNTED, UNKNOWN, UNBOXED, COUNTED],
        ]
        data = of_finding(metric.records(), 0)
        assert data.image.tolist() == [0, 2, 4]
        assert data.normal_image.tolist() == [0, 2]
        assert data.fp_image.tolist() == [0, 2]
        assert data.lesion_image.tolist() == [4]

    def test_findings_are_averaged_only_where_they_have_lesions(self):
        images = [
            (candidates((0, 0.9, 15, 15)), truth(0, [1, 1, 0], [BOX, (1, 30, 30, 40, 40)])),
            (candidates(), truth(1, [0, 0, 0])),
        ]
        assert score(images, ["A", "B", "C"]) == 0.5

    def test_nothing_seen(self):
        assert np.isnan(FROCMetric(ONE).aggregate().item())

    def test_padding_rows_are_dropped_wherever_they_stand(self):
        image = truth(0, [1], [BOX], padding=2)
        image["boxes"], image["box_finding"] = image["boxes"].flip(0), image["box_finding"].flip(0)
        metric = FROCMetric(ONE)
        metric([candidates((0, 0.9, 15, 15))], [image])
        records = metric.records()
        assert records.lesions.lesion.tolist() == records.candidates.lesion.tolist() == [2]

    def test_two_lesion_images_and_a_curve_by_hand(self):
        metric = FROCMetric(ONE)
        metric(
            [candidates((0, 0.9, 15, 15), (0, 0.4, 80, 80)), candidates((0, 0.6, 50, 50), (0, 0.6, 15, 15))],
            [truth(0, [1], [BOX]), truth(1, [1], [BOX])],
        )
        curve = metric.curves()["Nodule"]
        assert curve.thresholds.tolist() == [np.inf, 0.9, 0.6, 0.4]
        assert curve.fp_per_image.tolist() == [0, 0, 0.5, 1]
        assert curve.sensitivity.tolist() == [0, 0.5, 1, 1]
        assert metric.details()["Nodule/sens_at_0.25fp"] == 0.5
        assert metric.details()["Nodule/score"] == pytest.approx((2 * 0.5 + 5) / 7)


class TestAccumulation:
    def test_halves_and_order_give_the_whole(self):
        tables, truths, _ = random_evaluation(40)
        whole, halves = FROCMetric(["A", "B", "C"]), FROCMetric(["A", "B", "C"])
        whole(tables, truths)
        for i in reversed(range(0, 40, 5)):
            halves(tables[i : i + 5], truths[i : i + 5])
        assert torch.equal(whole.aggregate(), halves.aggregate())
        for mine, theirs in zip(whole.rows(), halves.rows(), strict=True):
            np.testing.assert_array_equal(mine, theirs)

    def test_repeated_images_count_once(self):
        tables, truths, _ = random_evaluation(20)
        once, again = FROCMetric(["A", "B", "C"]), FROCMetric(["A", "B", "C"])
        once(tables, truths)
        again(tables, truths)
        again(tables[:7], truths[:7])
        for mine, theirs in zip(once.rows(), again.rows(), strict=True):
            np.testing.assert_array_equal(mine, theirs)

    def test_one_index_for_two_images_is_refused(self):
        metric = FROCMetric(ONE)
        metric([candidates()] * 2, [truth(3, [0]), truth(3, [1], [BOX])])
        with pytest.raises(ValueError, match=r"different ground truth under one image index: \[3\]"):
            metric.aggregate()

    def test_reset(self):
        metric = FROCMetric(ONE)
        metric([candidates()], [truth(0, [1], [BOX])])
        metric.aggregate()
        metric.reset()
        assert len(metric) == 0
        metric([candidates((0, 0.9, 15, 15))], [truth(0, [1], [BOX])])
        assert metric.aggregate().item() == 1.0
        assert len(metric.get_buffer()) == 3

    def test_a_truth_that_is_kept_gives_what_the_mappings_give(self):
        found, known = [candidates((0, 0.8, 15, 15), (0, 0.9, 50, 50))], [truth(0, [1], [BOX])]
        metric = FROCMetric(ONE)
        kept = metric.truths(known)
        metric([candidates()], kept)
        assert metric.aggregate().item() == 0.0
        metric.reset()
        metric(found, kept)
        assert metric.aggregate().item() == score([(found[0], known[0])]) > 0
        with pytest.raises(ValueError, match=r"image 0: its truth is about \('Nodule',\), wanted \('Mass',\)"):
            FROCMetric(["Mass"])(found, kept)

    def test_more_images_after_aggregate(self):
        metric = FROCMetric(ONE)
        metric([candidates()], [truth(0, [1], [BOX])])
        assert metric.aggregate().item() == 0.0
        metric([candidates((0, 0.9, 15, 15))], [truth(1, [1], [BOX])])
        assert metric.aggregate().item() == 0.5

    def test_groups_are_for_all_or_none(self):
        metric = FROCMetric(ONE)
        metric([candidates()] * 2, [truth(0, [0], group=5), truth(1, [0])])
        with pytest.raises(ValueError, match="1 of 2 images name no group"):
            metric.records()

    def test_agrees_with_the_pure_function(self):
        tables, truths, _ = random_evaluation(60, seed=3)
        metric = FROCMetric(["A", "B", "C"], criterion="iobb", threshold=0.3)
        matches = metric(tables, truths)
        scores = []
        for k in range(3):
            fp, lesion, images = [], [], 0
            for table, image, match in zip(tables, truths, matches, strict=True):
                if not image["boxed"][k]:
                    continue
                images += 1
                mine = table[:, 0].numpy() == k
                fp += table[mine & ~match.hits.any(1), 1].tolist()
                own = image["box_finding"][image["box_finding"] >= 0].numpy() == k
                lesion += match.lesion_scores[own].tolist()
            scores.append(froc_score(froc_curve(fp, lesion, images)))
        assert metric.aggregate().item() == pytest.approx(np.mean(scores), abs=1e-15)


class TestInput:
    def test_meta_tensors_and_float32(self):
        image = {
            key: MetaTensor(value) if isinstance(value, torch.Tensor) else value
            for key, value in truth(0, [1], [BOX]).items()
        }
        assert score([(MetaTensor(candidates((0, 0.9, 15, 15)).float()), image)]) == 1.0

    def test_the_oracle_stands_beside_each_lesion(self):
        geometry = {"to_stored": torch.diag(torch.tensor([10.0, 10, 1])), "stored_size": (40, 40), "grid_size": (4, 4)}
        metric = FROCMetric(ONE)
        metric([candidates()], [truth(0, [1], [BOX, (0, 6, 6, 14, 14)], **geometry)])
        assert metric.records().lesions.oracle.tolist() == [1, 0]

    def test_each_image_has_its_own_patch_area_and_a_detector_none(self):
        """A detector's `to_stored` is of a picture's grid, not of its own: without `grid_size` it has no patches."""
        detector, metric = {"stored_size": (40, 40), "to_stored": np.diag([10.0, 10, 1])}, FROCMetric(ONE)
        small = {**detector, "grid_size": (10, 4), "to_stored": np.diag([10.0, -4, 1])}
        large = {**small, "to_stored": np.diag([20.0, -4, 1])}
        metric([candidates()] * 3, [truth(8, [0], **small), truth(4, [0], **large), truth(5, [0], **detector)])
        np.testing.assert_array_equal(metric.records().images.patch_area, [80, NAN, 40])

    def test_each_image_has_its_own_pixels(self):
        metric = FROCMetric(ONE)
        metric([candidates()] * 2, [truth(8, [0], pixel_mm=torch.tensor([0.1, 0.2])), truth(4, [0])])
        np.testing.assert_array_equal(metric.records().images.pixel_mm, np.float32([[NAN, NAN], [0.1, 0.2]]))

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            ({"index": 0}, "lacks"),
            (truth(4, [0], [BOX]), "image 4: Nodule is labelled 0 but has boxes"),
            (truth(4, [1], boxed=[True]), "image 4: Nodule is labelled 1 and its boxes are said to be complete"),
            (truth(4, [0.5]), "image 4: a label must be 1, 0 or NaN"),
            (truth(4, [1, 0]), "image 4: label, boxed and box_finding"),
            (truth(4, [1], [(1, 0, 0, 1, 1)], boxed=[True]), "image 4: label, boxed and box_finding"),
            (truth(4, [1], [(0, 5, 5, 5, 9)]), "image 4: boxes must be finite"),
            (truth(4, [1], [BOX], box_cnr=torch.ones(2)), "image 4: boxes, box_finding and box_cnr"),
        ],
    )
    def test_faults_are_named(self, image, message):
        with pytest.raises(ValueError, match=message):
            FROCMetric(ONE)([candidates()], [image])

    def test_collated_batches_are_refused(self):
        with pytest.raises(TypeError, match="decollate"):
            FROCMetric(ONE)(torch.zeros(1, 1, 8), [truth(0, [0])])
        with pytest.raises(TypeError, match="decollate"):
            FROCMetric(ONE)([candidates()], truth(0, [0]))

    @pytest.mark.parametrize("findings", [[], ["A", "A"], ["mean"]])
    def test_findings(self, findings):
        with pytest.raises(ValueError, match="findings must"):
            FROCMetric(findings)
