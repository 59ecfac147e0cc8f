"""Heat maps against boxes: maps drawn pixel by pixel, and every step again in loops."""

import math

import numpy as np
import pytest
import torch

from bundle.grid import grid_to_stored
from bundle.metrics.localization import MEASURES, THRESHOLDS, Localization, localize, stack
from bundle.transforms.canvas import fit_to_canvas

NAN = math.nan
# one patch a pixel, so that a drawn map is the map at every pixel's centre
DRAWN = torch.tensor(
    [
        [0.0, 0.0, 0.2, 0.2],
        [0.0, 0.6, 0.9, 0.2],
        [0.0, 0.6, 0.6, 0.2],
        [0.0, 0.0, 0.0, 0.2],
    ]
)
BOX = [[1, 1, 3, 3]]  # holds .6 .9 / .6 .6


def on_pixels(maps, boxes, finding=None, **options) -> Localization:
    maps = maps if maps.ndim == 3 else maps[None]
    finding = [0] * len(boxes) if finding is None else finding
    options = {"smoothing": 0, "rescaling": "none", "side": None, **options}
    return localize(maps, torch.eye(3), maps.shape[-2:], boxes, finding, **options)


class TestByHand:
    def test_threshold_by_threshold(self):
        box = [[1, 1, 3, 3]]
        assert on_pixels(DRAWN, box, thresholds=[0.5]).iou[0] == 1
        assert on_pixels(DRAWN, box, thresholds=[0.7]).iou[0] == 1 / 4
        assert on_pixels(DRAWN, box, thresholds=[0.7]).dice[0] == 2 / 5
        assert on_pixels(DRAWN, box, thresholds=[0.1]).iou[0] == 4 / 9  # five pixels of .2 besides
        mean = on_pixels(DRAWN, box, thresholds=[0.1, 0.5, 0.7])
        assert mean.iou[0] == pytest.approx((4 / 9 + 1 + 1 / 4) / 3)
        assert mean.dice[0] == pytest.approx((8 / 13 + 1 + 2 / 5) / 3)

    def test_contrast_to_noise(self):
        inside, outside = [0.6, 0.9, 0.6, 0.6], [0.2] * 5 + [0.0] * 7
        wanted = abs(np.mean(inside) - np.mean(outside)) / math.sqrt(np.var(inside) + np.var(outside))
        for rescaling in ("image", "probability", "none"):
            assert on_pixels(DRAWN, BOX, rescaling=rescaling).cnr[0] == pytest.approx(wanted, rel=1e-6)
        assert on_pixels(1 - DRAWN, BOX).cnr[0] == pytest.approx(wanted, rel=1e-6)  # it has no sign

    def test_rescaling(self):
        half = DRAWN / 2  # peak .45
        assert on_pixels(half, BOX, thresholds=[0.5], rescaling="none").iou[0] == 0
        # per image: -1 + 2 v / .45, so .3 becomes 1/3
        assert on_pixels(half, BOX, thresholds=[0.3], rescaling="image").iou[0] == 1
        assert on_pixels(half, BOX, thresholds=[0.5], rescaling="image").iou[0] == 1 / 4
        assert on_pixels(DRAWN, BOX, thresholds=[0.1], rescaling="probability").iou[0] == 1  # .6 becomes .2
        assert on_pixels(DRAWN, BOX, thresholds=[0.3], rescaling="probability").iou[0] == 1 / 4

    def test_pointing(self):
        assert on_pixels(DRAWN, BOX).pointing[0] == 1
        assert on_pixels(DRAWN, [[0, 0, 2, 4]]).pointing[0] == 0
        assert on_pixels(DRAWN, [[2, 1, 3, 2]]).pointing[0] == 1
        two = DRAWN.clone()
        two[3, 3] = 0.9
        assert on_pixels(two, BOX).pointing[0] == 0.5  # two equal peaks, one of them in the box

    def test_edges_of_a_box(self):
        """x1 and y1 are exclusive."""
        peak = torch.zeros(4, 4)
        peak[1, 3] = 1
        assert on_pixels(peak, [[0, 0, 3, 4]]).pointing[0] == 0
        assert on_pixels(peak, [[3, 1, 4, 2]]).pointing[0] == 1
        assert on_pixels(peak, [[1, 3, 2, 4]]).pointing[0] == 0  # x and y are not exchanged

    def test_several_boxes_are_one_mask(self):
        boxes = [[1, 1, 3, 2], [1, 1, 2, 3], [2, 2, 3, 3]]  # overlap at (1, 1); together BOX
        apart, together = on_pixels(DRAWN, boxes), on_pixels(DRAWN, BOX)
        assert [getattr(apart, name)[0] for name in MEASURES] == [getattr(together, name)[0] for name in MEASURES]

    def test_a_flat_map_finds_nothing(self):
        flat = on_pixels(torch.full((4, 4), 0.7), BOX, rescaling="image")
        assert (flat.iou[0], flat.dice[0], flat.cnr[0], flat.cnr_reason) == (0, 0, 0, (None,))
        assert flat.pointing[0] == flat.chance[0] == 4 / 16
        assert on_pixels(torch.full((4, 4), 0.7), BOX).iou[0] == 4 / 16  # as it is, all of it is called

    def test_rounding_is_no_contrast(self):
        """A flat map and two equal peaks stay what they are through blur and interpolation."""
        affine = torch.tensor([[13.7, 0, -3.1], [0, 11.3, -5.9], [0, 0, 1]], dtype=torch.float64)
        flat = localize(torch.full((1, 7, 7), 0.7, dtype=torch.float64), affine, (67, 83), [[10, 10, 40, 30]], [0])
        assert (flat.iou[0], flat.dice[0], flat.cnr[0]) == (0, 0, 0)
        assert flat.pointing[0] == pytest.approx(30 * 20 / (67 * 83))
        peaks = torch.full((1, 7, 7), 0.1, dtype=torch.float64)
        peaks[0, 3, 1] = peaks[0, 3, 5] = 0.7
        affine = torch.diag(torch.tensor([26 / 7, 26 / 7, 1], dtype=torch.float64))
        assert localize(peaks, affine, (26, 26), [[0, 0, 13, 26]], [0], smoothing=0.9).pointing[0] == 0.5

    def test_where_there_is_no_contrast_to_noise(self):
        whole = on_pixels(DRAWN, [[0, 0, 4, 4]])
        assert np.isnan(whole.cnr[0])
        assert whole.cnr_reason == ("the boxes cover the whole image",)
        assert whole.pointing[0] == 1
        step = torch.zeros(4, 4)
        step[1:3, 1:3] = 1
        assert np.isnan(on_pixels(step, BOX).cnr[0])
        assert "constant" in on_pixels(step, BOX).cnr_reason[0]


def reflected(i: int, n: int) -> int:
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    radius = int(4 * sigma + 0.5)
    kernel = [math.exp(-(d**2) / (2 * sigma**2)) for d in range(-radius, radius + 1)]
    h, w = values.shape
    result = np.zeros_like(values)
    for y in range(h):
        for x in range(w):
            for dy, a in enumerate(kernel):
                for dx, b in enumerate(kernel):
                    result[y, x] += a * b * values[reflected(y + dy - radius, h), reflected(x + dx - radius, w)]
    return result / sum(kernel) ** 2


def slowly(values: np.ndarray, to_stored: np.ndarray, size: tuple[int, int], boxes: list, sigma: float) -> list[float]:
    """All steps for one finding, pixel by pixel; the map's patches all show some of the image."""
    h, w = size
    values = blurred(values, sigma)
    gh, gw = values.shape
    drawn, mask = np.zeros(size), np.zeros(size, bool)
    for y in range(h):
        for x in range(w):
            gx = (x + 0.5 - to_stored[0, 2]) / to_stored[0, 0] - 0.5  # in patches, from the first patch's centre
            gy = (y + 0.5 - to_stored[1, 2]) / to_stored[1, 1] - 0.5
            i, j = math.floor(gy), math.floor(gx)
            for row, a in ((i, 1 - gy + i), (i + 1, gy - i)):
                for column, b in ((j, 1 - gx + j), (j + 1, gx - j)):
                    drawn[y, x] += a * b * values[min(max(row, 0), gh - 1), min(max(column, 0), gw - 1)]
            mask[y, x] = any(x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1 for x0, y0, x1, y1 in boxes)
    peak = np.unravel_index(drawn.argmax(), size)
    cnr = abs(drawn[mask].mean() - drawn[~mask].mean()) / math.sqrt(drawn[mask].var() + drawn[~mask].var())
    scaled = 2 * (drawn - drawn.min()) / (drawn.max() - drawn.min()) - 1
    ious, dices = [], []
    for t in THRESHOLDS:
        called = scaled >= t
        ious.append((called & mask).sum() / (called | mask).sum())
        dices.append(2 * (called & mask).sum() / (called.sum() + mask.sum()))
    return [float(mask[peak]), float(np.mean(ious)), float(np.mean(dices)), float(cnr)]


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_same_in_loops(seed):
    rng = np.random.default_rng(seed)
    size, grid = [(24, 53), (53, 24), (40, 40), (31, 64)][seed], (6, 6)
    _, canvas_from_stored = fit_to_canvas(torch.zeros(1, *size), (48, 48))
    to_stored = grid_to_stored(canvas_from_stored, (48, 48), grid)
    maps = torch.tensor(rng.normal(size=(3, *grid)))
    boxes, finding = [], [0, 0, 2]
    for _ in finding:
        corner = rng.random(2) * (size[1] - 12, size[0] - 12)
        boxes.append([*corner, *(corner + 4 + rng.random(2) * 8)])
    result = localize(maps, to_stored, size, boxes, finding, side=None)

    # the patches that show the image, found by their edges
    edge = to_stored.numpy()
    x = edge[0, 0] * np.arange(7) + edge[0, 2]
    y = edge[1, 1] * np.arange(7) + edge[1, 2]
    columns = [j for j in range(6) if min(x[j + 1], size[1]) - max(x[j], 0) > 1e-6]
    rows = [i for i in range(6) if min(y[i + 1], size[0]) - max(y[i], 0) > 1e-6]
    assert seed == 2 or len(rows) * len(columns) < 36
    shifted = edge.copy()
    shifted[:2, 2] = x[columns[0]], y[rows[0]]
    for k, own in ((0, boxes[:2]), (2, boxes[2:])):
        wanted = slowly(maps[k].numpy()[np.ix_(rows, columns)], shifted, size, own, 1.5)
        assert [getattr(result, name)[k] for name in MEASURES] == pytest.approx(wanted, abs=1e-9)
    assert all(np.isnan(getattr(result, name)[1]) for name in MEASURES)


class TestFrames:
    def wide(self) -> tuple[torch.Tensor, tuple[int, int]]:
        """A 40 x 80 image on a square canvas: of 8 x 8 patches rows 2..5 show it."""
        _, affine = fit_to_canvas(torch.zeros(1, 40, 80), (80, 80))
        return grid_to_stored(affine, (80, 80), (8, 8)), (40, 80)

    def test_what_the_pad_says_does_not_matter(self):
        to_stored, size = self.wide()
        maps = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
        loud, silent = maps.clone(), maps.clone()
        loud[:, [0, 1, 6, 7]], silent[:, [0, 1, 6, 7]] = 1e6, NAN
        box = [[10, 10, 30, 25]]
        results = [localize(m, to_stored, size, box, [0]) for m in (maps, loud, silent)]
        for name in MEASURES:
            assert len({getattr(result, name)[0] for result in results}) == 1

    def test_the_peak_is_in_stored_pixels(self):
        to_stored, size = self.wide()
        maps = torch.zeros(1, 8, 8)
        maps[0, 3, 6] = 1  # canvas x 60..70, y 30..40; stored y 10..20
        assert localize(maps, to_stored, size, [[60, 10, 70, 20]], [0], smoothing=0).pointing[0] == 1
        assert localize(maps, to_stored, size, [[60, 30, 70, 40]], [0], smoothing=0).pointing[0] == 0

    def test_a_coarser_raster_is_close(self):
        g = torch.Generator().manual_seed(1)
        maps = torch.rand(4, 8, 8, generator=g)
        boxes = [[100, 200, 400, 420], [300.5, 100, 700, 330], [20, 20, 980, 500], [600, 700, 760, 790]]
        affine = torch.diag(torch.tensor([125.0, 100.0, 1.0]))
        fine = localize(maps, affine, (800, 1000), boxes, [0, 1, 2, 3], side=None)
        coarse = localize(maps, affine, (800, 1000), boxes, [0, 1, 2, 3], side=256)
        for name in ("iou", "dice", "cnr"):
            assert getattr(coarse, name) == pytest.approx(getattr(fine, name), abs=0.01)
        assert any(coarse.iou != fine.iou)  # the raster was another one

    def test_cells_need_not_be_square(self):
        """10 x 64 pixels in 2 x 16 cells of 5 x 4 pixels."""
        ramp = torch.arange(64.0).expand(1, 10, 64)
        for first, wanted in ((60, 1), (56, 0)):
            box = [[first, 0, first + 4, 10]]
            assert localize(ramp, torch.eye(3), (10, 64), box, [0], smoothing=0, side=16).pointing[0] == wanted

    def test_a_box_smaller_than_a_cell_has_one(self):
        maps = torch.zeros(1, 4, 4)
        maps[0, 2, 1] = 1
        affine = torch.diag(torch.tensor([10.0, 10.0, 1.0]))
        tiny = {"smoothing": 0, "side": 4, "thresholds": [0.5]}
        for box in ([11, 21, 13, 23], [17, 26, 19.5, 29]):
            result = localize(maps, affine, (40, 40), [box], [0], **tiny)
            assert (result.pointing[0], result.iou[0]) == (1, 1)
        assert localize(maps, affine, (40, 40), [[21, 21, 23, 23]], [0], **tiny).iou[0] == 0

    def test_what_no_patch_covers_is_missed_not_left_out(self):
        """The grid shows the left half of the image only."""
        maps = torch.tensor([[[0.0, 1.0], [0.5, 0.0]]])
        result = localize(
            maps, torch.eye(3), (2, 4), [[1, 0, 3, 1]], [0], smoothing=0, rescaling="none", thresholds=[0.7], side=None
        )
        assert (result.pointing[0], result.iou[0]) == (1, 1 / 2)  # of two pixels in the box one is seen
        unseen = localize(maps, torch.eye(3), (2, 4), [[2, 0, 4, 1]], [0], smoothing=0, side=None)
        assert (unseen.pointing[0], unseen.iou[0]) == (0, 0)
        assert unseen.cnr_reason == ("no patch covers the boxes",)


class TestWhatCounts:
    def test_findings_without_complete_boxes_are_undefined(self):
        maps = DRAWN.expand(4, 4, 4).clone()
        maps[1] = NAN  # no boxes: not looked at
        boxes = [*BOX, [0, 0, 1, 1], [NAN] * 4, *BOX]
        result = on_pixels(maps, boxes, [0, 2, -1, 3], boxed=[True, True, False, True])
        for name in MEASURES:
            assert np.isnan(getattr(result, name)).tolist() == [False, True, True, False]

    def test_no_boxes_at_all(self):
        result = on_pixels(DRAWN, torch.zeros(0, 4))
        assert all(np.isnan(getattr(result, name)).all() for name in MEASURES)
        assert result.cnr_reason == (None,)

    def test_tables(self):
        images = [on_pixels(DRAWN, BOX), on_pixels(DRAWN, torch.zeros(0, 4))]
        tables = stack(images)
        assert list(tables) == list(MEASURES)
        assert tables["pointing"][0] == [1]
        assert np.isnan(tables["pointing"][1])
        assert stack([]) == {}


class TestFaults:
    def test_a_broken_map_is_named(self):
        maps = DRAWN.expand(2, 4, 4).clone()
        maps[1, 2, 3] = NAN
        with pytest.raises(ValueError, match="finding 1 is nan at patch row 2, column 3"):
            on_pixels(maps, BOX, [1])
        maps[1, 2, 3] = math.inf
        with pytest.raises(ValueError, match="is inf"):
            on_pixels(maps, BOX, [1])

    @pytest.mark.parametrize(
        ("boxes", "options", "message"),
        [
            ([[3, 1, 1, 3]], {}, "empty"),
            ([[9, 9, 12, 12]], {}, "outside the image of 4 x 4"),
            ([[0, 0, math.inf, 2]], {}, "not finite"),
            (BOX, {"finding": [1]}, "do not fit 1 maps"),
            (BOX, {"boxed": [True, True]}, "do not fit 1 maps"),
            (BOX, {"smoothing": -1}, "smoothing >= 0"),
            (BOX, {"thresholds": []}, "thresholds"),
            (BOX, {"side": 0}, "side >= 1"),
            (BOX, {"rescaling": "softmax"}, "rescaling one of"),
        ],
    )
    def test_arguments(self, boxes, options, message):
        with pytest.raises(ValueError, match=message):
            on_pixels(DRAWN, boxes, **options)

    def test_probabilities_are_checked(self):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            on_pixels(DRAWN * 2, BOX, rescaling="probability")

    def test_geometry(self):
        with pytest.raises(ValueError, match="no patch shows"):
            localize(DRAWN[None], torch.tensor([[1.0, 0, 50], [0, 1, 50], [0, 0, 1]]), (4, 4), BOX, [0])
        with pytest.raises(ValueError, match="scale and offset only"):
            localize(DRAWN[None], torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]), (4, 4), BOX, [0])
        with pytest.raises(ValueError, match=r"\(K, Gh, Gw\)"):
            localize(DRAWN, torch.eye(3), (4, 4), BOX, [0])
