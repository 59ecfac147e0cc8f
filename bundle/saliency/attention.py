"""Attention weights: how to get them from transformers, and how they carry from block to block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a transformer compute attention in the open: its fast implementations never hold the weights.

    The implementation that was set comes back afterwards, also after an exception.

    Args:
        model: the transformer.
    """
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def class_token_row(blocks: Sequence[torch.Tensor], others: int = 1) -> torch.Tensor:
    """How much of each patch reaches the class token: its row of (I + M_L) ··· (I + M_1), without other tokens.

    Only that row is carried, from the last block to the first: O(L·T²) where the product of matrices takes O(L·T³).

    Args:
        blocks: M_1 .. M_L, the first block first, each (B, T, T); token 0 is the class token.
        others: tokens before the patches, the class token included.

    Returns:
        (B, P).
    """
    row = torch.zeros_like(blocks[-1][:, :1])  # (B, 1, T)
    row[:, :, 0] = 1
    for block in reversed(blocks):
        row = row + row @ block
    return row[:, 0, others:]
