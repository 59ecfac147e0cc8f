"""Each head's equation, written out slowly."""

import math

import torch

from bundle.networks.heads import (
    ContrastiveProjection,
    PooledHead,
    SparseHead,
    finding_probability,
    own_pair_logits,
    pair_logits,
)

W, D, P, K = 8, 6, 5, 3


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def unit(x):
    return x / x.pow(2).sum(-1, keepdim=True).sqrt()


def setup_function():
    torch.manual_seed(0)


def test_projection():
    head, x = ContrastiveProjection(W, D), torch.randn(4, W)
    torch.testing.assert_close(head(x), unit(gelu(x @ head.linear.weight.T)))
    assert head.linear.bias is None


def test_pooled():
    """l' = gelu(Σ_j a_j h_j), before W_c and its own gelu."""
    head, tokens = PooledHead(P), torch.randn(2, P, W)
    torch.testing.assert_close(head.weight, torch.full((P,), 1 / P))
    with torch.no_grad():
        head.weight.copy_(torch.randn(P))
        total = sum(head.weight[j] * tokens[:, j] for j in range(P))
        torch.testing.assert_close(head(tokens), gelu(total))


def attention(x, layer, valid):
    """Multi-head self-attention of (n, W) tokens, to the valid ones only."""
    module = layer.self_attn
    q, k, v = (x @ module.in_proj_weight.T + module.in_proj_bias).chunk(3, -1)
    size, out = W // module.num_heads, []
    for h in range(module.num_heads):
        part = slice(h * size, (h + 1) * size)
        logits = q[:, part] @ k[:, part].T / math.sqrt(size)
        out.append(logits.masked_fill(~valid, -math.inf).softmax(-1) @ v[:, part])
    return torch.cat(out, -1) @ module.out_proj.weight.T + module.out_proj.bias


def norm(x, layer):
    return (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, False, keepdim=True) + layer.eps
    ).sqrt() * layer.weight + layer.bias


def test_sparse():
    """The class token before the selected tokens, two layers of attention and relu MLP, each normalised after."""
    head = SparseHead(W, num_layers=2, num_heads=2, feedforward=12, dropout=0.0).eval()
    tokens, valid = torch.randn(1, P, W), torch.tensor([[True, True, True, False, False]])
    with torch.no_grad():
        x = torch.cat([head.class_token[None], tokens[0]])
        seen = torch.cat([torch.tensor([True]), valid[0]])
        for layer in head.encoder.layers:
            x = norm(x + attention(x, layer, seen), layer.norm1)
            inner = (x @ layer.linear1.weight.T + layer.linear1.bias).relu()
            x = norm(x + inner @ layer.linear2.weight.T + layer.linear2.bias, layer.norm2)
        torch.testing.assert_close(head(tokens, valid)[0], unit(x[0]), atol=1e-5, rtol=0)
        # what is padded has no say
        other = tokens.clone()
        other[:, 3:] = 9
        torch.testing.assert_close(head(other, valid), head(tokens, valid))


def test_pair_logits_and_probability():
    embedding, prompts, s = unit(torch.randn(2, K, D)), unit(torch.randn(K, 2, D)), torch.tensor(7.0)
    logits, own = pair_logits(embedding, prompts, s), own_pair_logits(embedding, prompts, s)
    for b in range(2):
        for i in range(K):
            for k in range(K):
                wanted = torch.stack([s * (embedding[b, i] * prompts[k, side]).sum() for side in (0, 1)])
                torch.testing.assert_close(logits[b, i, k], wanted)
                torch.testing.assert_close(finding_probability(logits[b, i, k]), wanted.softmax(0)[1])
            torch.testing.assert_close(own[b, i], logits[b, i, i])
