"""How a saliency map becomes scores 0..1 that can be compared between images.

Min-max scaling alone, which figures use, gives every normal image a peak of 1: it would lose a comparison of false
positives by construction. So a map keeps its own size, or takes that of the image's probability.
"""

import torch


def scale_by_constant(maps: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
    """min(map / scale, 1): the same scale for all images, so that a faint map stays faint.

    Args:
        maps: (B, K, Gh, Gw), not negative.
        scale: above 0; one number, or (K,), one a finding. A high quantile of the maps of the validation section keeps
            the order of nearly all scores; what lies above it is clipped to 1.

    Returns:
        (B, K, Gh, Gw), 0..1; NaN stays NaN.
    """
    return (maps / torch.as_tensor(scale, dtype=maps.dtype, device=maps.device).reshape(-1, 1, 1)).clamp(0, 1)


def scale_by_probability(
    maps: torch.Tensor, probability: torch.Tensor, visible: torch.Tensor | None = None
) -> torch.Tensor:
    """p · (map − min) / (max − min): the map says where in the image, the image's probability p says how sure.

    Args:
        maps: (B, K, Gh, Gw).
        probability: (B, K), 0..1.
        visible: (B, Gh, Gw) bool, the patches that show the image: minimum and maximum are theirs, and the others
            become 0. None takes all: right only where there is no pad, or it is not known.

    Returns:
        (B, K, Gh, Gw), 0..p, each map with its own minimum and maximum. A constant map says nothing of where and
        becomes 0. NaN stays NaN, but in the pad.
    """
    pad = torch.zeros_like(maps, dtype=torch.bool) if visible is None else ~visible[:, None].to(maps.device)
    low = maps.masked_fill(pad, torch.inf).amin((-2, -1), keepdim=True)
    high = maps.masked_fill(pad, -torch.inf).amax((-2, -1), keepdim=True)
    relative = ((maps - low) / (high - low)).masked_fill((high == low) | pad, 0)
    return probability[..., None, None] * relative
