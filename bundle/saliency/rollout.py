"""Attention rollout."""

import torch

from bundle.networks import PatchCLIP
from bundle.saliency.attention import class_token_row
from bundle.saliency.trace import tracing


def rollout_maps(network: PatchCLIP, image: torch.Tensor) -> torch.Tensor:
    """How much attention the class token pays to each patch through all blocks.

    With A_l the attention of block l, averaged over its heads, and its residual as attention to itself,

        rollout = Â_L ··· Â_1,   Â_l = (A_l + I) / 2,   map_j = rollout[class token, j].

    It knows no finding: all K maps of an image are the same. A map and the shares of the class token and of registers
    sum to 1.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.

    Args:
        network: any PatchCLIP; `tracing` says how it is treated.
        image: (B, 1, Hc, Wc) float, 0..1, the canvas.

    Returns:
        (B, K, Gh, Gw) float32, 0..1, in the grid frame.
    """
    with tracing(network, image, attention=True) as trace:
        blocks = [weights.mean(1) for weights in trace.attention]  # (B, T, T) each
        share = class_token_row(blocks, trace.others) / 2 ** len(blocks)  # (B, P)
        maps = share[:, None].repeat(1, len(network.findings), 1)
        return maps.unflatten(-1, network.clip.vision.grid).float()  # (B, K, Gh, Gw)
