"""Progressive training: what is learnt, and what learns, changes at set epochs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ignite.engine import Events
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bundle.comments import without_comments
from bundle.losses import WeightedLosses
from bundle.networks.freezing import Freezing

logger = logging.getLogger(__name__)

_REQUIRED, _OPTIONAL = {"name", "from_epoch", "weights"}, {"trainable"}


@dataclass(frozen=True)
class Stage:
    """One stage of a curriculum.

    - `number`: from 1.
    - `name`: for people.
    - `from_epoch`: its first epoch; it lasts until the next stage's.
    - `weights`: loss -> weight; a loss that is not named weighs 0.
    - `trainable`: patterns of what trains, among what the network's configuration trains; None for all of that.
    """

    number: int
    name: str
    from_epoch: int
    weights: Mapping[str, float]
    trainable: Sequence[str] | None


class Curriculum:
    """Sets the losses' weights and what is frozen when an epoch starts, by the epoch's number alone.

    So a resumed training is in the right stage by itself. The stage is logged when it begins, is `engine.state.stage`,
    and its number is among the engine's metrics, from which MLflow takes it. Attach it to the trainer.

    Nothing changes at construction: the optimizer must be made for all that any stage trains, and
    DistributedDataParallel too, which also needs `find_unused_parameters=True` if a stage freezes anything. A part that
    thaws again finds the optimizer's state, such as its momentum, as it was.

    Source: RegionMed-CLIP's progressive training (arXiv 2508.05244v1): global alignment first, then regions.

    Args:
        stages: dicts of `name`, `from_epoch`, `weights` and, if need be, `trainable`, as `Stage` has them, such as
            {"name": "global", "from_epoch": 1, "weights": {"report": 1.0}, "trainable": ["clip.*"]}.
        loss: the trainer's.
        network: the bare one, whose attribute `freezing` is its `Freezing`.

    Raises:
        ValueError: no stages; a stage with keys missing or unknown; stages that do not begin with epoch 1 or do not
            ascend; weights that the loss refuses; a pattern that matches nothing that trains, or no pattern at all; a
            network without `freezing`. The message names the stage.
    """

    def __init__(self, stages: Sequence[Mapping[str, Any]], loss: WeightedLosses, network: nn.Module) -> None:
        freezing = getattr(network, "freezing", None)
        if not isinstance(freezing, Freezing):
            raise ValueError(
                f"Curriculum: {type(network).__name__} has no `freezing`; give the bare network, network_def."
            )
        self.loss, self.freezing = loss, freezing
        self.stages = read_stages(stages)
        for stage in self.stages:
            try:
                loss.completed(stage.weights)
                if not freezing.narrowed(stage.trainable):
                    raise ValueError("nothing trains.")
            except ValueError as error:
                raise ValueError(f"{_called(stage)}: {error}") from error
        self._applied: Stage | None = None

    def attach(self, engine: Any) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.STARTED, self._check_network)
        engine.add_event_handler(Events.STARTED, self._check_length)
        engine.add_event_handler(Events.EPOCH_STARTED, self._apply)

    def stage(self, epoch: int) -> Stage:
        """The stage of an epoch, counted from 1."""
        return [stage for stage in self.stages if stage.from_epoch <= epoch][-1]

    def _check_network(self, engine: Any) -> None:
        """DistributedDataParallel would wait for what is frozen, and fail in the stage's second step."""
        network = engine.network
        if not isinstance(network, DistributedDataParallel) or network.find_unused_parameters:
            return
        whole = set(self.freezing.narrowed(None))
        if freezing := [stage for stage in self.stages if set(self.freezing.narrowed(stage.trainable)) != whole]:
            raise ValueError(
                f"{_called(freezing[0])} freezes what other stages train, and several processes train; set "
                "find_unused_parameters to true."
            )

    def _check_length(self, engine: Any) -> None:
        for stage in self.stages:
            if stage.from_epoch > engine.state.max_epochs:
                logger.warning(
                    f"{_called(stage)} begins with epoch {stage.from_epoch}, "
                    f"but the training ends with epoch {engine.state.max_epochs}."
                )

    def _apply(self, engine: Any) -> None:
        stage = self.stage(engine.state.epoch)
        engine.state.stage = stage
        engine.state.metrics["stage"] = stage.number
        if stage is self._applied:
            return
        self.loss.set_weights(stage.weights)
        self.freezing.narrow(stage.trainable)
        self._applied = stage
        weights = ", ".join(f"{name} {weight:g}" for name, weight in self.loss.weights.items() if weight)
        trains = "all that is configured" if stage.trainable is None else ", ".join(stage.trainable)
        logger.info(
            f"{_called(stage)} of {len(self.stages)}, at epoch {engine.state.epoch}: losses {weights}; trains {trains}."
        )


def read_stages(stages: Sequence[Mapping[str, Any]]) -> list[Stage]:
    """The stages of a configuration, as `Curriculum` takes them.

    Raises:
        ValueError: no stages; keys missing or unknown; stages that do not begin with epoch 1 or do not ascend.
    """
    read = [_read(number, stage) for number, stage in enumerate(stages, 1)]
    _check_order(read)
    return read


def _read(number: int, section: Mapping[str, Any]) -> Stage:
    section = without_comments(section)
    if missing := _REQUIRED - section.keys():
        raise ValueError(f"Stage {number} of the curriculum lacks {sorted(missing)}.")
    if unknown := section.keys() - _REQUIRED - _OPTIONAL:
        raise ValueError(
            f"Stage {number} of the curriculum has unknown keys {sorted(unknown)}; "
            f"known are {sorted(_REQUIRED | _OPTIONAL)}."
        )
    return Stage(number=number, **{"trainable": None, **section, "weights": without_comments(section["weights"])})


def _check_order(stages: Sequence[Stage]) -> None:
    if not stages:
        raise ValueError("Curriculum: there are no stages.")
    epochs = [stage.from_epoch for stage in stages]
    if not all(type(epoch) is int for epoch in epochs):
        raise ValueError(f"Curriculum: from_epoch of the stages is {epochs}; give whole numbers.")
    if epochs[0] != 1:
        raise ValueError(f"{_called(stages[0])} begins with epoch {epochs[0]}; the first stage begins with epoch 1.")
    for before, stage in pairwise(stages):
        if stage.from_epoch <= before.from_epoch:
            raise ValueError(
                f"{_called(stage)} begins with epoch {stage.from_epoch}, not after '{before.name}', "
                f"which begins with epoch {before.from_epoch}."
            )


def _called(stage: Stage) -> str:
    return f"Stage {stage.number}, '{stage.name}'"
