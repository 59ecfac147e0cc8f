"""Patch-CLIP's three heads on the patch tokens, and the logits of a prompt pair.

Symbols: B images, K findings, P patches, W vision width, D joint embedding; h_j in R^W the token of patch j;
W_c: W -> D without bias, shared by the three heads. Source: Patch-CLIP, Scientific Reports 16, 14688 (2026).
"""

import torch
import torch.nn.functional as F
from torch import nn

from bundle.prompt_pair import FINDING, NEGATIVE


class ContrastiveProjection(nn.Module):
    """x -> gelu(W_c x) / |gelu(W_c x)|, in float32.

    Args:
        width: W.
        embedding_dim: D.
    """

    def __init__(self, width: int, embedding_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, embedding_dim, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., W) -> (..., D), of unit length."""
        return F.normalize(F.gelu(self.linear(tokens)).float(), dim=-1)


class PooledHead(nn.Module):
    """l' = gelu(sum_j a_j h_j) with learned a in R^P; `ContrastiveProjection` makes the pooled embedding l of it.

    Args:
        num_patches: P. a starts as the mean, 1/P.
    """

    def __init__(self, num_patches: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((num_patches,), 1 / num_patches))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, P, W) -> (B, W)."""
        return F.gelu(torch.einsum("bpw,p->bw", tokens, self.weight.to(tokens.dtype)))


class SparseHead(nn.Module):
    """A small transformer over the selected patches only, read out at a learned class token.

    Selected tokens h_j plus the vision tower's positional embedding of j, and the class token, go through
    `num_layers` encoder layers; the class token, L2-normalised, is returned for `ContrastiveProjection`.

    Args:
        width: W, divisible by `num_heads`.
        num_layers: the paper's 2.
        num_heads: the paper's 4.
        feedforward: the paper's 2048.
        dropout: the paper's .1.
    """

    def __init__(
        self, width: int, num_layers: int = 2, num_heads: int = 4, feedforward: int = 2048, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        layer = nn.TransformerEncoderLayer(width, num_heads, feedforward, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, tokens: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Selected tokens (N, n, W), with positions added, and valid (N, n) -> (N, W)."""
        class_token = self.class_token.to(tokens.dtype).expand(tokens.shape[0], 1, -1)  # a trace would freeze len()
        padding = F.pad(~valid, (1, 0), value=False)  # the class token is always there
        encoded = self.encoder(torch.cat([class_token, tokens], 1), src_key_padding_mask=padding)
        return F.normalize(encoded[:, 0].float(), dim=-1)


def pair_logits(
    embedding: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """s·⟨e, t⟩ of embeddings against prompt pairs, in float32 also under autocast: s magnifies bf16's rounding.

    Args:
        embedding: (..., D), unit length, each judged against all findings.
        prompts: (K, 2, D), unit length; [:, FINDING] is t+, [:, NEGATIVE] is t-.
        scale: s = exp(logit_scale), scalar.
        bias: added to all, SigLIP's; scalar.

    Returns:
        (..., K, 2).
    """
    with torch.autocast(embedding.device.type, enabled=False):
        logits = scale * torch.einsum("...d,ktd->...kt", embedding, prompts)
        return logits if bias is None else logits + bias


def own_pair_logits(
    embedding: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """As `pair_logits`, for one embedding a finding, each against its own pair: (B, K, D) -> (B, K, 2)."""
    with torch.autocast(embedding.device.type, enabled=False):
        logits = scale * torch.einsum("bkd,ktd->bkt", embedding, prompts)
        return logits if bias is None else logits + bias


def finding_probability(logits: torch.Tensor) -> torch.Tensor:
    """Softmax over the pair: (..., 2) -> (...), the probability of the finding."""
    return torch.sigmoid(logits[..., FINDING] - logits[..., NEGATIVE])
