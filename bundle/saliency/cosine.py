"""Patch-text maps of plain CLIP: what the class token's way to the text says of a patch."""

import torch

from bundle.networks import PatchCLIP
from bundle.saliency.trace import margins, tracing


def cosine_maps(network: PatchCLIP, image: torch.Tensor) -> torch.Tensor:
    """Each patch token judged as if it were the class token.

        e_j = visual_projection(post_layernorm(h_j)),   map_kj = softmax(s⟨e_j, t⁻_k⟩, s⟨e_j, t⁺_k⟩)[1]

    with h_j the last block's output, e_j of unit length, and the network's temperature s. CLIP's training never shows
    a patch token to the text, so these are not calibrated, and in ViTs they can point away from the finding.

    Args:
        network: any PatchCLIP; `tracing` says how it is treated.
        image: (B, 1, Hc, Wc) float, 0..1, the canvas.

    Returns:
        (B, K, Gh, Gw) float32, 0..1, in the grid frame.

    Raises:
        ValueError: the vision tower has no class token.
    """
    with tracing(network, image) as trace:
        return _judge(network, trace.patch_tokens)


def value_cosine_maps(network: PatchCLIP, image: torch.Tensor) -> torch.Tensor:
    """As `cosine_maps`, of what the last block hands over from each patch, instead of what it makes of it.

        h_j = W_o (W_v LN(x_j) + b_v) + b_o

    with x_j the last block's input: its values without queries, keys, residual and MLP. So a patch keeps what it says
    itself, in the form in which the class token collects it.

    Source: Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022.

    Args:
        network: any PatchCLIP; `tracing` says how it is treated.
        image: (B, 1, Hc, Wc) float, 0..1, the canvas.

    Returns:
        (B, K, Gh, Gw) float32, 0..1, in the grid frame.

    Raises:
        ValueError: the vision tower has no class token.
    """
    with tracing(network, image) as trace:
        return _judge(network, network.clip.vision.handed_over(trace.normalised[-1][:, trace.others :]))


def _judge(network: PatchCLIP, tokens: torch.Tensor) -> torch.Tensor:
    """Tokens (B, P, W) -> (B, K, Gh, Gw)."""
    tower = network.clip.vision
    margin = margins(network, tower.as_global(tokens))  # (B, P, K)
    return margin.sigmoid().transpose(1, 2).unflatten(-1, tower.grid)
