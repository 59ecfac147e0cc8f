"""Augmentations move the image and its boxes together."""

import pytest
import torch

from bundle.engines import TrainingStep
from bundle.grid import transform_boxes
from bundle.precision import Precision
from bundle.transforms import AugmentRadiographd, RandomAugmentation
from bundle.transforms.augment import Augmentation, augment, drawn, generator_for, moves, warp, zoom_and_shift


def augmented(canvas, affine, ranges, generator):
    """One canvas augmented, and its affine."""
    u = drawn(generator)
    return augment(canvas[None], u[None], ranges, [generator])[0], moves(u, ranges, canvas.shape[-2:]) @ affine


STILL = {"contrast": 0.0, "gamma": 0.0, "noise": 0.0}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "ranges", [{"rotate": 0, "translate": 0.1, "scale": 0.2}, {"rotate": 15}, {"flip": 1.0, "rotate": 0}]
)
def test_a_drawn_square_moves_with_its_box(seed, ranges):
    canvas = torch.zeros(1, 128, 128)
    canvas[0, 40:60, 70:100] = 1
    affine = torch.eye(3, dtype=torch.float64)
    moved, affine = augmented(canvas, affine, Augmentation(**{**STILL, **ranges}), generator_for(0, 1, seed))
    x0, y0, x1, y1 = transform_boxes(torch.tensor([[70.0, 40, 100, 60]]), affine)[0].tolist()
    rows, columns = torch.where(moved[0] > 0.5)
    found = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    assert all(abs(a - b) <= 1.5 for a, b in zip(found, [x0, y0, x1, y1], strict=True)), (found, x0, y0, x1, y1)


def test_what_is_only_zoomed_and_shifted_is_moved_like_all_else():
    """But for the rim, which does not fade."""
    image = torch.rand(3, 2, 40, 56, generator=torch.Generator().manual_seed(0))
    u = torch.stack([drawn(generator_for(0, 0, n)) for n in range(3)])
    move = moves(u, Augmentation(**{**STILL, "rotate": 0, "translate": 0.2, "scale": 0.4}), (40, 56))
    alike = (zoom_and_shift(image, move) - warp(image, move)).abs().amax(1) < 1e-4
    rows, columns = torch.arange(40)[:, None], torch.arange(56)
    for one, m in zip(alike, move, strict=True):
        (x0, y0), (x1, y1) = m[:2, 2], m[:2] @ torch.tensor([56.0, 40, 1], dtype=torch.float64)
        rim = torch.zeros(40, 56, dtype=torch.bool)
        for places, side in ((rows, y0), (rows, y1), (columns, x0), (columns, x1)):
            rim |= (places - side).abs() <= 1.5
        assert one[~rim].all()


@pytest.mark.parametrize("move", [[[1.0, 0, 9], [0, 1, 0], [0, 0, 1]], [[0.1, 0, 0], [0, 0.1, 0], [0, 0, 1]]])
def test_what_is_moved_out_or_smaller_than_a_pixel_is_gone(move):
    assert not zoom_and_shift(torch.ones(1, 1, 8, 8), torch.tensor([move], dtype=torch.float64)).any()


@pytest.mark.parametrize("scale", [-0.1, 1.5])
def test_a_scale_that_would_mirror_is_refused(scale):
    with pytest.raises(ValueError, match=f"augmentation: scale is {scale}; give 0 to 1"):
        Augmentation(scale=scale)


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
        return augmented(canvas, eye, Augmentation(), generator_for(*key))[0]

    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
    assert not any(torch.equal(draw(1, 2, 3), draw(*other)) for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4)])


OFF = {"rotate": 0, "scale": 0, "translate": 0, **STILL}


def test_nothing_changes_when_all_is_off():
    canvas, eye = torch.rand(1, 16, 16), torch.eye(3, dtype=torch.float64)
    sample = AugmentRadiographd(ranges=OFF)({"image": canvas, "canvas_from_stored": eye, "index": 0})
    assert sample.keys() == {"image", "canvas_from_stored", "index"}
    assert sample["canvas_from_stored"] is eye
    batch = {"image": canvas[None], "index": torch.tensor([0])}
    assert RandomAugmentation(ranges=OFF)(batch, 1) is batch["image"]  # not so much as looked at


def samples(ranges, count=3, epoch=4):
    """What a loader gives of some canvases, all different."""
    torch.manual_seed(0)
    step = AugmentRadiographd(seed=5, ranges=ranges)
    step.set_epoch(epoch)
    affine = torch.eye(3, dtype=torch.float64)
    return [step({"image": torch.rand(1, 24, 32), "canvas_from_stored": affine, "index": n}) for n in range(count)]


def batch_of(parts):
    return {key: torch.stack([torch.as_tensor(part[key]) for part in parts]) for key in parts[0]}


@pytest.mark.parametrize("off", [{}, {"noise": 0.0}, {"noise": 0.0, "rotate": 0.0}, {"rotate": 0.0, "flip": 0.5}])
def test_an_image_is_augmented_alike_whatever_its_batch(off):
    parts, change = samples(off), RandomAugmentation(5, off)
    together = change(batch_of(parts), 4)
    for part, image in zip(parts, together, strict=True):
        torch.testing.assert_close(change(batch_of([part]), 4)[0], image)
    assert not torch.equal(together, batch_of(parts)["image"])
    assert torch.equal(change(batch_of(parts), 4), together)
    assert torch.equal(change(batch_of(parts), 5), together) == ("noise" in off)  # of the epoch comes the noise alone


def test_the_places_of_pixels_are_exact_under_autocast():
    batch = batch_of(samples({}))
    with torch.autocast("cpu", torch.bfloat16):
        found = RandomAugmentation(5)(batch, 4)
    assert torch.equal(found, RandomAugmentation(5)(batch, 4))


class Engine:
    """What a step looks at of an engine."""

    def __init__(self):
        self.network = torch.nn.Conv2d(1, 1, 1)
        self.seen = []
        self.non_blocking = False
        self.state = type("State", (), {"device": torch.device("cpu"), "epoch": 4})()

    def inferer(self, image, network):
        self.seen.append(image)
        return network(image)


def test_the_step_gives_network_and_teacher_what_was_drawn():
    batch, engine = batch_of(samples({})), Engine()
    step = TrainingStep(Precision("float32"), network_keys=(), full=False, augmentation=RandomAugmentation(5))
    _, target = step._forward(engine, batch)
    wanted = RandomAugmentation(5)(batch, 4)
    assert torch.equal(engine.seen[0], wanted)
    assert torch.equal(target["image"], wanted)


def test_boxes_that_move_without_their_images_are_refused():
    batch, engine = batch_of(samples({})), Engine()
    with pytest.raises(ValueError, match=r"give the training step .*RandomAugmentation"):
        TrainingStep(Precision("float32"), network_keys=(), full=False)._forward(engine, batch)
    del batch["augmentation"]
    with pytest.raises(ValueError, match=r"let SelectSampled .* keep"):
        RandomAugmentation(5)(batch, 4)


@pytest.mark.parametrize("change", ["rotate", "scale", "translate", "flip", "contrast", "gamma", "noise"])
def test_a_change_leaves_the_canvas_it_is_of_as_it_is(change):
    """It may be a cache's."""
    canvas, eye = torch.rand(1, 16, 16), torch.eye(3, dtype=torch.float64)
    before = canvas.clone()
    moved, _ = augmented(canvas, eye, Augmentation(**{**OFF, change: 1}), generator_for(0, 0, 0))
    assert not torch.equal(moved, before)
    assert torch.equal(canvas, before)


def test_values_stay_in_range():
    canvas = torch.rand(1, 32, 32)
    wild = Augmentation(contrast=2.0, gamma=1.0, noise=1.0)
    for i in range(10):
        moved, _ = augmented(canvas, torch.eye(3, dtype=torch.float64), wild, generator_for(0, 0, i))
        assert moved.min() >= 0
        assert moved.max() <= 1


def test_what_pads_the_canvas_stays_black():
    """As in evaluation, whatever contrast, gamma and noise do to the radiograph."""
    canvas = torch.zeros(1, 64, 64)
    canvas[:, :, 16:48] = 0.5
    wild = Augmentation(rotate=0, scale=0, translate=0.1, contrast=0.5, gamma=0.5, noise=0.2)
    for i in range(5):
        moved, affine = augmented(canvas, torch.eye(3, dtype=torch.float64), wild, generator_for(0, 0, i))
        left = int(transform_boxes(torch.tensor([[16.0, 0, 48, 64]]), affine)[0, 0])
        assert moved[..., : left - 1].abs().max() == 0
        assert moved[:, 10:54, left + 2 : left + 28].mean() > 0.05
