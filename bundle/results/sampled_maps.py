"""Patch maps as pictures over the stored image."""

import torch

from bundle.grid import patch_map_to_image


def sample_maps(
    maps: torch.Tensor, grid_from_stored: torch.Tensor, stored_size: tuple[int, int], side: int | None
) -> torch.Tensor:
    """Patch maps over the stored image, at its pixels or at fewer.

    Args:
        maps: (K, Gh, Gw).
        grid_from_stored: (3, 3) affine.
        stored_size: (H, W).
        side: the most pixels on the long side; None takes the stored image's own.

    Returns:
        (K, h, w), covering the whole image; NaN where the network has not looked.
    """
    height, width = stored_size
    shrink = 1.0 if side is None else min(1.0, side / max(height, width))
    h, w = max(1, round(height * shrink)), max(1, round(width * shrink))
    stored_from_small = torch.diag(torch.tensor([width / w, height / h, 1.0], dtype=torch.float64))
    return patch_map_to_image(maps, grid_from_stored.double() @ stored_from_small, (h, w))
