"""What was found in a radiograph as a label mask: what viewers show and people correct."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from bundle.grid import patch_map_to_image
from bundle.metrics.candidates import BOX, FINDING, SCORE


def paint_segments(
    candidates: torch.Tensor,
    stored_size: tuple[int, int],
    maps: torch.Tensor | None = None,
    grid_from_stored: torch.Tensor | None = None,
    box_fraction: float = 0.5,
) -> NDArray[np.uint8]:
    """Candidates as a label mask: finding k has the value k + 1, the background 0.

    With maps a candidate is painted where its finding's map, drawn bilinearly, reaches box_fraction · score inside the
    box; without, the whole box. Where two overlap the higher score is on top.

    Args:
        candidates: (M, 8) table, columns of `bundle.metrics.candidates.COLUMNS`.
        stored_size: (H, W).
        maps: (K, Gh, Gw) patch probabilities.
        grid_from_stored: (3, 3) affine, with `maps`.
        box_fraction: share of its maximum down to which a candidate reaches.

    Returns:
        (H, W).
    """
    mask = np.zeros(stored_size, np.uint8)
    height, width = stored_size
    table = candidates[torch.argsort(candidates[:, SCORE], stable=True)]
    for row in table.tolist():
        finding, (x0, y0, x1, y1) = int(row[FINDING]), row[BOX]
        left, top = max(0, math.floor(x0)), max(0, math.floor(y0))
        right, bottom = min(width, math.ceil(x1)), min(height, math.ceil(y1))
        if right <= left or bottom <= top:
            continue
        part = mask[top:bottom, left:right]
        if maps is None or grid_from_stored is None:
            part[:] = finding + 1
            continue
        shift = torch.tensor([[1.0, 0, left], [0, 1, top], [0, 0, 1]], dtype=torch.float64)
        drawn = patch_map_to_image(maps[finding : finding + 1], grid_from_stored.double() @ shift, part.shape)
        part[(drawn[0] >= box_fraction * row[SCORE]).numpy()] = finding + 1
    return mask
