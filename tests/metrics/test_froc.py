"""FROC drawn by hand, then against a curve that counts threshold by threshold."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_froc_curve_data

from bundle.metrics.froc import (
    FP_RATES,
    froc_curve,
    froc_score,
    sensitivity_at,
    wafroc,
)

MISSED = -np.inf


def brute_force(fp: np.ndarray, lesion: np.ndarray, images: int) -> tuple[np.ndarray, ...]:
    thresholds = [np.inf, *sorted({*fp, *(score for score in lesion if score > MISSED)}, reverse=True)]
    rate = [sum(score >= t for score in fp) / images for t in thresholds]
    sensitivity = [sum(score >= t for score in lesion) / len(lesion) for t in thresholds]
    return np.array(rate), np.array(sensitivity), np.array(thresholds)


class TestDrawn:
    def test_one_detection_and_nothing_else_is_perfect(self):
        curve = froc_curve([], [0.5], 1)
        assert curve.fp_per_image.tolist() == [0, 0]
        assert curve.sensitivity.tolist() == [0, 1]
        assert curve.thresholds.tolist() == [np.inf, 0.5]
        assert froc_score(curve) == 1.0

    def test_two_perfect_images(self):
        curve = froc_curve([0.1], [0.9, 0.8], 2)
        assert curve.fp_per_image.tolist() == [0, 0, 0, 0.5]
        assert curve.sensitivity.tolist() == [0, 0.5, 1, 1]
        assert froc_score(curve) == 1.0

    def test_nothing_detected(self):
        curve = froc_curve([], [MISSED, MISSED], 3)
        assert curve.sensitivity.tolist() == [0]
        assert froc_score(curve) == 0.0
        assert froc_score(froc_curve([0.3], [MISSED], 3)) == 0.0

    def test_the_loosest_point_is_kept(self):
        curve = froc_curve([0.9, 0.8], [0.1], 1)
        assert curve.sensitivity[-1] == 1.0
        assert curve.fp_per_image[-1] == 2.0
        assert [sensitivity_at(curve, rate) for rate in FP_RATES] == [0, 0, 0, 0, 1, 1, 1]
        assert froc_score(curve) == pytest.approx(3 / 7)

    def test_equal_scores_move_together(self):
        curve = froc_curve([0.5, 0.5], [0.5, 0.5], 2)
        assert curve.thresholds.tolist() == [np.inf, 0.5]
        assert curve.fp_per_image.tolist() == [0, 1]
        assert curve.sensitivity.tolist() == [0, 1]
        assert sensitivity_at(curve, 0.99) == 0.0  # not the lucky half of the tie
        assert sensitivity_at(curve, 1.0) == 1.0

    def test_a_step_not_a_line(self):
        curve = froc_curve([0.7, 0.3], [0.8, 0.5, 0.2, MISSED], 1)
        assert sensitivity_at(curve, 0) == 0.25
        assert sensitivity_at(curve, 0.999) == 0.25
        assert sensitivity_at(curve, 1) == 0.5
        assert sensitivity_at(curve, 2) == 0.75
        assert sensitivity_at(curve, 100) == 0.75

    def test_a_false_positive_on_top_leaves_nothing_at_zero(self):
        assert sensitivity_at(froc_curve([0.9], [0.8], 1), 0) == 0.0

    def test_lesion_free_images_are_in_the_denominator(self):
        assert froc_curve([0.9], [0.8], 8).fp_per_image[-1] == 0.125

    def test_negative_scores_are_scores(self):
        curve = froc_curve([-2.0], [-1.0, MISSED], 1)  # logits: a miss is not a hit at 0
        assert curve.sensitivity.tolist() == [0, 0.5, 0.5]

    def test_no_lesions(self):
        with pytest.warns(UserWarning, match="no lesions"):
            curve = froc_curve([0.3, 0.2], [], 2)
        assert np.isnan(curve.sensitivity).all()
        assert curve.fp_per_image.tolist() == [0, 0.5, 1]
        assert np.isnan(froc_score(curve))
        assert np.isnan(sensitivity_at(curve, 1))


class TestRefused:
    @pytest.mark.parametrize(
        ("fp", "lesion", "images", "message"),
        [
            ([np.nan], [0.1], 1, "fp_scores contain NaN"),
            ([np.inf], [0.1], 1, "fp_scores contain NaN or"),
            ([MISSED], [0.1], 1, "only a lesion can be missed"),
            ([0.1], [np.nan], 1, "lesion_scores contain NaN"),
            ([0.1], [np.inf], 1, "lesion_scores contain NaN or"),
            ([0.1], [0.1], 0, "num_images"),
            ([0.1], [0.1], -1, "num_images"),
            ([0.1], [0.1], 1.5, "num_images"),
            ([[0.1]], [0.1], 1, "one-dimensional"),
        ],
    )
    def test_with_its_reason(self, fp, lesion, images, message):
        with pytest.raises(ValueError, match=message):
            froc_curve(fp, lesion, images)

    @pytest.mark.parametrize("rate", [-0.1, np.nan])
    def test_rate(self, rate):
        with pytest.raises(ValueError, match="must be >= 0"):
            sensitivity_at(froc_curve([], [0.5], 1), rate)


class TestTypes:
    def test_a_tie_is_not_split_by_the_floating_type(self):
        for fp in (np.float32([0.1]), torch.tensor([0.1])):
            for lesion in (np.float64([0.1]), torch.tensor([0.1], dtype=torch.float64), [0.1]):
                assert len(froc_curve(fp, lesion, 1).thresholds) == 2
                assert len(froc_curve(lesion, fp, 1).thresholds) == 2
        assert len(froc_curve(np.float16([0.1]), np.float32([0.1]), 1).thresholds) == 2

    def test_float64_keeps_what_float32_would_join(self):
        assert len(froc_curve([0.1], [0.1 + 1e-12], 1).thresholds) == 3

    def test_an_empty_list_does_not_decide_the_type(self):
        assert froc_curve(torch.zeros(0), [0.1], 1).thresholds[-1] == 0.1

    def test_bfloat16_and_whole_numbers(self):
        curve = froc_curve(torch.tensor([0.5], dtype=torch.bfloat16), [1], 1)
        assert curve.thresholds.tolist() == [np.inf, 1, 0.5]


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_brute_force_curve(seed):
    rng = np.random.default_rng(seed)
    fp = np.round(rng.random(rng.integers(0, 60)), 2 - seed % 2)
    lesion = np.round(rng.random(rng.integers(1, 40)), 2 - seed % 2)
    lesion[rng.random(len(lesion)) < 0.3] = MISSED
    curve = froc_curve(rng.permutation(fp), rng.permutation(lesion), 11)
    for mine, theirs in zip(
        (curve.fp_per_image, curve.sensitivity, curve.thresholds), brute_force(fp, lesion, 11), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    for rate in (0.0, 0.1, *FP_RATES):
        rates, sensitivity, _ = brute_force(fp, lesion, 11)
        assert sensitivity_at(curve, rate) == sensitivity[rates <= rate].max()


@pytest.mark.parametrize("seed", range(4))
def test_equals_monai_where_it_is_right(seed):
    """MONAI leaves out the loosest operating point and codes a miss as 0: all others agree if scores are above 0."""
    rng = np.random.default_rng(seed)
    fp, lesion = (np.round(rng.uniform(0.01, 1, n), 2) for n in (80, 30))
    missed = rng.random(30) < 0.2
    curve = froc_curve(fp, np.where(missed, MISSED, lesion), 12)
    rate, sensitivity = compute_froc_curve_data(fp, np.where(missed, 0.0, lesion), 30, 12)
    if missed.any():  # then 0 is their lowest score, the one left out, and no point of ours is lacking
        np.testing.assert_array_equal(curve.fp_per_image[::-1], rate)
        np.testing.assert_array_equal(curve.sensitivity[::-1], sensitivity)
    else:
        np.testing.assert_array_equal(curve.fp_per_image[-2::-1], rate)
        np.testing.assert_array_equal(curve.sensitivity[-2::-1], sensitivity)


def test_a_hundred_thousand_candidates():
    rng = np.random.default_rng(0)
    fp, lesion = rng.integers(0, 50_000, 100_000) / 50_000, rng.integers(0, 50_000, 1_000) / 50_000
    curve = froc_curve(fp, lesion, 1000)
    assert curve.fp_per_image[-1] == 100
    for i in range(1, len(curve.thresholds), 1999):
        t = curve.thresholds[i]
        assert curve.fp_per_image[i] == (fp >= t).sum() / 1000
        assert curve.sensitivity[i] == (lesion >= t).sum() / 1000


class TestWeightedAlternative:
    def test_perfect(self):
        assert wafroc([0.1, MISSED], [0.9, 0.8], [7, 9]) == 1.0

    def test_nothing_marked_anywhere_is_a_coin(self):
        assert wafroc([MISSED, MISSED], [MISSED], [0]) == 0.5

    def test_always_wrong(self):
        assert wafroc([0.9, 0.8], [MISSED, 0.1], [0, 1]) == 0.0

    def test_ties_are_a_half(self):
        assert wafroc([0.5, 0.5], [0.5], [0]) == 0.5

    def test_lesions_weigh_one_per_image(self):
        # image 0: one lesion found above; image 1: two of four found above. Normals at 0.5.
        area = wafroc([0.5], [0.9, 0.8, 0.7, MISSED, MISSED], [0, 1, 1, 1, 1])
        assert area == pytest.approx((1 + 0.5) / 2)

    def test_the_straight_line_to_the_corner(self):
        # half the lesions found at no cost, half of the normals marked low: from (0.5, 0.5) straight to (1, 1)
        assert wafroc([0.2, MISSED], [0.9, MISSED], [0, 1]) == pytest.approx(0.5 * 0.5 + 0.5 * (0.5 + 1) / 2)

    def test_is_the_weighted_chance_of_the_right_order(self):
        rng = np.random.default_rng(0)
        normal, lesion, image = np.round(rng.random(40), 1), np.round(rng.random(30), 1), rng.integers(0, 12, 30)
        normal[:5] = lesion[:4] = MISSED
        weight = 1 / np.bincount(image)[image]
        order = (lesion[:, None] > normal) + 0.5 * (lesion[:, None] == normal)
        assert wafroc(normal, lesion, image) == pytest.approx(np.average(order.mean(1), weights=weight), abs=1e-14)

    @pytest.mark.parametrize(("normal", "lesion", "lacking"), [([0.1], [], "no lesions"), ([], [0.1], "lesion-free")])
    def test_undefined(self, normal, lesion, lacking):
        with pytest.warns(UserWarning, match=lacking):
            assert np.isnan(wafroc(normal, lesion, [0] * len(lesion)))

    def test_refused(self):
        with pytest.raises(ValueError, match="images of shape"):
            wafroc([0.1], [0.2], [0, 1])
        with pytest.raises(ValueError, match="NaN"):
            wafroc([np.nan], [0.2], [0])
