"""Back from the upright picture that the network saw to the file's own pixels, where they lie otherwise."""

import torch

from bundle.grid import transform_boxes
from bundle.metrics.candidates import BOX, PEAK
from bundle.reading.upright import AS_STORED, Upright


def candidates_of_file(candidates: torch.Tensor, turn: Upright, stored: tuple[int, int]) -> torch.Tensor:
    """Candidates in stored pixels, from those of the upright picture.

    Args:
        candidates: (M, 8) table, columns of `bundle.metrics.candidates.COLUMNS`.
        turn: what brought the stored pixels upright.
        stored: (H, W) of the stored picture.

    Returns:
        (M, 8).
    """
    if turn == AS_STORED:
        return candidates
    back = torch.linalg.inv(torch.from_numpy(turn.matrix(stored)))
    result = candidates.clone()
    result[:, PEAK] = (candidates[:, PEAK].double() @ back[:2, :2].T + back[:2, 2]).to(result)
    result[:, BOX] = transform_boxes(candidates[:, BOX], back)
    return result


def maps_of_file(maps: torch.Tensor, turn: Upright) -> torch.Tensor:
    """Maps (..., h, w) over the stored picture, from those drawn over the upright one."""
    return maps if turn == AS_STORED else torch.from_numpy(turn.undo(maps.numpy()).copy())
