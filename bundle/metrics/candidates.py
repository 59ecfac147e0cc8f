"""Candidates of patch maps that are tensors; the work is `bundle.metrics.candidate_tables`."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike

from bundle.metrics.candidate_tables import BOX as BOX
from bundle.metrics.candidate_tables import COLUMNS as COLUMNS
from bundle.metrics.candidate_tables import FINDING as FINDING
from bundle.metrics.candidate_tables import PEAK as PEAK
from bundle.metrics.candidate_tables import PEAK_X as PEAK_X
from bundle.metrics.candidate_tables import PEAK_Y as PEAK_Y
from bundle.metrics.candidate_tables import SCORE as SCORE
from bundle.metrics.candidate_tables import candidate_tables as candidate_tables
from bundle.metrics.candidate_tables import visible_patches as visible_patches
from bundle.metrics.candidate_tables import watershed_basins as watershed_basins


def extract_candidates(
    maps: torch.Tensor,
    to_stored: torch.Tensor | ArrayLike,
    stored_size: torch.Tensor | Sequence[int],
    floor: float = 0.05,
    smoothing: float = 0.0,
    box_fraction: float = 0.5,
    max_candidates: int | None = None,
) -> torch.Tensor:
    """Candidates of one image: `extract_candidates_batch` for a batch of one.

    Args:
        maps: (K, Gh, Gw) probabilities.
        to_stored: (3, 3) affine, grid to stored frame.
        stored_size: (H, W) of the stored image.
        floor: see `extract_candidates_batch`, as for all that follow.
        smoothing: sigma in patches.
        box_fraction: share of its maximum down to which a candidate reaches.
        max_candidates: the most candidates kept per finding.

    Returns:
        (M, 8) float64 table on the CPU, columns as in `COLUMNS`, by finding and falling score.

    Raises:
        ValueError: as `extract_candidates_batch`.
    """
    if maps.ndim != 3:
        raise ValueError(f"maps must be (K, Gh, Gw), got {tuple(maps.shape)}; a batch is extract_candidates_batch's")
    affine = torch.as_tensor(to_stored, dtype=torch.float64)
    size = torch.as_tensor(stored_size)
    return extract_candidates_batch(
        maps[None], affine[None], size[None], floor, smoothing, box_fraction, max_candidates
    )[0]


def extract_candidates_batch(
    maps: torch.Tensor,
    to_stored: torch.Tensor | ArrayLike,
    stored_size: torch.Tensor | ArrayLike,
    floor: float = 0.05,
    smoothing: float = 0.0,
    box_fraction: float = 0.5,
    max_candidates: int | None = None,
) -> list[torch.Tensor]:
    """`candidate_tables`, which states the rules and the errors, of tensors.

    Args:
        maps: (B, K, Gh, Gw) probabilities 0..1, on any device.
        to_stored: see there, like all that follow.
        stored_size: (B, 2).
        floor: the lowest score of a patch that can belong to a candidate.
        smoothing: sigma in patches.
        box_fraction: share of its maximum down to which a candidate reaches.
        max_candidates: the most candidates kept per finding and image.

    Returns:
        For each image an (M, 8) float64 table on the CPU.
    """
    values = maps.detach().to("cpu", torch.float64).numpy()
    settings = (floor, smoothing, box_fraction, max_candidates)
    return [torch.from_numpy(table) for table in candidate_tables(values, to_stored, stored_size, *settings)]


def visible_mask(
    to_stored: torch.Tensor | ArrayLike, stored_size: torch.Tensor | ArrayLike, grid_size: tuple[int, int]
) -> torch.Tensor:
    """Which patches show some of the image; the others lie wholly in the pad.

    Arguments and errors are those of `visible_patches`.

    Returns:
        (B, Gh, Gw) bool, on the CPU.
    """
    x_low, x_high, y_low, y_high = visible_patches(to_stored, stored_size, grid_size)
    return torch.from_numpy((y_high > y_low)[:, :, None] & (x_high > x_low)[:, None, :])
