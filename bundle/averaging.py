"""Weights averaged over a training's steps, judged and kept in place of the last."""

from copy import deepcopy
from typing import Any

import torch
from ignite.engine import Events
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bundle.checkpoints import unwrap
from bundle.engines import accumulated


class AveragedWeights:
    """w' <- d w' + (1 - d) w after each step of the optimizer, by torch's own; of buffers too, such as batch norms'.

    Args:
        network: what trains, bare or in DistributedDataParallel.
        optimizer: its optimizer. What it does not have is frozen, and shared.
        decay: d, between 0 and 1.

    Attributes:
        network: the bare one with the averaged weights.

    Raises:
        ValueError: another decay.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
        if not isinstance(decay, float) or not 0 < decay < 1:
            raise ValueError(f"average_decay is {decay!r}; give a number between 0 and 1, such as 0.999, or null.")
        stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        self._source = unwrap(network)
        shared = {id(parameter): parameter for parameter in self._source.parameters() if id(parameter) not in stepped}
        self.network = deepcopy(self._source, shared).eval()
        self._average = get_ema_multi_avg_fn(decay)

    def begin(self) -> None:
        """From the network's weights as they are now."""
        self.network.load_state_dict(self._source.state_dict())

    def attach(self, trainer: Any, evaluator: Any) -> None:
        """Average after the trainer's steps, and have the evaluator, if there is one, judge the average."""
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._update)
        if evaluator is not None:
            evaluator.network = self.network
            evaluator.add_event_handler(Events.STARTED, self._refresh)

    def _refresh(self, _: Any) -> None:
        """As a network that has trained: what it keeps of weights that change, such as prompts, is stale."""
        self.network.train().eval()

    @torch.no_grad()
    def _update(self, engine: Any) -> None:
        if not accumulated(engine).ends:
            return
        pairs: list[tuple[torch.Tensor, torch.Tensor]] = [
            *zip(self.network.parameters(), self._source.parameters(), strict=True)
        ]
        pairs += zip(self.network.buffers(), self._source.buffers(), strict=True)
        moved = [(mean, now) for mean, now in pairs if mean is not now]
        floats = [(mean, now) for mean, now in moved if mean.is_floating_point()]
        self._average([mean for mean, _ in floats], [now for _, now in floats], 0)
        for mean, now in moved:
            if not mean.is_floating_point():
                mean.copy_(now)
