"""Patch tokens on a finer grid than the tower's, and the prior of a patch."""

import math

import pytest
import torch
import torch.nn.functional as F

from bundle.networks.fine_grid import FineGrid

B, K, G = 2, 3, 4


@pytest.fixture
def image():
    return torch.rand(B, 1, 132, 132, generator=torch.Generator().manual_seed(3))


def slow_bilinear(values, factor):
    """(H, W) -> (f·H, f·W): a value is at home in its cell's centre, beyond the outermost centres the nearest holds."""
    high, wide = values.shape
    out = torch.zeros(high * factor, wide * factor)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            at = [min(max((i + 0.5) / factor - 0.5, 0), n - 1) for i, n in ((y, high), (x, wide))]
            (y0, x0), (dy, dx) = [int(a) for a in at], [a - int(a) for a in at]
            y1, x1 = min(y0 + 1, high - 1), min(x0 + 1, wide - 1)
            out[y, x] = (1 - dy) * ((1 - dx) * values[y0, x0] + dx * values[y0, x1])
            out[y, x] += dy * ((1 - dx) * values[y1, x0] + dx * values[y1, x1])
    return out


def test_equals_the_formula():
    torch.manual_seed(0)
    fine = FineGrid(6, (3, 3), 2, detail_channels=5, detail_size=6).eval()
    tokens, detail = torch.randn(1, 9, 6), torch.randn(1, 5, 6, 6)
    with torch.no_grad():
        out = fine(tokens, detail)[0].T.unflatten(-1, (6, 6))
        up = torch.stack([slow_bilinear(tokens[0, :, c].reshape(3, 3), 2) for c in range(6)])
        v = (
            up
            + torch.einsum("wc,chx->whx", fine.lateral.weight[:, :, 0, 0], detail[0])
            + fine.lateral.bias[:, None, None]
        )
        first, norm, _, last = fine.mix
        mixed = F.conv2d(v[None], first.weight, padding=1)
        mixed = (mixed / math.sqrt(1 + norm.eps)).relu()  # a fresh batch norm in eval mode
        wanted = v + F.conv2d(mixed, last.weight, last.bias)[0]
        torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            fine.positions(tokens[0]), torch.stack([u.flatten() for u in up], 1), atol=1e-6, rtol=0
        )


def test_features_that_do_not_divide_are_resampled():
    torch.manual_seed(0)
    fine = FineGrid(6, (3, 3), 2, detail_channels=5, detail_size=13)  # kernel 2 makes 6; 15 would make 7
    assert fine.lateral.stride == (2, 2)
    assert fine(torch.randn(2, 9, 6), torch.randn(2, 5, 15, 15)).shape == (2, 36, 6)


@pytest.mark.parametrize(("stem", "factor", "channels"), [(True, 2, 8), (True, 4, 4), (False, 2, 4), (False, 4, 4)])
def test_maps_and_full_output_have_the_fine_grid(build, image, stem, factor, channels):
    """Of a stem the stage of that size, of a plain patch embedding the downscaler's hidden features."""
    net = build(stem=stem, patch_factor=factor).eval()
    side = G * factor
    assert net.grid == (side, side)
    assert net.clip.vision.grid == (G, G)
    assert net.fine.lateral.in_channels == channels
    with torch.no_grad():
        maps, full = net(image), net(image, full=True)
    assert maps.shape == (B, K, side, side)
    torch.testing.assert_close(maps, full["pred"])
    assert full["patch_embedding"].shape[1] == net.pooled.weight.numel() == net.patch_positions().shape[0] == side**2


def test_a_stems_tokens_are_those_of_transformers(build, image):
    """The tower goes through the embeddings step by step where it has a stem; with one call they are the same."""
    net = build(stem=True).eval()
    tower = net.clip.vision
    with torch.no_grad():
        pixels = net.downscaler((image - net.pixel_mean) / net.pixel_std)
        features, whole = tower(pixels), tower.model(pixel_values=pixels)
    assert torch.equal(features.patch_tokens, whole.last_hidden_state[:, 1:])
    assert torch.equal(features.global_embedding, tower.projection(whole.pooler_output))
    assert [tuple(level.shape[1:]) for level in features.levels] == [(4, 16, 16), (8, 8, 8), (8, 4, 4)]


def test_the_fine_grid_leaves_the_tower_as_it_is(build, image):
    """The image's embedding does not know how fine the maps are."""
    plain, fine = build().eval(), build(patch_factor=2).eval()
    fine.clip.load_state_dict(plain.clip.state_dict())
    fine.downscaler.load_state_dict(plain.downscaler.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(
            fine(image, full=True)["global_embedding"], plain(image, full=True)["global_embedding"]
        )


def test_gradients_reach_what_makes_the_detail(build, image):
    for stem in (True, False):
        net = build(stem=stem, patch_factor=2)
        net(image).sum().backward()
        assert net.fine.lateral.weight.grad.abs().max() > 0
        assert net.downscaler.layers[0].weight.grad.abs().max() > 0


def test_the_prior_moves_the_patches_and_nothing_else(build, image):
    plain, prior = build().eval(), build(patch_prior=0.02).eval()
    with torch.no_grad():
        one, two = plain(image, full=True), prior(image, full=True)
        torch.testing.assert_close(two["pred"].logit(), one["pred"].logit() + math.log(0.02 / 0.98), atol=1e-4, rtol=0)
        for name in ("global_logits", "pooled_logits"):
            torch.testing.assert_close(two[name], one[name])
        assert torch.equal(one["patch_logits"][..., 0], two["patch_logits"][..., 0])  # the side "no finding"


@pytest.mark.parametrize("factor", [0, 1.5, True, "2"])
def test_a_factor_that_is_none_is_refused(build, factor):
    with pytest.raises(ValueError, match=r"patch_factor is .* give a whole number"):
        build(patch_factor=factor)


def test_a_grid_finer_than_the_features_is_refused(build):
    with pytest.raises(ValueError, match=r"patch_factor 32 makes a grid of 128x128.*\(16x16\)"):
        build(patch_factor=32)


@pytest.mark.parametrize("prior", [0, 1, -0.1, 1.5])
def test_a_prior_that_is_no_probability_is_refused(build, prior):
    with pytest.raises(ValueError, match=r"patch_prior is .* between 0 and 1"):
        build(patch_prior=prior)


def test_a_pass_embeds_the_prompts_once(build, image):
    """Also while the text tower trains, and with everything asked for."""
    net = build(patch_factor=2).train()
    runs = []
    net.clip.text.model.register_forward_hook(lambda *_: runs.append(1))
    net(image, full=True)
    assert len(runs) == 1
