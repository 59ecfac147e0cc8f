"""Several processes that train one network."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bundle.losses.gather import several_ranks


def parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """The network in DistributedDataParallel where several processes train it, else as it is.

    For a configuration whose network is not `network_def`, which `configs/multi_gpu_train.json` would wrap; that file
    then comes before it.

    Args:
        network: on its device.
        device: this process's.
    """
    if not several_ranks():
        return network
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)
