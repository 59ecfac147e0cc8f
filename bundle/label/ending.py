"""The server's end: a training ends with it, and goes on when it is asked for again; a dead thread is its end too."""

import logging
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

import psutil  # type: ignore[import-untyped]
from monailabel.utils.async_tasks.utils import background_executors, stop_background_task

from bundle.watch import Watch

logger = logging.getLogger(__name__)


def end_training_with_server() -> Watch:
    """From now on SIGTERM and SIGINT end the process that trains too; uvicorn hands them on when it has ended.

    Returns:
        For the server's threads: where one ends, the server does, as by SIGTERM, but with exit status 1 and the reason.
    """
    watch = Watch("server", then=lambda: os.kill(os.getpid(), signal.SIGTERM))

    def end(number: int, frame: FrameType | None) -> None:
        _end_training()
        if watch.fault is not None:
            sys.exit(f"The server has ended: {watch.fault}")
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return watch


def _end_training() -> None:
    if executor := background_executors.get("train"):
        executor.shutdown(wait=False, cancel_futures=True)  # what waits for its turn must not begin
    with suppress(psutil.NoSuchProcess):  # it ended at this moment
        if stop_background_task("train"):
            logger.warning("A training ended with the server; asked for again with the same settings, it goes on.")
