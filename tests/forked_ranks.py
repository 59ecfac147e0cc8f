"""Two ranks in two processes of a test."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_ranks(work: Callable[..., None], *args: Any, seconds: float = 120) -> None:
    """Run `work(rank, *args)` on ranks 0 and 1; fails where they do not both end in time."""
    # forked of a server that has imported MONAI, and not of this process, whose autograd may have threads by now, which
    # torch refuses to fork; nor spawned, which imports MONAI in each
    multiprocessing.set_forkserver_preload(
        ["monai.bundle", "ignite", "bundle.networks", "bundle.handlers", "bundle.losses"]
    )
    processes = mp.start_processes(work, args=args, nprocs=2, join=False, start_method="forkserver")
    deadline = time.monotonic() + seconds
    while not processes.join(timeout=1):
        if time.monotonic() > deadline:
            for process in processes.processes:
                process.kill()
            pytest.fail("the ranks wait for each other")


def meet(rank: int, folder: Path, world: int = 2) -> None:
    """A rank joins the others of its folder, as torchrun lets it."""
    torch.set_num_threads(1)  # a forked process must not use its parent's OpenMP threads, which did not come along
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
