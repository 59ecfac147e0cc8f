"""Several losses as one, with weights that a curriculum can change."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bundle.comments import without_comments
from bundle.losses.gather import several_ranks


class WeightedLosses(nn.Module):
    """L = Σ_n w_n L_n, with L_n the n-th loss's "loss".

    A loss of weight 0 is not computed and shows no terms. On several ranks the outputs then still take part with a
    gradient of exactly 0, because DistributedDataParallel waits for every parameter that an output depends on.

    Args:
        losses: name -> loss; each returns its named terms and "loss".
        weights: name -> weight, one for each loss.

    Raises:
        ValueError: a loss without a weight; and see `completed`.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.losses = nn.ModuleDict(without_comments(losses))
        if missing := [name for name in self.losses if name not in weights]:
            raise ValueError(f"WeightedLosses: {missing} have no weight; 0 leaves a loss out.")
        self.weights = self.completed(weights)

    def completed(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The weights of all losses; those that are not named weigh 0.

        Raises:
            ValueError: a name that is no loss's; a weight that is negative or not finite; no weight above 0.
        """
        weights = without_comments(weights)
        if unknown := [name for name in weights if name not in self.losses]:
            raise ValueError(f"weights: {unknown} are no losses. The losses are: {', '.join(self.losses)}.")
        if wrong := {name: weight for name, weight in weights.items() if not 0 <= weight < math.inf}:
            raise ValueError(f"weights: {wrong} must be finite and not negative.")
        if not any(weights.values()):
            raise ValueError(f"weights: {weights} leave no loss to train with; give one a weight above 0.")
        return {name: float(weights.get(name, 0)) for name in self.losses}

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """From now on these weights and no others. Raises: see `completed`."""
        self.weights = self.completed(weights)

    def forward(self, output: Mapping[str, Any], target: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute every loss that has a weight.

        Args:
            output: of the network; what the losses take.
            target: what the losses take.

        Returns:
            The unweighted terms of all losses computed, and their weighted sum `loss`.

        Raises:
            ValueError: two losses have a term of the same name.
        """
        terms: dict[str, torch.Tensor] = {}
        parts = []
        for name, loss in self.losses.items():
            if self.weights[name] == 0:
                continue
            found = dict(loss(output, target))
            parts.append(self.weights[name] * found.pop("loss"))
            if clash := sorted(terms.keys() & found.keys()):
                raise ValueError(f"WeightedLosses: '{name}' names its terms {clash}, as a loss before it does.")
            terms |= found
        if len(parts) < len(self.losses) and several_ranks():
            parts += _zeros(output)
        return {**terms, "loss": sum(parts[1:], parts[0])}


def _zeros(output: Any) -> list[torch.Tensor]:
    """A zero that hangs on the graph for each tensor in the output, NaN or not: the sum of none of its entries."""
    if isinstance(output, Mapping):
        return [zero for value in output.values() for zero in _zeros(value)]
    tied = isinstance(output, torch.Tensor) and output.requires_grad
    return [output.reshape(-1)[:0].sum()] if tied else []
