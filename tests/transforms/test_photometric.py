"""Grey values as other machines give them: what is drawn, and what stays."""

import pytest
import torch

from bundle.engines import TrainingStep
from bundle.exposed import exposed_rectangle
from bundle.precision import Precision
from bundle.transforms import RandomPhotometry

WILD = {"latitude_share": 0.7, "gamma": [0.45, 2.2], "tone_share": 0.8, "noise": 0.02, "frame_share": 0.5}
BANDS = ("fine", "middle", "coarse", "base")


@pytest.fixture
def batch():
    """Four canvases of 48 px, padded left and right by 6, and their numbers."""
    image = torch.zeros(4, 1, 48, 48)
    image[..., 6:42] = 0.2 + 0.6 * torch.rand(4, 1, 48, 36, generator=torch.Generator().manual_seed(0))
    return image, torch.tensor([3, 1, 4, 15])


def test_all_off_gives_the_batch_itself(batch):
    assert RandomPhotometry()(*batch, 1) is batch[0]


def test_what_is_drawn_depends_on_seed_epoch_and_image_alone(batch):
    image, index = batch
    out = RandomPhotometry(5, WILD)(image, index, 2)
    assert torch.equal(RandomPhotometry(5, WILD)(image, index, 2), out)
    torch.testing.assert_close(RandomPhotometry(5, WILD)(image[2:3], index[2:3], 2), out[2:3])
    for other in (
        RandomPhotometry(6, WILD)(image, index, 2),
        RandomPhotometry(5, WILD)(image, index, 3),
        RandomPhotometry(5, WILD)(image, index + 1, 2),
    ):
        assert all((other[row] - out[row]).abs().max() > 1e-3 for row in range(4))


def test_switching_one_off_keeps_the_rest(batch):
    still = {band: [1, 1] for band in BANDS}
    only = RandomPhotometry(5, {"tone_share": 0.8})(*batch, 2)
    calm = RandomPhotometry(5, {"tone_share": 0.8, "latitude_share": 1.0, **still})(*batch, 2)
    torch.testing.assert_close(only, calm)
    ranges = {"tone_share": 0.8, "noise": 0.02}
    framed = RandomPhotometry(5, {**ranges, "frame_share": 1.0, "frame": [0.1, 0.1]})(*batch, 2)
    assert torch.equal(framed[..., 4:44, 10:38], RandomPhotometry(5, ranges)(*batch, 2)[..., 4:44, 10:38])


def test_the_padding_stays_black_and_values_stay_in_range(batch):
    out = RandomPhotometry(0, {**WILD, "black": [0.3, 0.5], "tone_share": 1.0})(*batch, 1)
    assert out[..., :6].abs().max() == 0
    assert out[..., 42:].abs().max() == 0
    assert out[..., 6:42].min() > 0.1
    assert out.max() <= 1


def test_shares_are_shares(batch):
    image = batch[0][:1].expand(400, -1, -1, -1)
    out = RandomPhotometry(0, {"tone_share": 0.3})(image, torch.arange(400), 1)
    changed = (out - image).abs().amax((1, 2, 3)) > 1e-6
    assert 0.2 < float(changed.float().mean()) < 0.4


@pytest.mark.parametrize(("band", "period"), [("fine", 4), ("middle", 24), ("coarse", 52), ("base", 256)])
def test_bands_are_told_apart_by_their_waves_and_add_up_to_the_image(band, period):
    """Of a sine wave with the gains .5: all bands halve it, together they too, its own most."""
    wave = 0.5 + 0.1 * torch.sin(2 * torch.pi * (torch.arange(512) + 0.5) / period).expand(1, 1, 512, 512)

    def lost(*halved):
        gains = {name: [0.5, 0.5] if name in halved else [1.0, 1.0] for name in BANDS}
        out = RandomPhotometry(0, {"latitude_share": 1.0, **gains})(wave, torch.tensor([0]), 1) - 0.5
        return 1 - float((out * (wave - 0.5)).mean() / (wave - 0.5).square().mean())

    alone = {name: lost(name) for name in BANDS}
    assert max(alone, key=alone.get) == band
    assert alone[band] > 0.2
    assert lost(*BANDS) == pytest.approx(0.5, abs=1e-3)
    assert sum(alone.values()) == pytest.approx(0.5, abs=1e-3)


def test_tone_is_black_plus_contrast_times_the_curve(batch):
    image, index = batch
    ranges = {"gamma": [2, 2], "tone_share": 1.0, "black": [0.1, 0.1], "contrast": [0.5, 0.5]}
    wanted = torch.where(image > 0, 0.1 + 0.5 * image**2, 0)
    torch.testing.assert_close(RandomPhotometry(0, ranges)(image, index, 1), wanted)


def test_noise_is_as_strong_as_drawn_and_each_images_own():
    """Its standard deviation is uniform below `noise`; a larger canvas than before has it all over too."""
    image = torch.full((200, 1, 40, 40), 0.5)
    added = RandomPhotometry(1, {"noise": 0.04})(image, torch.arange(200), 1)[:, 0] - 0.5
    spread = added.flatten(1).std(1)
    assert 0.035 < float(spread.max()) < 0.045
    assert 0.017 < float(spread.mean()) < 0.023
    assert float(torch.corrcoef(added[spread > 0.01].flatten(1)).fill_diagonal_(0).abs().max()) < 0.15
    change = RandomPhotometry(1, {"noise": 0.04})
    change(image[:1], torch.arange(1), 1)
    larger = change(torch.full((9, 1, 60, 60), 0.5), torch.arange(9), 1)
    assert (larger[:, 0].flatten(1).std(1) > 1e-4).all()


def test_a_frame_of_one_grey_covers_the_rim_of_what_is_exposed(batch):
    """Of 48 rows and 36 columns; a tenth of the canvas's side is 4.8 px, whose fifth row stays."""
    image, index = batch
    out = RandomPhotometry(0, {"frame_share": 1.0, "frame": [0.1, 0.1]})(image, index, 1)
    assert torch.equal(out[..., 4:44, 10:38], image[..., 4:44, 10:38])
    for one in out[:, 0]:
        rim = [one[:4, 6:42], one[44:, 6:42], one[:, 6:10], one[:, 38:42]]
        assert torch.cat([side.flatten() for side in rim]).unique().numel() == 1
    assert out[:, 0, 0, 6].unique().numel() == len(image)
    assert float(out[..., :6].abs().max() + out[..., 42:].abs().max()) == 0


def test_frames_come_at_their_share_and_each_side_has_its_own_width():
    image = torch.ones(300, 1, 40, 40)
    out = RandomPhotometry(0, {"frame_share": 0.5, "frame": [0.0, 0.3]})(image, torch.arange(300), 1)[:, 0]
    framed = (out < 1).flatten(1).any(1)
    assert 0.4 < float(framed.float().mean()) < 0.6
    middle = out[framed][:, 20]
    left, right = (middle[:, :20] < 1).sum(1), (middle[:, 20:] < 1).sum(1)
    assert 0 < int(left.max()) <= 12
    assert float((left - right).abs().float().mean()) > 2


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ({"tone_share": 1.2}, "tone_share is 1.2; give 0 to 1"),
        ({"noise": -1.0}, "noise is -1.0; give 0 or more"),
        ({"gamma": [2, 1]}, r"gamma is \[2, 1\]; give two numbers, the lower first, above 0"),
        ({"fine": [0, 1]}, r"fine is \[0, 1\]; give"),
        ({"frame": [0.1, 0.5]}, r"frame is \[0.1, 0.5\]; give two numbers, the lower first, 0 to 0.4"),
        ({"black": [0.1]}, r"black is \[0.1\]; give two numbers, the lower first\."),
    ],
)
def test_ranges_that_cannot_be_meant_are_refused(ranges, said):
    with pytest.raises(ValueError, match=f"photometric: {said}"):
        RandomPhotometry(0, ranges)


def test_the_network_gets_the_changed_images_and_the_loss_the_others(batch):
    """In training; the index and the epoch are the engine's."""
    image, index = batch
    seen = []

    class Engine:
        network = torch.nn.Conv2d(1, 1, 1)
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        non_blocking = False
        state = type("State", (), {"device": torch.device("cpu"), "epoch": 3, "iteration": 1})()

        def inferer(self, image, network):
            seen.append(image)
            return network(image)

        def fire_event(self, _):
            pass

        def loss_function(self, output, target):
            assert torch.equal(target["image"], image)
            return {"loss": output.mean()}

    photometric = RandomPhotometry(2, WILD)
    step = TrainingStep(Precision("float32"), network_keys=(), full=False, photometric=photometric)
    step(Engine(), {"image": image, "index": index})
    assert torch.equal(seen[0], photometric(image, index, 3))


def test_the_exposed_rectangle_by_hand():
    image = torch.zeros(3, 1, 5, 6)
    image[0, 0, 1, 2] = image[0, 0, 3, 4] = 0.1
    image[1] = 1
    wanted = torch.zeros(3, 1, 5, 6, dtype=torch.bool)
    wanted[0, 0, 1:4, 2:5] = True
    wanted[1] = True
    assert torch.equal(exposed_rectangle(image), wanted)
