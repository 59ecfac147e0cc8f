"""Local normalisation: its formula by brute force, what it is blind to, and whose weights it takes."""

import numpy as np
import pytest
import torch

from bundle.checkpoints import load_weights, save_atomically
from bundle.networks.local_normalisation import LocalNormalisation
from tests.networks.test_patch_clip import B, G, K


def by_hand(image, inside, cell, reach, floor, gain):
    """The docstring's formula for one image (H, W), cell by cell and pixel by pixel."""
    height, width = image.shape
    rows, columns = -(-height // cell), -(-width // cell)
    exposed = [[[] for _ in range(columns)] for _ in range(rows)]
    for r, c in np.argwhere(inside):
        exposed[r // cell][c // cell].append(image[r, c])
    mean, spread, count = (np.zeros((rows, columns)) for _ in range(3))
    for row in range(rows):
        for column in range(columns):
            values, weights = [], []
            for other_row in range(rows):
                for other_column in range(columns):
                    far = (abs(row - other_row), abs(column - other_column))
                    weight = np.prod([max(0, 2 * reach + 1 - d) for d in far])
                    values += exposed[other_row][other_column]
                    weights += [weight] * len(exposed[other_row][other_column])
            if sum(weights):
                mean[row, column] = np.average(values, weights=weights)
                spread[row, column] = np.sqrt(np.average((np.array(values) - mean[row, column]) ** 2, weights=weights))
            count[row, column] = len(exposed[row][column])
    overall = np.sqrt((count * spread**2).sum() / count.sum())

    def between(cells, r, c):
        y, x = (np.clip((place + 0.5) / cell - 0.5, 0, n - 1) for place, n in ((r, rows), (c, columns)))
        top, left = int(y), int(x)
        bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
        upper = (1 - (x - left)) * cells[top, left] + (x - left) * cells[top, right]
        lower = (1 - (x - left)) * cells[bottom, left] + (x - left) * cells[bottom, right]
        return (1 - (y - top)) * upper + (y - top) * lower

    out = np.zeros_like(image)
    slope = gain / (spread + floor * overall + 1e-4)
    for r, c in np.argwhere(inside):
        out[r, c] = np.clip(between(slope, r, c) * image[r, c] + between(0.5 - slope * mean, r, c), 0, 1)
    return out


@pytest.fixture
def images():
    """One without padding and one padded above, below and on the left, both brighter to the right; (2, 1, 30, 41)."""
    noise = torch.rand(2, 1, 30, 41, generator=torch.Generator().manual_seed(0))
    image = 0.05 + 0.3 * noise + torch.linspace(0, 0.5, 41)
    image[1, :, :7] = image[1, :, 25:] = image[1, :, :, :9] = 0
    image[1, :, 12, 20] = 0  # a black pixel inside
    return image


@pytest.mark.parametrize("settings", [{"cell": 4, "reach": 1}, {"cell": 7, "reach": 2, "floor": 0.1, "gain": 0.4}])
def test_the_formula_by_brute_force(images, settings):
    found = LocalNormalisation(**settings)(images)
    inside = np.zeros((2, 30, 41), bool)
    inside[0] = True
    inside[1, 7:25, 9:] = True
    for row in range(2):
        wanted = by_hand(images[row, 0].double().numpy(), inside[row], **{"floor": 0.3, "gain": 0.16, **settings})
        np.testing.assert_allclose(found[row, 0].numpy(), wanted, atol=2e-5)
    assert found[1, 0][torch.from_numpy(~inside[1])].abs().max() == 0
    assert float(found[0].std()) > 0.05


def test_autocast_changes_nothing():
    """Of a bright image with a small spread bfloat16 would keep 8 bits of squares / number and of the mean's square."""
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    image, local = 0.8 + 0.02 * noise, LocalNormalisation(4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = local(image)
    torch.testing.assert_close(found, local(image), atol=0, rtol=0)
    assert found.dtype == torch.float32


def test_it_is_blind_to_black_and_white(images):
    local = LocalNormalisation(4, 2)
    other = torch.where(images > 0, 0.3 + 0.5 * images, 0)
    other[1, :, 12, 20] = 0.3
    assert (local(other) - local(images)).abs().max() < 2e-3
    torch.testing.assert_close(local(images)[1:], local(images[1:]))  # whatever else is in the batch


def test_what_shows_nothing_stays_finite():
    for grey in (0.0, 0.4):
        out = LocalNormalisation()(torch.full((1, 1, 40, 40), grey))
        assert torch.allclose(out, torch.tensor(0.5 if grey else 0.0), atol=1e-3)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="local_normalisation: cell is 0; give 1 or more"):
        LocalNormalisation(cell=0)


def test_the_network_looks_at_the_normalised_image(build):
    image = torch.rand(B, 1, 132, 132, generator=torch.Generator().manual_seed(3))
    plain, local = build().eval(), build(local_normalisation={"_desc_": "a comment", "cell": 8}).eval()
    with torch.no_grad():
        assert local(image).shape == (B, K, G, G)
        torch.testing.assert_close(local(image), plain(LocalNormalisation(8)(image)))
        assert (local(image) - plain(image)).abs().max() > 1e-4


def test_weights_go_with_their_settings(build, tmp_path):
    save_atomically(build(local_normalisation={"cell": 8}).state_dict(), tmp_path / "local.pt")
    save_atomically(build().state_dict(), tmp_path / "plain.pt")
    load_weights(build(local_normalisation={"cell": 8}), tmp_path / "local.pt")
    with pytest.raises(ValueError, match=r"trained with local_normalisation .* = \[8.0, 4.0.*configuration says \[4.0"):
        load_weights(build(local_normalisation={"cell": 4}), tmp_path / "local.pt")
    with pytest.raises(ValueError, match=r"does not fit this network: Unexpected key.*local_normalisation"):
        load_weights(build(), tmp_path / "local.pt")
    with pytest.raises(ValueError, match=r"does not fit this network: Missing key.*local_normalisation"):
        load_weights(build(local_normalisation={}), tmp_path / "plain.pt")
