"""Augmentations move the image and its boxes together."""

import pytest
import torch

from bundle.grid import transform_boxes
from bundle.transforms import AugmentRadiographd
from bundle.transforms.augment import Augmentation, augment, generator_for

STILL = {"contrast": 0.0, "gamma": 0.0, "noise": 0.0}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "ranges", [{"rotate": 0, "translate": 0.1, "scale": 0.2}, {"rotate": 15}, {"flip": 1.0, "rotate": 0}]
)
def test_a_drawn_square_moves_with_its_box(seed, ranges):
    canvas = torch.zeros(1, 128, 128)
    canvas[0, 40:60, 70:100] = 1
    affine = torch.eye(3, dtype=torch.float64)
    moved, affine = augment(canvas, affine, Augmentation(**{**STILL, **ranges}), generator_for(0, 1, seed))
    x0, y0, x1, y1 = transform_boxes(torch.tensor([[70.0, 40, 100, 60]]), affine)[0].tolist()
    rows, columns = torch.where(moved[0] > 0.5)
    found = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    assert all(abs(a - b) <= 1.5 for a, b in zip(found, [x0, y0, x1, y1], strict=True)), (found, x0, y0, x1, y1)


def test_flip_is_off_by_default():
    assert Augmentation().flip == 0


@pytest.mark.parametrize("text", ["report_id", "caption_id", "question_id", "input_ids"])
def test_a_mirror_image_of_what_has_texts_is_refused(text):
    sample = {"image": torch.rand(1, 8, 8), "canvas_from_stored": torch.eye(3, dtype=torch.float64), "index": 0}
    mirrored = AugmentRadiographd(ranges={"flip": 0.5})
    mirrored(sample)
    with pytest.raises(ValueError, match=f"flip is 0.5, but .*{text}.* false: set it to 0"):
        mirrored({**sample, text: 3})
    AugmentRadiographd()({**sample, text: 3})


def test_what_is_drawn_depends_on_seed_epoch_and_image_alone():
    canvas, eye = torch.rand(1, 16, 16), torch.eye(3, dtype=torch.float64)

    def draw(*key):
        return augment(canvas, eye, Augmentation(), generator_for(*key))[0]

    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
    assert not any(torch.equal(draw(1, 2, 3), draw(*other)) for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4)])


def test_nothing_changes_when_all_is_off():
    canvas, eye = torch.rand(1, 16, 16), torch.eye(3, dtype=torch.float64)
    off = Augmentation(rotate=0, scale=0, translate=0, **STILL)
    moved, affine = augment(canvas, eye, off, generator_for(0, 0, 0))
    assert moved is canvas  # not so much as looked at
    assert affine is eye


@pytest.mark.parametrize("change", ["rotate", "scale", "translate", "flip", "contrast", "gamma", "noise"])
def test_a_change_leaves_the_canvas_it_is_of_as_it_is(change):
    """It may be a cache's."""
    canvas, eye = torch.rand(1, 16, 16), torch.eye(3, dtype=torch.float64)
    before, off = canvas.clone(), {"rotate": 0, "scale": 0, "translate": 0, **STILL}
    moved, _ = augment(canvas, eye, Augmentation(**{**off, change: 1}), generator_for(0, 0, 0))
    assert not torch.equal(moved, before)
    assert torch.equal(canvas, before)


def test_values_stay_in_range():
    canvas = torch.rand(1, 32, 32)
    wild = Augmentation(contrast=2.0, gamma=1.0, noise=1.0)
    for i in range(10):
        moved, _ = augment(canvas, torch.eye(3, dtype=torch.float64), wild, generator_for(0, 0, i))
        assert moved.min() >= 0
        assert moved.max() <= 1


def test_what_pads_the_canvas_stays_black():
    """As in evaluation, whatever contrast, gamma and noise do to the radiograph."""
    canvas = torch.zeros(1, 64, 64)
    canvas[:, :, 16:48] = 0.5
    wild = Augmentation(rotate=0, scale=0, translate=0.1, contrast=0.5, gamma=0.5, noise=0.2)
    for i in range(5):
        moved, affine = augment(canvas, torch.eye(3, dtype=torch.float64), wild, generator_for(0, 0, i))
        left = int(transform_boxes(torch.tensor([[16.0, 0, 48, 64]]), affine)[0, 0])
        assert moved[..., : left - 1].abs().max() == 0
        assert moved[:, 10:54, left + 2 : left + 28].mean() > 0.05
