"""A tiny CLIP by OpenAI's names, and its forward pass written out: what converted weights have to agree with."""

import torch
import torch.nn.functional as F

from bundle.networks.conversion.clip_names import pieces
from bundle.networks.conversion.clip_sizes import ClipSizes, TowerSizes

SIZES = ClipSizes(TowerSizes(128, 2, 2, 512), TowerSizes(64, 1, 1, 256), 16, 16, 64, 49_408, 77, "quick_gelu")


def original_state(seed=0, sizes=SIZES):
    """Random weights; those of a norm near 1, so that they matter."""
    generator = torch.Generator().manual_seed(seed)
    return {
        piece.name: torch.randn(piece.shape, generator=generator) * 0.1
        + (piece.name.endswith("weight") and ".ln" in piece.name)
        for piece in pieces(sizes)
    }


def block(x, state, name, heads, activation, causal):
    """x + attention(norm(x)), then x + MLP(norm(x)); x (B, T, W)."""
    get = lambda part: state[f"{name}.{part}"]  # noqa: E731
    y = F.layer_norm(x, x.shape[-1:], get("ln_1.weight"), get("ln_1.bias"))
    query, key, value = (y @ get("attn.in_proj_weight").T + get("attn.in_proj_bias")).chunk(3, -1)
    query, key, value = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # (B, heads, T, T)
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    x = x + mixed @ get("attn.out_proj.weight").T + get("attn.out_proj.bias")
    y = F.layer_norm(x, x.shape[-1:], get("ln_2.weight"), get("ln_2.bias"))
    hidden = activation(y @ get("mlp.c_fc.weight").T + get("mlp.c_fc.bias"))
    return x + hidden @ get("mlp.c_proj.weight").T + get("mlp.c_proj.bias")


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


def image_embedding(state, pixels, sizes=SIZES, activation=quick_gelu):
    """(B, 3, S, S) -> (B, D)."""
    get = lambda name: state[f"visual.{name}"]  # noqa: E731
    width = (sizes.vision.width,)
    patches = F.conv2d(pixels, get("conv1.weight"), stride=sizes.patch_size).flatten(2).transpose(1, 2)
    first = get("class_embedding").expand(len(pixels), 1, -1)
    x = torch.cat([first, patches], 1) + get("positional_embedding")
    x = F.layer_norm(x, width, get("ln_pre.weight"), get("ln_pre.bias"))
    for i in range(sizes.vision.depth):
        x = block(x, state, f"visual.transformer.resblocks.{i}", sizes.vision.heads, activation, causal=False)
    return F.layer_norm(x[:, 0], width, get("ln_post.weight"), get("ln_post.bias")) @ get("proj")


def text_embedding(state, ids, sizes=SIZES, activation=quick_gelu):
    """(N, L) ids, of which the highest ends the text -> (N, D)."""
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: ids.shape[1]]
    for i in range(sizes.text.depth):
        x = block(x, state, f"transformer.resblocks.{i}", sizes.text.heads, activation, causal=True)
    x = F.layer_norm(x, (sizes.text.width,), state["ln_final.weight"], state["ln_final.bias"])
    return x[torch.arange(len(ids)), ids.argmax(-1)] @ state["text_projection"]
