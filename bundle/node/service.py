"""The node at work: what comes in is looked at, and results go out, until it is told to stop."""

import errno
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bundle.node.fault import place_of
from bundle.node.queue import DiskQueue
from bundle.node.sender import NotDeliveredError, RefusedError, Sender, UnreachableError

logger = logging.getLogger(__name__)

# not the radiograph's fault, and likely to pass
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_ATTEMPTS = 3  # at a radiograph over which the network fails: memory may be short for a moment

Analyse = Callable[[Path, Path], Sequence[Path]]


class Node:
    """Two threads over one queue: a PACS that is down keeps no radiograph from being looked at.

    A radiograph that can't be looked at (a ValueError at once, any other error at its third) and results that the PACS
    will not have are put aside in the queue with the reason, and the next one follows. Results that it could not take
    now wait `first_wait` seconds, then twice as long each time, at most `longest_wait`; while it can't be reached at
    all, all wait so.

    Args:
        queue: the queue.
        analyse: from a radiograph and an empty folder to the files of results, written there; none where nothing is
            to be said of it.
        sender: delivers results; None leaves them in the queue.
        first_wait: seconds.
        longest_wait: seconds.
        idle: seconds between two looks at an empty queue.
    """

    def __init__(
        self,
        queue: DiskQueue,
        analyse: Analyse,
        sender: Sender | None,
        first_wait: float = 1.0,
        longest_wait: float = 300.0,
        idle: float = 0.2,
    ) -> None:
        self.queue, self.analyse, self.sender = queue, analyse, sender
        self.first_wait, self.longest_wait, self.idle = first_wait, longest_wait, idle
        self._held: dict[str, tuple[float, float]] = {}  # key -> when to try again, seconds waited
        self._failed: Counter[str] = Counter()
        self._stop = threading.Event()
        steps = [self._analyse_next] + [self._send_next] * (sender is not None)
        self._threads = [threading.Thread(target=self._loop, args=(step,), name=step.__name__) for step in steps]

    def start(self) -> None:
        """Begin; returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the object in hand."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, step: Callable[[], float]) -> None:
        wait = 0.0
        while not self._stop.is_set():
            try:
                pause, wait = step(), 0.0
            except Exception as error:  # the disk is full, or a fault of ours: the node must go on, and say so
                logger.error("The node could not go on; it tries again: %s", place_of(error))
                pause = wait = self._longer(wait)
            self._stop.wait(pause)

    def _longer(self, wait: float) -> float:
        return min(2 * wait or self.first_wait, self.longest_wait)

    def _analyse_next(self) -> float:
        """Look at one radiograph; returns the seconds to wait before the next."""
        file = self.queue.next_incoming()
        if file is None:
            return self.idle
        key = file.stem
        try:
            with tempfile.TemporaryDirectory(dir=self.queue.work) as folder:
                self.queue.finish(key, self.analyse(file, Path(folder)))
        except ValueError as error:  # of the radiograph (RadiographError is one)
            self._put_aside(key, f"{type(error).__name__}: {error}")
        except Exception as error:  # of ours, or of the machine; one radiograph must not stop the node
            self._failed[key] += 1
            if self._failed[key] < _ATTEMPTS or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE):
                raise
            logger.error("%s: %s", key, place_of(error))
            self._put_aside(key, f"{type(error).__name__}, {_ATTEMPTS} times; see the node's log")
        else:
            self._failed.pop(key, None)
            logger.info("%s: looked at.", key)
        return 0.0

    def _put_aside(self, key: str, reason: str) -> None:
        logger.warning("%s: put aside, it can't be looked at: %s", key, reason)
        self.queue.refuse(key, reason)
        self._failed.pop(key, None)

    def _send_next(self) -> float:
        """Send the results of one radiograph; returns the seconds to wait before the next."""
        now = time.monotonic()
        folder = self.queue.next_results([key for key, (until, _) in self._held.items() if until > now])
        if folder is None or self.sender is None:
            return self.idle
        key = folder.name
        _, waited = self._held.get(key, (0.0, 0.0))
        try:
            self.sender.send(sorted(folder.iterdir()))
        except RefusedError as error:
            logger.error("%s: put aside, %s", key, error)
            self.queue.refuse(key, str(error))
        except NotDeliveredError as error:
            wait = self._longer(waited)
            logger.warning("%s waits: %s; next try in %g s", key, error, wait)
            unreachable = isinstance(error, UnreachableError)
            self._held[key] = (now if unreachable else now + wait, wait)
            return wait if unreachable else 0.0
        else:
            self.queue.deliver(key)
            logger.info("%s: delivered.", key)
        self._held.pop(key, None)
        return 0.0
