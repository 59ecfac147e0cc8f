"""Overlays: where colours land, what is shown and what is not."""

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.results.colours import CASING, TRUTH, finding_colour, rgb
from bundle.results.overlay import draw_overlay, score_text

FINDINGS = ["Effusion", "Mass"]


def candidate(finding: int, score: float, box: tuple[float, float, float, float]) -> list[float]:
    return [finding, score, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, *box]


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(("height", "width"), [(500, 400), (400, 500), (3000, 2400), (900, 2700)])
def test_the_box_lies_where_the_candidate_is(height: int, width: int) -> None:
    box = (0.3 * width, 0.4 * height, 0.6 * width, 0.8 * height)
    picture = draw_overlay(np.full((height, width), 0.5), [candidate(1, 0.9, box)], FINDINGS)
    scale = min(1200, max(height, width, 800)) / max(height, width)
    assert picture.width == round(width * scale)
    got = pixels(picture)
    x0, y0, x1, y1 = (round(v * scale) for v in box)
    colour, middle = rgb(finding_colour(1)), (y0 + y1) // 2
    for y, x in ((middle + 60, x0), (middle + 60, x1 - 1), (y0, (x0 + x1) // 2 + 60), (y1 - 1, (x0 + x1) // 2 + 60)):
        assert tuple(got[y, x]) == colour, f"no line at ({x}, {y})"
    assert tuple(got[middle + 60, x0 - 1]) == rgb(CASING)
    assert tuple(got[middle + 60, x1]) == rgb(CASING)
    assert tuple(got[middle + 60, x0 - 4]) == (128, 128, 128)


@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_pixels_that_are_not_square_keep_the_bodys_proportions(aspect: float) -> None:
    candidates = [[0, 0.9, 30, 20, 10, 10, 50, 30]]
    picture = draw_overlay(np.zeros((100, 100)), candidates, ["Mass"], legend=False, pixel_aspect=aspect)
    assert picture.height == pytest.approx(aspect * picture.width, abs=1)
    rows, columns = np.nonzero((np.asarray(picture) == rgb(finding_colour(0))).all(2))
    across, down = picture.width / 100, picture.height / 100
    assert columns.min() == pytest.approx(10 * across, abs=2)
    assert rows.max() == pytest.approx(30 * down, abs=2)


def test_annotated_boxes_are_dashed_and_white() -> None:
    boxes = torch.tensor([[200.0, 200, 600, 600], [float("nan")] * 4])
    picture = draw_overlay(
        torch.full((1, 1200, 1200), 0.5), np.zeros((0, 8)), FINDINGS, boxes=boxes, box_finding=torch.tensor([0, -1])
    )
    column = pixels(picture)[200:580, 200]
    white = (column == rgb(TRUTH)).all(1)
    assert white.any()
    assert (column[~white] == rgb(CASING)).all()
    assert 0.4 < white.mean() < 0.6


def test_only_scores_from_the_threshold_on_and_the_best_of_each_finding() -> None:
    rows = [candidate(0, 0.9 - 0.1 * i, (100 * i + 20, 100, 100 * i + 80, 160)) for i in range(5)]
    image = np.zeros((1200, 1200))

    def drawn(**settings: float) -> list[bool]:
        got = pixels(draw_overlay(image, rows, FINDINGS, **settings))  # type: ignore[arg-type]
        return [tuple(got[130, 100 * i + 20]) == rgb(finding_colour(0)) for i in range(5)]

    assert drawn(min_score=0.65, max_per_finding=9) == [True, True, True, False, False]
    assert drawn(min_score=0.0, max_per_finding=2) == [True, True, False, False, False]
    assert drawn(min_score=0.95) == [False] * 5


def test_tint_follows_the_map_and_unseen_pixels_are_hatched() -> None:
    maps = np.zeros((2, 60, 60))
    maps[1, 20:40, 20:40] = 1.0
    maps[:, :10] = np.nan
    picture = draw_overlay(np.full((1200, 1200), 0.5), [candidate(1, 1.0, (400, 400, 800, 800))], FINDINGS, maps)
    got = pixels(picture).astype(int)
    grey, ink = np.array([128, 128, 128]), np.array(rgb(finding_colour(1)))
    assert np.abs(got[500, 500] - (0.55 * grey + 0.45 * ink)).max() <= 1
    assert (got[1000, 1000] == grey).all()
    band = got[50:150, 300:1100].reshape(-1, 3)
    assert {tuple(c) for c in band.tolist()} == {(128, 128, 128), (153, 153, 153)}


def test_a_finding_that_is_not_shown_does_not_tint() -> None:
    maps = np.ones((2, 8, 8))
    got = pixels(draw_overlay(np.full((1200, 1200), 0.5), np.zeros((0, 8)), FINDINGS, maps))[:1200]
    assert (got == 128).all()


def test_legend_and_caption_stand_below_the_picture_and_thumbnails_have_none() -> None:
    image, rows = np.full((600, 1200), 0.5), [candidate(0, 0.9, (100, 100, 300, 300))]
    whole = draw_overlay(image, rows, FINDINGS, caption="Not for clinical use. " * 20)
    assert whole.width == 1200
    assert whole.height > 600
    assert draw_overlay(image, rows, FINDINGS, caption="one line").height < whole.height
    assert draw_overlay(image, rows, FINDINGS, legend=False, long_side=384).size == (384, 192)


def test_equal_input_gives_equal_pixels() -> None:
    rng = np.random.default_rng(0)
    image, rows = rng.random((300, 200)), [candidate(0, 0.9, (10, 10, 90, 90))]
    one, other = (draw_overlay(image, rows, FINDINGS, rng_maps) for rng_maps in [np.full((2, 4, 4), 0.7)] * 2)
    assert one.tobytes() == other.tobytes()


def test_what_does_not_fit_is_refused_by_name() -> None:
    image, rows = np.zeros((10, 10)), [candidate(0, 0.9, (1, 1, 5, 5))]
    with pytest.raises(ValueError, match=r"image must be .* got \(3, 10, 10\)"):
        draw_overlay(np.zeros((3, 10, 10)), rows, FINDINGS)
    with pytest.raises(ValueError, match="finding number 2 but only 2 names"):
        draw_overlay(image, [candidate(2, 0.9, (1, 1, 5, 5))], FINDINGS)
    with pytest.raises(ValueError, match=r"maps must be \(2, h, w\)"):
        draw_overlay(image, rows, FINDINGS, np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="1 boxes but 2 findings"):
        draw_overlay(image, rows, FINDINGS, boxes=[[1, 1, 2, 2]], box_finding=[0, 1])
    with pytest.raises(ValueError, match="min_score"):
        draw_overlay(image, rows, FINDINGS, min_score=1.0)


def test_a_score_reads_as_one_only_where_it_is() -> None:
    assert [score_text(score) for score in (0.5, 0.994, 0.995, 0.9999, 1.0)] == [
        "0.50",
        "0.99",
        ">0.99",
        ">0.99",
        "1.00",
    ]
