"""SIGTERM, by which clusters and servers ask a process to end: noted, and obeyed where nothing is lost."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import util
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from bundle.losses.gather import several_ranks

STATUS = 128 + signal.SIGTERM


class Stopping:
    """Within its `with` block SIGTERM does not end the process: `asked` tells of it.

    Outside the main thread, and where somebody else handles SIGTERM, it is left alone. A cluster may send it several
    times, and to the loaders' workers too: these outlive it (`spare_workers`), since without them the step in hand
    cannot be finished.
    """

    def __init__(self) -> None:
        self.received = False
        self._installed = False
        self._pending: tuple[Any, torch.Tensor] | None = None

    def __enter__(self) -> "Stopping":
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            process = os.getpid()

            def note(number: int, _: Any) -> None:
                if os.getpid() != process:  # a forked process that does not train: it ends as it would have
                    signal.signal(number, signal.SIG_DFL)
                    signal.raise_signal(number)
                self.received = True

            signal.signal(signal.SIGTERM, note)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def asked(self, device: torch.device | None) -> bool:
        """Whether to end now. Of several ranks each must call it equally often; all get the same answer.

        What one of them received counts from the call after the next: the ranks tell one another behind a step's back.

        Args:
            device: of this rank.
        """
        if not several_ranks():
            return self.received
        before, flag = self._pending, torch.tensor([float(self.received)], device=device)
        self._pending = dist.all_reduce(flag, dist.ReduceOp.MAX, async_op=True), flag
        if before is None:
            return False
        before[0].wait()
        return bool(before[1])


def spare_workers(loader: Any) -> None:
    """From its next iteration on a loader's workers ignore SIGTERM, until this process ends: then it is how they do."""
    if isinstance(loader, DataLoader) and loader.num_workers:
        over = (loader.multiprocessing_context or multiprocessing).Event()
        # multiprocessing's own end sends SIGTERM to the workers that are left and waits for them; this goes before it
        util.Finalize(None, over.set, exitpriority=0)
        loader.worker_init_fn = partial(_ignore, loader.worker_init_fn, over)


def _ignore(then: Callable[[int], None] | None, over: Any, worker: int) -> None:
    def note(_: int, __: Any) -> None:
        if over.is_set():
            os._exit(0)  # a worker that dies of a signal is an error to torch

    signal.signal(signal.SIGTERM, note)
    if then is not None:
        then(worker)
