"""The server's end: a training ends with it, and goes on when it is asked for again."""

import logging
import signal
from contextlib import suppress
from types import FrameType

import psutil  # type: ignore[import-untyped]
from monailabel.utils.async_tasks.utils import background_executors, stop_background_task

logger = logging.getLogger(__name__)


def end_training_with_server() -> None:
    """From now on SIGTERM and SIGINT end the process that trains too; uvicorn hands them on when it has ended."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    if executor := background_executors.get("train"):
        executor.shutdown(wait=False, cancel_futures=True)  # what waits for its turn must not begin
    with suppress(psutil.NoSuchProcess):  # it ended at this moment
        if stop_background_task("train"):
            logger.warning("A training ended with the server; asked for again with the same settings, it goes on.")
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
