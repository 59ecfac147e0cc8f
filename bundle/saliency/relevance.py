"""Gradient-weighted attention relevance."""

import torch

from bundle.networks import PatchCLIP
from bundle.saliency.attention import class_token_row
from bundle.saliency.trace import tracing


def relevance_maps(network: PatchCLIP, image: torch.Tensor) -> torch.Tensor:
    """Relevance of each patch to the global score, carried through the blocks by attention that speaks for it.

    With A_l the attention of block l and m_k the class token's logit margin, from R = I and from the first block to
    the last,

        R <- R + mean over heads(relu(∂m_k/∂A_l ⊙ A_l)) R,   map_kj = R[class token, j].

    This is the rule for self-attention, the only one that a ViT needs.

    Not a probability, and of no fixed range: `bundle.saliency.scaling`.

    Source: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
    Encoder-Decoder Transformers", ICCV 2021.

    Args:
        network: any PatchCLIP; `tracing` says how it is treated.
        image: (B, 1, Hc, Wc) float, 0..1, the canvas.

    Returns:
        (B, K, Gh, Gw) float32, not negative, in the grid frame.
    """
    with tracing(network, image, attention=True, gradient=True) as trace:
        rows = []
        for gradients in trace.gradients(trace.attention):
            pairs = zip(gradients, trace.attention, strict=True)
            signed = [(slope * weights).relu().mean(1) for slope, weights in pairs]
            rows.append(class_token_row(signed, trace.others))  # (B, P)
        return torch.stack(rows, 1).unflatten(-1, network.clip.vision.grid).float()  # (B, K, Gh, Gw)
