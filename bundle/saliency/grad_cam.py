"""Grad-CAM on the patch tokens of the vision tower."""

import torch

from bundle.networks import PatchCLIP
from bundle.saliency.trace import tracing


def grad_cam_maps(network: PatchCLIP, image: torch.Tensor, block: int = -1, normalised: bool = True) -> torch.Tensor:
    """Gradient-weighted class activation maps of the global score.

    With x_jc channel c of patch token j at the entrance of a block, and m_k the class token's logit margin,

        α_kc = 1/P sum_j ∂m_k / ∂x_jc,   map_kj = relu(sum_c α_kc x_jc).

    The last block's entrance is as deep as a ViT allows: of its output only the class token is read, so the patch
    tokens there get no gradient.

    `normalised` reads x after the block's first LayerNorm, as is usual for ViTs. Before it, and at the last block,
    Grad-CAM is blind for what a patch itself says: there a patch acts through that LayerNorm alone, which does not
    see its input's length, so that sum_c ∂m_k/∂x_jc · x_jc = 0 for every patch (a test shows it).

    Not a probability, and of no fixed range: `bundle.saliency.scaling`.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    ICCV 2017.

    Args:
        network: any PatchCLIP; `tracing` says how it is treated.
        image: (B, 1, Hc, Wc) float, 0..1, the canvas.
        block: at whose entrance; 0 is the first, -1 the last.
        normalised: after the block's first LayerNorm, or before it.

    Returns:
        (B, K, Gh, Gw) float32, not negative, in the grid frame.

    Raises:
        ValueError: there is no such block.
    """
    count = len(network.clip.vision.blocks.layers)
    if not -count <= block < count:
        raise ValueError(f"Grad-CAM: block {block} of a vision tower of {count}; give {-count}..{count - 1}.")
    with tracing(network, image, gradient=True) as trace:
        tokens = (trace.normalised if normalised else trace.inputs)[block]
        weights = torch.stack(
            [of_tokens[:, trace.others :].mean(1) for (of_tokens,) in trace.gradients([tokens])], 1
        )  # (B, K, W)
        maps = torch.einsum("bkw,bpw->bkp", weights, tokens[:, trace.others :])
        return maps.relu().unflatten(-1, network.clip.vision.grid).float()  # (B, K, Gh, Gw)
