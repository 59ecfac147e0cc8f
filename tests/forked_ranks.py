"""Two ranks in two processes of a test."""

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import pytest
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
