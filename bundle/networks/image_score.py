"""Which score classifies an image."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

SCORES = ("global", "pooled", "sparse", "patch")
_NO_WEIGHT = 1e-12


class ImageScore(nn.Module):
    """One probability an image and finding out of the four.

    p_image = sum_i w_i p_i / sum_i w_i over the scores that are there: a sparse score is absent (NaN) where no patch
    was selected, and the others stand in for it. Where none that has a weight is there, it is the mean of all that are.

    Args:
        weights: weight of each score by name ("global", "pooled", "sparse", "patch"); one name alone means that score.
            "learned" learns them, starting equal: w = softmax(θ); the loss's `image` term trains θ and nothing else.

    Raises:
        ValueError: an unknown score, a negative weight, or none above zero.
    """

    theta: torch.Tensor

    def __init__(self, weights: Mapping[str, float] | Literal["learned"] | str = "learned") -> None:
        super().__init__()
        self.learned = weights == "learned"
        if isinstance(weights, str):
            weights = dict.fromkeys(SCORES, 1.0) if self.learned else {weights: 1.0}
        if unknown := sorted(set(weights) - set(SCORES)):
            raise ValueError(f"image_score.weights has {unknown}; the scores are {SCORES} (or 'learned').")
        values = torch.tensor([float(weights.get(name, 0)) for name in SCORES])
        if (values < 0).any() or values.sum() <= 0:
            raise ValueError(f"image_score.weights is {dict(weights)}; wanted: none below 0 and at least one above.")
        theta = values.clamp(min=1e-30).log()
        if self.learned:
            self.theta = nn.Parameter(theta)
        else:  # configuration, not weights: a checkpoint must not bring its own
            self.register_buffer("theta", theta, persistent=False)

    def forward(self, scores: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The four scores, each (B, K), sparse possibly NaN -> the same with `image` added."""
        stacked = torch.stack([scores[name] for name in SCORES], -1).detach()  # (B, K, 4): only θ learns
        there = torch.isfinite(stacked)
        present = stacked.masked_fill(~there, 0)
        weights = self.theta.softmax(0) * there
        total = weights.sum(-1)
        image = (weights * present).sum(-1) / total.clamp(min=_NO_WEIGHT)
        # a weight of 0 is 1e-30 in theta: what is left of such is none to go by
        image = torch.where(total < _NO_WEIGHT, present.sum(-1) / there.sum(-1).clamp(min=1), image)
        return {**scores, "image": image}
