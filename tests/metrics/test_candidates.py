"""Candidates from patch maps: drawn cases, then scikit-image's watershed as the judge."""

import numpy as np
import pytest
import torch
from skimage import measure
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from bundle.grid import boxes_to_patch_mask
from bundle.metrics.candidates import (
    BOX,
    FINDING,
    PEAK,
    SCORE,
    extract_candidates,
    extract_candidates_batch,
    visible_patches,
    watershed_basins,
)

UNIT = torch.eye(3, dtype=torch.float64)  # one patch is one stored pixel


def extract(rows: list, to_stored: torch.Tensor = UNIT, size: tuple | None = None, **settings) -> np.ndarray:
    maps = torch.tensor(rows, dtype=torch.float64)
    maps = maps[None] if maps.ndim == 2 else maps
    return extract_candidates(maps, to_stored, size or tuple(maps.shape[1:]), **settings).numpy()


def affine(scale_x: float, scale_y: float, x: float = 0.0, y: float = 0.0) -> torch.Tensor:
    return torch.tensor([[scale_x, 0, x], [0, scale_y, y], [0, 0, 1]], dtype=torch.float64)


class TestDrawn:
    def test_nothing_above_the_floor(self):
        assert extract([[0.01, 0.04], [0.0, 0.02]]).shape == (0, 8)

    def test_zero_is_never_a_candidate_even_without_floor(self):
        assert len(extract([[0.0, 0.0], [0.0, 0.0]], floor=0.0)) == 0

    def test_one_patch(self):
        table = extract([[0, 0, 0], [0, 0, 0.8], [0, 0, 0]], affine(10, 20, x=5, y=-3), size=(60, 40))
        np.testing.assert_allclose(table, [[0, 0.8, 30, 27, 25, 17, 35, 37]])

    def test_two_touching_lesions_stay_two(self):
        table = extract([[0.9, 0.8, 0.4, 0.7, 0.8]], box_fraction=0.5)
        np.testing.assert_allclose(table[:, SCORE], [0.9, 0.8])
        np.testing.assert_allclose(table[0, BOX], [0, 0, 2, 1])
        np.testing.assert_allclose(table[1, BOX], [3, 0, 5, 1])

    def test_two_touching_lesions_divide_the_saddle_once(self):
        table = extract([[0.9, 0.6, 0.8]], box_fraction=0.5)  # the saddle belongs to the higher neighbour
        np.testing.assert_allclose(table[:, BOX], [[0, 0, 2, 1], [2, 0, 3, 1]])

    def test_small_lesion_across_two_patches_points_between_them(self):
        np.testing.assert_allclose(extract([[0.1, 0.8, 0.8, 0.1]], floor=0.05)[0, PEAK], [2.0, 0.5])
        np.testing.assert_allclose(extract([[0.1, 0.8, 0.4, 0.1]])[0, PEAK], [(0.8 * 1.5 + 0.4 * 2.5) / 1.2, 0.5])

    def test_large_lesion_points_to_its_middle_not_its_best_patch(self):
        lesion = np.full((7, 7), 0.1)
        lesion[1:6, 1:6] = 0.8
        lesion[1, 1] = 0.85
        table = extract(lesion.tolist())
        assert len(table) == 1
        np.testing.assert_allclose(table[0, PEAK], [3.5, 3.5], atol=0.02)
        np.testing.assert_allclose(table[0, BOX], [1, 1, 6, 6])

    @pytest.mark.parametrize(
        "shape",
        [
            ["####", "####", "####"],
            ["#####", "#...#", "#...#", "#...#", "#####"],  # ring
            ["#...#", "#...#", ".#.#.", "..#.."],  # V, joined at corners
            ["#####", "#....", "#.###", "#...#", "#####"],  # spiral
            ["#.#.#", ".#.#.", "#.#.#"],  # chequers touch at corners
            ["#.....#", "#.....#", "#######"],  # U: two arms whose index order alone would give two
            ["#######", "#.....#", "#.....#"],
        ],
    )
    def test_a_plateau_is_one_candidate_whatever_its_shape(self, shape):
        cells = np.array([[character == "#" for character in row] for row in shape])
        for low in (0.0, 0.3):
            table = extract(np.where(cells, 0.75, low).tolist())
            assert len(table) == 1, shape
            rows, columns = np.nonzero(cells)
            np.testing.assert_allclose(table[0, PEAK], [columns.mean() + 0.5, rows.mean() + 0.5])

    def test_two_plateaus_of_equal_height_stay_two(self):
        assert len(extract([[0.7, 0.7, 0.2, 0.7, 0.7]])) == 2

    def test_a_shelf_is_shared_by_the_nearest_way_up(self):
        table = extract([[0.9, 0.5, 0.5, 0.5, 0.5, 0.9]], box_fraction=0.5)
        np.testing.assert_allclose(table[:, BOX], [[0, 0, 3, 1], [3, 0, 6, 1]])
        table = extract([[0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1]], box_fraction=0.5)
        np.testing.assert_allclose(table[:, BOX], [[0, 0, 7, 1]])

    def test_the_region_stops_at_the_share_of_its_own_maximum(self):
        row = [[0.1, 0.3, 0.5, 0.8, 0.5, 0.3, 0.1]]
        np.testing.assert_allclose(extract(row, box_fraction=0.5)[0, BOX], [2, 0, 5, 1])
        np.testing.assert_allclose(extract(row, box_fraction=0.3)[0, BOX], [1, 0, 6, 1])
        np.testing.assert_allclose(extract(row, box_fraction=1.0)[0, BOX], [3, 0, 4, 1])

    def test_findings_are_apart_and_ordered_by_falling_score(self):
        table = extract([[[0.3, 0.0, 0.9]], [[0.6, 0.0, 0.5]]])
        np.testing.assert_allclose(table[:, [FINDING, SCORE]], [[0, 0.9], [0, 0.3], [1, 0.6], [1, 0.5]])

    def test_most_candidates_are_per_finding(self):
        table = extract([[[0.3, 0.0, 0.9]], [[0.6, 0.0, 0.5]]], max_candidates=1)
        np.testing.assert_allclose(table[:, [FINDING, SCORE]], [[0, 0.9], [1, 0.6]])

    def test_smoothing_joins_noise_and_keeps_a_constant(self):
        noisy = [[0.5, 0.4, 0.5, 0.4, 0.5]]
        assert len(extract(noisy)) == 3
        assert len(extract(noisy, smoothing=1.0)) < 3
        np.testing.assert_allclose(extract([[0.5] * 5] * 5, smoothing=1.0)[:, SCORE], [0.5])


class TestPad:
    def test_patches_in_the_pad_are_not_seen(self):
        # 4 columns of 10 px, the image shows in the middle 20: x from 10 to 30 of the canvas
        to_stored = affine(10, 10, x=-10)
        table = extract([[0.9, 0.2, 0.3, 0.9]], to_stored, size=(10, 20))
        np.testing.assert_allclose(table, [[0, 0.3, (0.2 * 5 + 0.3 * 15) / 0.5, 5, 0, 0, 20, 10]])

    def test_a_patch_partly_in_the_pad_is_cut_to_the_image(self):
        to_stored = affine(10, 10, x=-6, y=-8)
        table = extract([[0.9, 0.1], [0.1, 0.1]], to_stored, size=(12, 14))
        np.testing.assert_allclose(table, [[0, 0.9, 2, 1, 0, 0, 4, 2]])

    def test_a_mirrored_grid(self):
        table = extract([[0.9, 0.0, 0.0]], affine(-10, 10, x=30), size=(10, 30))
        np.testing.assert_allclose(table, [[0, 0.9, 25, 5, 20, 0, 30, 10]])

    def test_nan_is_allowed_in_the_pad_and_refused_in_the_image(self):
        row = [[float("nan"), 0.2, 0.3, float("nan")]]
        assert len(extract(row, affine(10, 10, x=-10), size=(10, 20), smoothing=0.5)) == 1
        with pytest.raises(ValueError, match="NaN inside its image"):
            extract(row, affine(10, 10, x=-9), size=(10, 20))

    def test_smoothing_does_not_take_from_the_pad(self):
        table = extract([[0.0, 0.5, 0.5, 0.0]], affine(10, 10, x=-10), size=(10, 20), smoothing=1.0)
        np.testing.assert_allclose(table[0, SCORE], 0.5)

    def test_rounding_leaves_no_sliver(self):
        x_low, x_high, _, _ = visible_patches(affine(0.1, 1, x=-0.3)[None], torch.tensor([[1, 1]]), (1, 13))
        np.testing.assert_array_equal((x_high > x_low)[0], [False] * 3 + [True] * 10)


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"maps": torch.zeros(2, 2)}, "maps must be"),
            ({"maps": torch.full((1, 2, 2), 1.5)}, "probabilities"),
            ({"maps": torch.full((1, 2, 2), -0.5)}, "probabilities"),
            ({"floor": -0.1}, "floor"),
            ({"box_fraction": 1.5}, "box_fraction"),
            ({"smoothing": -1.0}, "smoothing"),
            ({"max_candidates": 0}, "max_candidates"),
            ({"to_stored": torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])}, "scale and offset only"),
            ({"to_stored": torch.tensor([[1.0, 0.1, 0], [0, 1, 0], [0, 0, 1]])}, "scale and offset only"),
            ({"to_stored": torch.zeros(3, 3)}, "scale and offset only"),
            ({"to_stored": torch.eye(2)}, "to_stored must be"),
            ({"stored_size": (0, 2)}, "positive"),
        ],
    )
    def test_with_its_reason(self, change, message):
        arguments = {"maps": torch.full((1, 2, 2), 0.5), "to_stored": UNIT, "stored_size": (2, 2)} | change
        with pytest.raises(ValueError, match=message):
            extract_candidates(**arguments)

    def test_batch_of_another_length(self):
        with pytest.raises(ValueError, match="2 maps but 1 affines"):
            extract_candidates_batch(torch.zeros(2, 1, 2, 2), UNIT[None], torch.tensor([[2, 2]]))


class TestAgainstScikitImage:
    """skimage.segmentation.watershed of the negated map, from its local maxima."""

    @staticmethod
    def judge(plane: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        maxima = local_maxima(np.where(mask, plane, -1.0), connectivity=2) & mask
        if mask.all() and np.ptp(plane) == 0:
            maxima = mask  # local_maxima does not call a wholly flat image a maximum
        return watershed(-plane, mask=mask, connectivity=2), maxima

    def test_distinct_values_give_the_same_partition(self):
        rng = np.random.default_rng(0)
        values = rng.random((60, 12, 15))
        mask = values > 0.25
        score, basin, top = watershed_basins(values, mask)
        mine = np.zeros(values.shape, int)
        mine[mask] = basin + 1
        for plane, covered, labels in zip(values, mask, mine, strict=True):
            theirs, _ = self.judge(plane, covered)
            pairs = {(a, b) for a, b in zip(labels.ravel().tolist(), theirs.ravel().tolist(), strict=True)}
            assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})  # one to one
        np.testing.assert_array_equal(score, values[mask])
        np.testing.assert_array_equal(basin[top], np.arange(len(top)))

    @pytest.mark.parametrize("levels", [2, 3, 5, 9])
    def test_plateaus_give_the_same_summits(self, levels):
        rng = np.random.default_rng(levels)
        values = np.ceil(rng.random((200, 9, 8)) * levels) / levels
        mask = values > 0.3
        _, _, top = watershed_basins(values, mask)
        where = np.flatnonzero(mask)
        per_map = np.bincount(where[top] // 72, minlength=200)
        for number, (plane, covered) in enumerate(zip(values, mask, strict=True)):
            theirs, maxima = self.judge(plane, covered)
            assert theirs.max() == per_map[number]
            tops = where[top][where[top] // 72 == number] % 72
            assert maxima.ravel()[tops].all()

    def test_every_region_is_connected_through_patches_of_its_share(self):
        rng = np.random.default_rng(1)
        values = np.round(rng.random((50, 10, 10)), 1)
        score, basin, top = watershed_basins(values, values > 0)
        kept = np.zeros(values.shape, int)
        kept[values > 0] = np.where(score >= 0.5 * score[top][basin], basin + 1, 0)
        for label in range(1, len(top) + 1):
            plane, *_ = np.nonzero(kept == label)
            assert measure.label(kept[plane[0]] == label, connectivity=2).max() == 1


def test_an_image_gives_the_same_in_any_batch_and_in_any_type():
    torch.manual_seed(0)
    maps = torch.rand(5, 3, 9, 7).bfloat16()
    to_stored = torch.stack([affine(11.3, 7.7, x=-4 * i, y=-3.3 * i) for i in range(5)])
    size = torch.tensor([[60, 70], [50, 60], [66, 66], [40, 44], [61, 31]])
    together = extract_candidates_batch(maps, to_stored, size)
    for i in range(5):
        alone = extract_candidates(maps[i].float(), to_stored[i], tuple(size[i].tolist()))
        assert torch.equal(together[i], alone)
        assert alone.dtype == torch.float64
        peak, box = alone[:, PEAK], alone[:, BOX]
        assert ((peak >= box[:, :2]) & (peak <= box[:, 2:])).all()
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] <= size[i].flip(0)).all()


@pytest.mark.parametrize(("grid", "least"), [(7, 0.20), (16, 0.05)])
def test_the_centroid_points_better_than_the_best_patch(grid, least):
    """Soft maps of small lesions: what the sub-patch peak is for. Masks with hard edges lose little by it."""
    rng = np.random.default_rng(0)
    side, count = 1024, 600
    extent = np.clip(80 * np.exp(0.35 * rng.standard_normal((count, 2))), 20, 300)  # nodules
    low = rng.random((count, 2)) * (side - extent)
    box = np.concatenate([low, low + extent], 1)
    centre = (np.arange(grid) + 0.5) * side / grid
    middle = low + extent / 2
    reach = side / grid * 0.8
    soft = np.exp(
        -(np.square(centre[:, None] - middle[:, 1, None, None]) + np.square(centre - middle[:, 0, None, None]))
        / (2 * reach**2)
    )
    hard = boxes_to_patch_mask(torch.tensor(box), torch.arange(count), count, (grid, grid), (side, side)).numpy() * 0.9

    def inside(x: np.ndarray, y: np.ndarray) -> float:
        return float(((x >= box[:, 0]) & (x < box[:, 2]) & (y >= box[:, 1]) & (y < box[:, 3])).mean())

    def rates(maps: np.ndarray) -> tuple[float, float]:
        best = maps.reshape(count, -1).argmax(1)
        to_stored = affine(side / grid, side / grid)
        peaks = np.stack(
            [extract_candidates(torch.tensor(each)[None], to_stored, (side, side))[0, PEAK].numpy() for each in maps]
        )
        return inside(centre[best % grid], centre[best // grid]), inside(peaks[:, 0], peaks[:, 1])

    patch, peak = rates(soft)
    assert peak > patch + least
    patch, peak = rates(hard)
    assert peak > patch - 0.03
