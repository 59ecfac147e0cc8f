"""What a training goes on from beside optimizer and schedule: weights that train, random numbers, places, sums."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Events
from torch import nn
from torch.utils.data import DataLoader

from bundle.fingerprint import weights_fingerprint
from bundle.losses.gather import rank_and_world, several_ranks


class TrainedWeights:
    """The part of a network's state that a training changes: all but the parameters that its optimizer does not have.

    Not what has no gradient at the moment: a curriculum freezes and thaws. Buffers change without an optimizer.

    Args:
        network: the bare one.
        optimizer: its optimizer.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        named = network.named_parameters(remove_duplicate=False)
        self.network, self._frozen = network, {name for name, parameter in named if id(parameter) not in stepped}

    def state(self, other: nn.Module | None = None) -> dict[str, Any]:
        """Names and values of what changes, of the network or of another like it."""
        return {name: value for name, value in (other or self.network).state_dict().items() if name not in self._frozen}

    def fingerprint(self) -> str:
        """Of what does not change, by `bundle.fingerprint.weights_fingerprint`."""
        state = self.network.state_dict()
        return weights_fingerprint({name: state[name] for name in sorted(self._frozen & state.keys())})

    def load(self, state: Mapping[str, Any], other: nn.Module | None = None) -> None:
        """Take what `state` gave, into the network or another like it; what does not change stays.

        Raises:
            RuntimeError: other names or shapes.
        """
        network = other or self.network
        whole = network.state_dict()
        if missing := whole.keys() - self._frozen - state.keys():
            raise RuntimeError(f"it does not hold {', '.join(sorted(missing)[:5])}, which trains here")
        network.load_state_dict({**whole, **state})


def world_size() -> int:
    """How many processes train."""
    return rank_and_world()[1]


def state_of_ranks(engine: Any) -> list[dict[str, Any]]:
    """Of every rank, in their order, its random numbers and the epoch's sums so far; each rank must call."""
    mine = {"random": _random_state(device_of(engine)), "sums": [sums.state_dict() for sums in _running_sums(engine)]}
    if not several_ranks():
        return [mine]
    gathered: list[Any] = [None] * world_size()
    dist.all_gather_object(gathered, mine)
    return gathered


def device_of(engine: Any) -> torch.device | None:
    """The engine's; None of one that knows none."""
    device: torch.device | None = getattr(engine.state, "device", None)
    return device


def within_epochs(engine: Any) -> bool:
    """Whether a training can go on within an epoch: its sampler can (`bundle.data.loading.EpochSampler.go_on`)."""
    loader = getattr(engine, "data_loader", None)
    return isinstance(loader, DataLoader) and hasattr(loader.sampler, "go_on")


def go_on(engine: Any, state: Mapping[str, Any] | None) -> None:
    """Have the engine, which has not run, go on from its `state.iteration`, as if it had come there by itself.

    Not at once: when an epoch starts, its sums begin anew, its sampler is told the epoch's number, and the loader's new
    iterator draws a number: after the random numbers are taken up where it begins a round, else before.

    Args:
        engine: the trainer.
        state: what this rank had in `state_of_ranks`; None where it is not known.
    """
    within = engine.state.iteration % engine.state.epoch_length > 0

    def take_up(_: Any) -> None:
        if state is None:
            return
        _set_random_state(state["random"], device_of(engine))
        if within:
            for sums, saved in zip(_running_sums(engine), state["sums"], strict=True):
                sums.load_state_dict(saved)

    def begin(_: Any) -> None:
        if within_epochs(engine) and _place_loader(engine):
            engine.add_event_handler(Events.GET_BATCH_STARTED(once=engine.state.iteration), take_up)
        else:
            take_up(engine)

    engine.add_event_handler(Events.EPOCH_STARTED(once=engine.state.epoch + 1), begin)


def _place_loader(engine: Any) -> bool:
    """Let the loader go on after `engine.state.iteration` batches.

    With L batches in the loader and E iterations an epoch (`epoch_length`, L where nothing is configured), the batches
    so far came of ⌊iteration / L⌋ whole rounds, and the one that was begun has the order of the epoch in which it was.

    Returns:
        Whether it is within a round.
    """
    loader, state = engine.data_loader, engine.state
    rounds, batches = divmod(state.iteration, len(loader))
    epoch = rounds * len(loader) // state.epoch_length + 1
    if loader.num_workers:  # they augment by the epoch in which they were started
        loader.sampler.set_epoch(epoch)
    loader.sampler.go_on(epoch, batches * loader.batch_size)
    return batches > 0


def _running_sums(engine: Any) -> Iterator[Any]:
    """What adds something up over an epoch's iterations and can say and take how much: Ignite's metrics, `LossTerms`.

    Ignite has no public list of them. Each was attached by a method of its own.
    """
    for handler, *_ in engine._event_handlers[Events.ITERATION_COMPLETED]:
        owner = getattr(handler, "__self__", None)
        if hasattr(owner, "state_dict") and hasattr(owner, "load_state_dict"):
            yield owner


def _random_state(device: torch.device | None) -> dict[str, Any]:
    """Where this process's random numbers are: Python's, NumPy's, torch's, and those of its CUDA device."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device is not None and device.type == "cuda" else None,
    }


def _set_random_state(state: Mapping[str, Any], device: torch.device | None) -> None:
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
