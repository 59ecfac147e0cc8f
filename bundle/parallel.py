"""Several processes that train one network."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bundle.losses.gather import several_ranks
from bundle.sharded_optimizer import ShardedOptimizer


def parallel(network: nn.Module, device: torch.device, find_unused_parameters: bool = False) -> nn.Module:
    """The network in DistributedDataParallel where several processes train it, else as it is.

    Args:
        network: on its device.
        device: this process's.
        find_unused_parameters: look at each step which parameters have no part in the loss, in one more pass over the
            graph; needed where a curriculum freezes some that the optimizer has.
    """
    if not several_ranks():
        return network
    return DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        find_unused_parameters=find_unused_parameters,
    )


def sharded(optimizer: torch.optim.Optimizer, shard: bool) -> torch.optim.Optimizer:
    """The optimizer, its states shared out among the processes if `shard` says so.

    Raises:
        ValueError: they are to be shared out, and no processes are connected.
    """
    if not shard:
        return optimizer
    if not (dist.is_available() and dist.is_initialized()):
        raise ValueError(
            "shard_optimizer is true, and this process is connected to no others. Start the training by torchrun, with "
            "configs/multi_gpu_train.json behind the other files, or leave shard_optimizer false."
        )
    return ShardedOptimizer(optimizer)
