"""A region starts as its pooled tokens, learns to look at its image, and minds no other region."""

import math

import pytest
import torch

from bundle.networks import CLIPTowers, RegionProcessor
from bundle.networks.roi_align import roi_align

B, R, W, GRID = 2, 3, 8, (4, 5)
P = GRID[0] * GRID[1]


@pytest.fixture
def image():
    """Patch tokens, class token and positions."""
    g = torch.Generator().manual_seed(0)
    return torch.randn(B, P, W, generator=g), torch.randn(B, W, generator=g), torch.randn(P, W, generator=g)


@pytest.fixture
def boxes():
    return torch.tensor([[[0.0, 0, 2, 2], [1, 1, 4, 3], [2.5, 0.5, 3, 4]], [[3, 2, 5, 4], [0, 3, 1, 4], [0, 0, 5, 4]]])


def processor(gate=None, **arguments):
    """With every parameter random; `gate` None leaves the gates at 0."""
    torch.manual_seed(0)
    region = RegionProcessor(W, num_heads=2, **arguments)
    with torch.no_grad():
        for name, parameter in region.named_parameters():
            if not name.endswith("gate"):
                parameter.add_(0.3 * torch.randn(parameter.shape))
            elif gate is not None:
                parameter.fill_(gate)
    return region


def layer_norm(x, norm):
    x = (x - x.mean()) / (x.var(unbiased=False) + norm.eps).sqrt()
    return x * norm.weight + norm.bias


def by_hand(region, patch_tokens, class_token, positions, boxes):
    """One layer, region by region, head by head."""
    (look,) = region.layers
    to_query, to_key, to_value = look.attention.in_proj_weight.split(W)
    query_bias, key_bias, value_bias = look.attention.in_proj_bias.split(W)
    out = torch.zeros(B, R, W)
    for b in range(B):
        image = [class_token[b]] + [patch_tokens[b, j] + positions[j] for j in range(P)]
        image = [layer_norm(x, region.image_norm) for x in image]
        for r in range(R):
            x0, y0, x1, y1 = boxes[b, r].tolist()
            w, h = GRID[1], GRID[0]
            place = torch.tensor([(x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h])
            pooled = roi_align(patch_tokens[b : b + 1], boxes[b : b + 1, r : r + 1], GRID)[0, 0]
            query = to_query @ (layer_norm(pooled, look.norm) + region.place(place)) + query_bias
            heads = []
            for head in (slice(0, W // 2), slice(W // 2, W)):
                keys = torch.stack([to_key @ x + key_bias for x in image])[:, head]
                values = torch.stack([to_value @ x + value_bias for x in image])[:, head]
                heads.append((keys @ query[head] / math.sqrt(W // 2)).softmax(0) @ values)
            out[b, r] = pooled + math.tanh(look.gate) * look.attention.out_proj(torch.cat(heads))
            if look.mlp is not None:
                out[b, r] += math.tanh(look.mlp_gate) * look.mlp(out[b, r].clone())
    return out


@pytest.mark.parametrize("feedforward", [None, 12])
def test_agrees_with_a_loop(image, boxes, feedforward):
    region = processor(gate=0.7, feedforward=feedforward).eval()
    with torch.no_grad():
        torch.testing.assert_close(region(*image, boxes, GRID), by_hand(region, *image, boxes))


@pytest.mark.parametrize("layers", [1, 3])
def test_starts_as_the_pooled_tokens(image, boxes, layers):
    region = processor(layers=layers, feedforward=12)
    pooled = roi_align(image[0], boxes, GRID)
    torch.testing.assert_close(region(*image, boxes, GRID), pooled, atol=0, rtol=0)


def test_a_step_opens_the_gate_and_the_next_moves_the_rest(image, boxes):
    region = processor(feedforward=12).train()
    optimizer = torch.optim.SGD(region.parameters(), lr=0.1)
    moved = []
    for _ in range(2):
        optimizer.zero_grad()
        region(*image, boxes, GRID).square().sum().backward()
        moved.append({name for name, p in region.named_parameters() if p.grad.abs().max() > 0})
        optimizer.step()
    assert moved[0] == {"layers.0.gate", "layers.0.mlp_gate"}
    assert moved[1] == {name for name, _ in region.named_parameters()}


def test_order_and_padding_of_regions_change_nothing(image, boxes):
    region = processor(gate=0.7, layers=2, feedforward=12).eval()
    with torch.no_grad():
        out = region(*image, boxes, GRID)
        order = [2, 0, 1]
        torch.testing.assert_close(region(*image, boxes[:, order], GRID), out[:, order])
        padded = torch.cat([boxes[:, :1], torch.full((B, 2, 4), math.nan), boxes[:, 1:]], 1)
        with_padding = region(*image, padded, GRID)
        torch.testing.assert_close(with_padding[:, [0, 3, 4]], out)
        assert (with_padding[:, 1:3] == 0).all()
        alone = region(image[0][1:], image[1][1:], image[2], boxes[1:, :1], GRID)
        torch.testing.assert_close(alone[0], out[1, :1])


def test_a_region_sees_its_image_the_place_of_tokens_and_its_own(image, boxes):
    region = processor(gate=0.7).eval()
    patch_tokens, class_token, positions = image
    small = boxes[:1, :1]  # the four patches of the upper left corner
    with torch.no_grad():
        out = region(patch_tokens[:1], class_token[:1], positions, small, GRID)
        far = patch_tokens[:1].clone()
        far[0, -1] += torch.randn(W)
        others = [
            region(far, class_token[:1], positions, small, GRID),
            region(patch_tokens[:1], class_token[:1] + torch.randn(W), positions, small, GRID),
            region(patch_tokens[:1], class_token[:1], positions.flip(0), small, GRID),
        ]
        assert all((other - out).abs().max() > 1e-4 for other in others)
        # on a blank image, boxes differ by their place alone
        blank = region(torch.ones(1, P, W), class_token[:1], positions, boxes[:1], GRID)
    assert (blank[0, 0] - blank[0, 1]).abs().max() > 1e-4


@pytest.mark.parametrize("rows", [0, 2])
def test_images_without_regions_are_normal(image, rows):
    region = processor(gate=0.7, layers=2, feedforward=12).train()
    patch_tokens = image[0].requires_grad_()
    out = region(*image, torch.full((B, rows, 4), math.nan), GRID)
    assert out.shape == (B, rows, W)
    assert (out == 0).all()
    out.sum().backward()
    assert (patch_tokens.grad == 0).all()
    assert all(p.grad is not None and (p.grad == 0).all() for p in region.parameters())


def test_one_image_without_regions_among_others(image, boxes):
    region = processor(gate=0.7, feedforward=12).train()
    boxes[1] = math.nan
    region(*image, boxes, GRID).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in region.parameters())


def test_bfloat16(image, boxes):
    region = processor(gate=0.7, feedforward=12).eval()
    with torch.no_grad():
        exact = region(*image, boxes, GRID)
        with torch.autocast("cpu", torch.bfloat16):
            rough = region(*image, boxes, GRID)
    assert not torch.equal(rough.float(), exact)
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0)


def test_the_vision_tower_gives_its_tokens():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    tower = CLIPTowers(image_size=32, vision={**sizes, "patch_size": 8}, projection_dim=12).vision.eval()
    with torch.no_grad():
        features = tower(torch.rand(B, 3, 32, 32))
        final = tower.projection(tower.model.post_layernorm(features.class_token))
    torch.testing.assert_close(features.global_embedding, final)
    boxes = torch.tensor([[[0.0, 0, 2, 2]]]).expand(B, 1, 4)
    out = RegionProcessor(16)(features.patch_tokens, features.class_token, tower.patch_positions(), boxes, tower.grid)
    assert out.shape == (B, 1, 16)
