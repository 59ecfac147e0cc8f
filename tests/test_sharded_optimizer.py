"""An optimizer that two processes share: the bits of one that each has for itself, in half of the memory."""

import logging
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bundle.beginning import check_one_optimizer
from bundle.engines import TrainingStep
from bundle.optim import parameter_groups
from bundle.parallel import sharded
from bundle.precision import Precision
from tests.forked_ranks import meet, run_ranks
from tests.small_training import Training, adamw, after, ended, same

logger = logging.getLogger(__name__)
CLIPPED = TrainingStep(Precision("float32", channels_last=False), network_keys=(), full=False, max_grad_norm=0.1)


def sgd(network):
    groups = parameter_groups(network, {"1.*": 0.2}, no_decay=True)
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=0.1)


def shared(make, network):
    return sharded(make(network), True)


def train_both(rank, folder):
    meet(rank, folder)
    settings = {"wrap": DistributedDataParallel, "save_every": 1}
    more = {"average_decay": 0.9, "accumulation_steps": 2, "step": CLIPPED}
    for name, make, parts in (("sgd", sgd, more), ("adamw", adamw, {})):
        alone, share = (settings | parts | {"optimizer": kind} for kind in (make, partial(shared, make)))
        whole = Training(folder / name / "alone", **alone).run()
        shares = Training(folder / name / "shares", **share).run()
        assert same(whole.network.state_dict(), shares.network.state_dict())  # on each rank
        groups = whole.trainer.optimizer.param_groups, shares.trainer.optimizer.param_groups
        assert all(one["lr"] == other["lr"] < one["initial_lr"] for one, other in zip(*groups, strict=True))
        for kinds, first, then in (("first", share, alone), ("then", alone, share), ("both", share, share)):
            Training(folder / name / kinds, **first).killed(after(4))
            resumed = Training(folder / name / kinds, **then).run()
            assert resumed.orders[0][0] > 1, "it began anew"
            assert same(whole.network.state_dict(), resumed.network.state_dict())
        optimizer = resumed.trainer.optimizer
        assert not optimizer.state  # no copy of what is in the shares
        assert 0 < len(optimizer.optim.state) < len([p for g in optimizer.param_groups for p in g["params"]])
        torch.distributed.barrier()
        if rank == 0:
            for kinds in ("shares", "both", "first", "then"):
                assert same(ended(folder / name / kinds), ended(folder / name / "alone")), (name, kinds)
    torch.distributed.destroy_process_group()


def test_weights_and_checkpoints_are_those_of_the_plain_optimizer_also_resumed(tmp_path):
    """To the bit: steps are element by element, and what a rank has stepped is sent as it is."""
    run_ranks(train_both, tmp_path, seconds=300)


def bytes_of(states):
    return sum(value.nbytes for state in states.values() for value in state.values() if value.ndim)


def measure(rank, folder):
    meet(rank, folder)
    torch.manual_seed(0)
    # weights laid out as train.json's convolutions are, which are not contiguous
    network = nn.Sequential(nn.Conv2d(3, 64, 5), nn.Conv2d(64, 32, 5), nn.Conv2d(32, 64, 5), nn.Conv2d(64, 8, 3))
    network = network.to(memory_format=torch.channels_last)
    optimizer = sharded(torch.optim.AdamW(parameter_groups(network, {"0.*": 0.1}), lr=0.01), True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.1, 0.01], total_steps=5)
    wrapped = DistributedDataParallel(network)
    for _ in range(3):
        optimizer.zero_grad()
        wrapped(torch.full((1, 3, 18, 18), rank + 1.0)).square().mean().backward()
        optimizer.step()
        schedule.step()
    with pytest.raises(RuntimeError, match="has not been consolidated"):
        optimizer.state_dict()
    optimizer.consolidate_state_dict()
    found = {"mine": bytes_of(optimizer.optim.state)}
    found["lr"] = [
        (a["lr"], b["lr"]) for a, b in zip(optimizer.param_groups, optimizer.optim.param_groups, strict=True)
    ]
    found["weights"] = network.state_dict()
    if rank == 0:
        found["whole"] = bytes_of(optimizer.state_dict()["state"])
    with pytest.raises(RuntimeError, match="has not been consolidated"):
        optimizer.state_dict()  # nothing of it stays
    if rank == 0:
        with pytest.raises(ValueError, match="different number of parameter groups"):
            optimizer.load_state_dict(torch.optim.AdamW(network.parameters()).state_dict())
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_each_process_has_half_of_the_states(tmp_path):
    run_ranks(measure, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["mine"] + second["mine"] == first["whole"]
    assert 0.45 < first["mine"] / first["whole"] < 0.55
    logger.info(f"{first['mine']} and {second['mine']} of {first['whole']} bytes")
    assert same(first["weights"], second["weights"])


def test_without_other_processes_it_is_refused_and_off_it_is_the_optimizer_itself():
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters())
    with pytest.raises(ValueError, match=r"shard_optimizer is true.*by torchrun, with configs/multi_gpu_train\.json"):
        sharded(optimizer, True)
    assert sharded(optimizer, False) is optimizer


def test_a_schedule_of_another_optimizer_is_refused(tmp_path):
    training = Training(tmp_path)
    training.resumable.optimizer = adamw(training.network)
    with pytest.raises(ValueError, match="The trainer has another optimizer than `resumable`"):
        training.run()
    training.trainer.optimizer = training.resumable.optimizer
    with pytest.raises(ValueError, match=re.escape("The learning rate's schedule has another optimizer")):
        training.run()
    check_one_optimizer(training.resumable.optimizer, training.trainer, None)
