"""Several processes that train one network."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bundle.losses.gather import several_ranks


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
