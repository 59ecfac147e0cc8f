"""The loss's named terms, averaged over each epoch."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import Events


class LossTerms:
    """Puts the mean of each term over the epoch (and over the ranks) into `engine.state.metrics` as "loss/<term>".

    Reads `loss` and `terms` of `bundle.engines.TrainingStep`. Attach it before handlers that log metrics. A term that
    an epoch does not have (a curriculum dropped its loss) leaves the metrics.
    """

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0

    def attach(self, engine: Any) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def state_dict(self) -> dict[str, Any]:
        """What has been added up in this epoch, on this rank."""
        return {"sums": dict(self._sums), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._sums.update(state["sums"])
        self._count = state["count"]

    def _start(self, engine: Any) -> None:
        for name in self._sums:
            engine.state.metrics.pop(f"loss/{name}", None)
        self._sums, self._count = defaultdict(lambda: torch.zeros(())), 0

    def _add(self, engine: Any) -> None:
        output = engine.state.output[0]
        for name, term in {**output["terms"], "total": output["loss"]}.items():
            self._sums[name] = self._sums[name].to(term.device) + term
        self._count += 1

    def _finish(self, engine: Any) -> None:
        for name, total in self._sums.items():
            mean = idist.all_reduce(total / max(1, self._count)) / idist.get_world_size()
            engine.state.metrics[f"loss/{name}"] = float(mean)
