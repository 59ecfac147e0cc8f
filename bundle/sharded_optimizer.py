"""An optimizer's states shared out among the processes that train, and whole in what is saved."""

from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer


class ShardedOptimizer(ZeroRedundancyOptimizer):
    """torch's ZeroRedundancyOptimizer around an optimizer: of R ranks each has about 1 / R of its states.

    A rank steps the parameters that it has states of, by the optimizer's own step, and sends them to the others: the
    weights are those of the optimizer itself. What `state_dict` gives and `load_state_dict` takes is the plain
    optimizer's too. Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", 2020.

    Every rank must construct it, `step`, and call `consolidate_state_dict`.

    Args:
        optimizer: before its first step; not to be used any more.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        taken = signature(type(optimizer)).parameters  # AdamW's defaults hold what it does not take
        settings = {name: value for name, value in optimizer.defaults.items() if name in taken}
        super().__init__([dict(group) for group in optimizer.param_groups], type(optimizer), **settings)
        self._on_cpu = dist.new_group(backend="gloo")

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Gather the states on the CPU of rank `to`, where `state_dict` may then be called, once.

        torch's own takes each byte through Python, .15 s a MB, and has all ranks receive all.
        """
        mine = self.optim.state_dict()
        states = {
            number: {name: _cpu(value) for name, value in state.items()} for number, state in mine["state"].items()
        }
        shards: list[Any] | None = [None] * self.world_size if self.rank == to else None
        dist.gather_object({**mine, "state": states}, shards, dst=to, group=self._on_cpu)
        self._all_state_dicts = shards or []

    def state_dict(self) -> dict[str, Any]:
        """The plain optimizer's, after `consolidate_state_dict`.

        Raises:
            RuntimeError: not after that, or not on its rank.
        """
        whole: dict[str, Any] = super().state_dict()
        self._all_state_dicts = []  # else one rank's memory would hold the whole
        return whole

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take of the plain optimizer's state what is this rank's.

        torch's own keeps a second copy of it beside, and has `step` on the CPU, where fused steps do not take it.

        Raises:
            ValueError: it is of other parameters.
        """
        Optimizer.load_state_dict(self, {**state_dict, "state": {}})
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        saved = {
            p: state_dict["state"][n] for n, p in zip(numbers, parameters, strict=True) if n in state_dict["state"]
        }
        mine = [parameter for group in self.optim.param_groups for parameter in group["params"]]
        states = {place: saved[parameter] for place, parameter in enumerate(mine) if parameter in saved}
        self.optim.load_state_dict({**self.optim.state_dict(), "state": states})


def _cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, torch.Tensor) else value
