"""Each saliency method against a slow one of the tests' own."""

import pytest
import torch

from bundle.saliency import METHODS, grad_cam_maps, relevance_maps, rollout_maps
from bundle.saliency.trace import tracing
from tests.saliency.by_hand import BLOCK, HandWritten

B, K, G, P = 3, 3, 4, 16


def close(maps, wanted):
    """Equal to float32's rounding, relative to the largest value, which must not be nothing."""
    assert maps.dtype == torch.float32
    assert maps.shape == (B, K, G, G)
    assert maps.min() >= 0
    assert not maps.requires_grad
    top = float(wanted.max())
    assert top > 1e-4
    torch.testing.assert_close(maps.double(), wanted, rtol=1e-3, atol=1e-5 * top)


@pytest.mark.parametrize("stem", [True, False])
def test_the_margin_is_the_networks_own(build, image, stem):
    net = build(stem=stem)
    with torch.no_grad():
        full = net(image, full=True)
    by_hand = HandWritten(net)
    with tracing(net, image) as trace:
        torch.testing.assert_close(trace.margin.sigmoid(), full["scores"]["global"])
        last, _ = by_hand.run(by_hand.entrance(image))
        torch.testing.assert_close(trace.margin.double(), by_hand.margins(last[:, 0]), rtol=1e-4, atol=1e-4)


def central_differences(function, at, step=1e-5):
    """∂function_k / ∂at: (P, W) -> (K, P, W), one coordinate at a time."""
    steps = torch.eye(at.numel(), dtype=torch.float64).reshape(-1, *at.shape) * step
    slope = (function(at + steps) - function(at - steps)) / (2 * step)  # (P·W, K)
    return slope.T.reshape(-1, *at.shape)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("block", [-1, 0, 1])
def test_grad_cam_against_finite_differences(build, image, block, normalised):
    net = build(layers=3)
    by_hand, number = HandWritten(net), block % 3
    wanted = torch.zeros(B, K, P, dtype=torch.float64)
    for b in range(B):
        hidden = by_hand.entrance(image)[b : b + 1]
        for earlier in range(number):
            hidden, _ = by_hand.block(hidden, earlier)
        tokens = by_hand.first_norm(hidden, number) if normalised else hidden

        def margin_of(patches, hidden=hidden, tokens=tokens):
            moved = torch.cat([tokens[:, :1].expand(len(patches), -1, -1), patches], 1)
            if normalised:
                last, _ = by_hand.run(hidden.expand(len(patches), -1, -1), number, moved)
            else:
                last, _ = by_hand.run(moved, number)
            return by_hand.margins(last[:, 0])

        slopes = central_differences(margin_of, tokens[0, 1:])  # (K, P, W)
        for k in range(K):
            alpha = slopes[k].mean(0)
            for j in range(P):
                wanted[b, k, j] = max(0.0, float(alpha @ tokens[0, 1 + j]))
    close(grad_cam_maps(net, image, block=block, normalised=normalised), wanted.unflatten(-1, (G, G)))


def test_grad_cam_of_a_block_that_is_not_there(build, image):
    for block in (2, -3):
        with pytest.raises(ValueError, match=rf"block {block} of a vision tower of 2; give -2\.\.1"):
            grad_cam_maps(build(), image, block=block)


def test_rollout_against_a_plain_loop(build, image):
    net = build(layers=3)
    by_hand = HandWritten(net)
    wanted = torch.zeros(B, P, dtype=torch.float64)
    for b in range(B):
        _, attentions = by_hand.run(by_hand.entrance(image)[b : b + 1])
        rollout = torch.eye(1 + P, dtype=torch.float64)
        for attention in attentions:
            mean = sum(attention[0, head] for head in range(by_hand.heads)) / by_hand.heads
            mixed = mean + torch.eye(1 + P, dtype=torch.float64)
            rollout = (mixed / mixed.sum(1, keepdim=True)) @ rollout
        wanted[b] = rollout[0, 1:]
    maps = rollout_maps(net, image)
    close(maps, wanted.reshape(B, 1, G, G).expand(-1, K, -1, -1))
    assert maps.sum((-2, -1)).max() < 1


def test_relevance_against_a_plain_loop(build, image):
    net = build(layers=3)
    by_hand = HandWritten(net)
    wanted = torch.zeros(B, K, P, dtype=torch.float64)
    for b in range(B):
        for k in range(K):
            hidden = by_hand.entrance(image)[b : b + 1].requires_grad_()
            last, attentions = by_hand.run(hidden)
            gradients = torch.autograd.grad(by_hand.margins(last[0, 0])[k], attentions)
            relevance = torch.eye(1 + P, dtype=torch.float64)
            for attention, gradient in zip(attentions, gradients, strict=True):
                heads = [(gradient[0, h] * attention[0, h]).clamp(min=0) for h in range(by_hand.heads)]
                relevance = relevance + (sum(heads) / by_hand.heads) @ relevance
            wanted[b, k] = relevance[0, 1:].detach()
    close(relevance_maps(net, image), wanted.unflatten(-1, (G, G)))


def test_cosine_against_tensor_algebra(build, image):
    net = build()
    by_hand = HandWritten(net)
    before_last, _ = by_hand.block(by_hand.entrance(image), 0)
    last, _ = by_hand.block(before_last, 1)
    value = by_hand.linear(by_hand.first_norm(before_last, 1), f"{BLOCK}.1.self_attn.v_proj")
    handed_over = by_hand.linear(value, f"{BLOCK}.1.self_attn.out_proj")
    for name, tokens in (("cosine", last), ("value_cosine", handed_over)):
        wanted = torch.zeros(B, K, G, G, dtype=torch.float64)
        for j in range(P):
            margin = by_hand.margins(tokens[:, 1 + j])
            wanted[:, :, j // G, j % G] = torch.stack([0 * margin, margin]).softmax(0)[1]
        close(METHODS[name](net, image), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_its_images_give_alone(build, image, method):
    net = build(layers=3)
    alone = torch.cat([METHODS[method](net, image[b : b + 1]) for b in range(B)])
    torch.testing.assert_close(METHODS[method](net, image), alone, rtol=1e-4, atol=1e-5 * float(alone.max()))


@pytest.fixture
def bright(build):
    """A one-block network whose class token looks at the brightest patch alone, and images with one bright patch each.

    Token channel 0 is a patch's brightness. Query and key make every token attend to the highest channel 0; values are
    the tokens themselves, read from the first head alone. Finding 0's prompts point along channel 0, finding 1's
    against it.
    """
    net = build(layers=1, stem=False, findings=["Bright", "Dark"])
    vision, block = net.clip.vision.model, net.clip.vision.model.encoder.layers[0]
    with torch.no_grad():
        for convolution in (net.downscaler.layers[0], net.downscaler.layers[3]):
            convolution.weight.fill_(1 / convolution.weight[0].numel())
        for norm in (vision.pre_layrnorm, block.layer_norm1, block.layer_norm2, vision.post_layernorm):
            norm.weight.fill_(1)
            norm.bias.zero_()
        for parameter in [*block.self_attn.parameters(), *block.mlp.parameters()]:
            parameter.zero_()
        embeddings = vision.embeddings
        embeddings.patch_embedding.weight.zero_()
        embeddings.patch_embedding.weight[0].fill_(0.1)
        embeddings.class_embedding.zero_()
        embeddings.class_embedding[1] = 5
        embeddings.position_embedding.weight.normal_()
        embeddings.position_embedding.weight[0] = 0
        embeddings.position_embedding.weight[:, :2] = 0
        block.self_attn.q_proj.bias.fill_(2)
        block.self_attn.k_proj.weight[:, 0] = 2
        for square in (block.self_attn.v_proj, block.self_attn.out_proj, net.clip.vision.projection):
            square.weight.copy_(torch.eye(*square.weight.shape))
        block.self_attn.out_proj.weight[:, 8:] = 0
        net.prompt_embeddings.zero_()
        net.prompt_embeddings[0, :, 0] = torch.tensor([-1.0, 1.0])
        net.prompt_embeddings[1, :, 0] = torch.tensor([1.0, -1.0])
        net.clip.logit_scale.zero_()
    where = [(1, 2), (3, 0), (0, 3)]
    image = torch.zeros(len(where), 1, 132, 132)
    for b, (row, column) in enumerate(where):
        image[b, 0, 33 * row + 8 : 33 * row + 25, 33 * column + 8 : 33 * column + 25] = 1
    return net, image, torch.tensor([G * row + column for row, column in where])


@pytest.mark.parametrize("method", METHODS)
def test_the_one_patch_that_decides_is_highlighted(bright, method):
    net, image, patch = bright
    maps = METHODS[method](net, image).flatten(2)  # (B, K, P)
    assert torch.equal(maps[:, 0].argmax(-1), patch)
    here = maps[torch.arange(len(image)), :, patch]  # (B, K)
    second = maps[:, 0].scatter(1, patch[:, None], 0).amax(-1)
    assert (here[:, 0] > (1 if "cosine" in method else 1.7) * second).all()
    if method == "rollout":  # knows no finding
        assert torch.equal(maps[:, 0], maps[:, 1])
    elif method in ("grad_cam", "relevance"):  # what speaks against a finding is not shown
        assert (here[:, 1] < 1e-6 * here[:, 0]).all()
    else:
        assert torch.equal(maps[:, 1].argmin(-1), patch)


def test_grad_cam_before_the_layer_norm_is_blind_for_a_patchs_own_say(bright, build, image):
    net, drawn, patch = bright
    with tracing(net, drawn, gradient=True) as trace:
        (slope,) = next(trace.gradients([trace.inputs[-1]]))
        rows = torch.arange(len(drawn))
        own = (slope * trace.inputs[-1]).sum(-1)[rows, 1 + patch]
        assert (slope[rows, 1 + patch].norm(dim=-1) > 1e-3).all()
        assert own.abs().max() < 1e-5
    maps = grad_cam_maps(net, drawn, normalised=False).flatten(2)
    assert (maps[rows, 0, patch] < 1e-5).all()
    with tracing(build(layers=3), image, gradient=True) as trace:  # any network, every patch
        for slope, normed in trace.gradients([trace.inputs[-1], trace.normalised[-1]]):
            size = (slope.norm(dim=-1) * trace.inputs[-1].norm(dim=-1))[:, 1:]
            assert ((slope * trace.inputs[-1]).sum(-1)[:, 1:].abs() < 1e-3 * size).all()
            assert (normed * trace.normalised[-1]).sum(-1)[:, 1:].abs().max() > 1e-3
