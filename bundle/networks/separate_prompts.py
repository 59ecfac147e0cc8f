"""Prompts that tell findings apart: a text projection that makes them orthonormal."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


@torch.no_grad()
def separate_prompts(projection: nn.Linear, pooled: torch.Tensor, counts: Sequence[int]) -> None:
    """Change a text tower's projection W as little as makes the prompts of all sides orthonormal.

    With h_i the mean pooled features of the prompts of side i, S = 2K sides, and t_i = norm(W h_i),

        T = A Σ Bᵀ,   U = A Bᵀ   (the orthonormal set nearest to T: Löwdin, J. Chem. Phys. 18, 365 (1950))
        W ← W + (U - H Wᵀ)ᵀ (H⁺)ᵀ   (the smallest change after which W h_i = u_i)

    Why: prompt pairs of one text tower have most of their direction in common ("no ..."), so that what raises one
    finding raises others, and no embedding of unit length can be near one pair alone. Any other text goes through the
    same W, so reports and prompts outside the list still mean what the tower says. With one prompt a side the prompts
    are orthonormal exactly; with several, nearly.

    Args:
        projection: H -> D without bias; changed in place.
        pooled: (N, H) features of all prompts, in the order of `Prompts.texts`, flattened.
        counts: how many prompts each of the S sides has; sums to N.

    Raises:
        ValueError: a projection with bias; more sides than D or H; prompts whose features do not differ enough.
    """
    if projection.bias is not None:
        raise ValueError(
            "separate_prompts: the text projection has a bias (SigLIP's), which moves all prompts the same way. Set "
            "separate_prompts to false."
        )
    sides = torch.stack([part.double().mean(0) for part in pooled.split(list(counts))])  # (S, H)
    weight = projection.weight.double()
    if len(sides) > min(weight.shape):
        raise ValueError(
            f"separate_prompts: {len(sides)} prompts (two a finding) cannot all be orthogonal in {weight.shape[0]} "
            f"dimensions made of {weight.shape[1]} features. Set separate_prompts to false."
        )
    if int(torch.linalg.matrix_rank(sides, rtol=1e-5)) < len(sides):
        raise ValueError(
            "separate_prompts: two prompts have the same features, or one is a mixture of others: they cannot be told "
            "apart. Give each finding prompts of its own, or set separate_prompts to false."
        )
    made = sides @ weight.T  # (S, D)
    a, _, b = torch.linalg.svd(F.normalize(made, dim=-1), full_matrices=False)
    change = torch.linalg.pinv(sides) @ (a @ b - made)  # (H, D)
    projection.weight += change.T.to(projection.weight.dtype)
