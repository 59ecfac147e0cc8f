"""The node at work: what comes in is looked at, and results go out, until it is told to stop."""

import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from bundle.node.queue import DiskQueue
from bundle.node.sender import NotDeliveredError, RefusedError, Sender

logger = logging.getLogger(__name__)

Analyse = Callable[[Path, Path], Sequence[Path]]


class Node:
    """Two threads over one queue: a PACS that is down keeps no radiograph from being looked at.

    A radiograph that can't be looked at, and results that the PACS will not have, are put aside in the queue with the
    reason, and the next one follows. While the PACS is down the results wait; it is tried again after `first_wait`
    seconds, then after twice as long each time, at most `longest_wait`.

    Args:
        queue: the queue.
        analyse: from a radiograph and an empty folder to the files of results, written there.
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
        self._wait = 0.0
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
        while not self._stop.is_set():
            self._stop.wait(step())

    def _analyse_next(self) -> float:
        """Look at one radiograph; returns the seconds to wait before the next."""
        file = self.queue.next_incoming()
        if file is None:
            return self.idle
        key = file.stem
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.queue.finish(key, self.analyse(file, Path(folder)))
            logger.info("%s: looked at.", key)
        except OSError:
            logger.exception("%s waits: the disk or the network's files failed", key)
            return self.longest_wait
        except Exception as error:  # one radiograph must not stop the node
            logger.exception("%s: put aside, it can't be looked at", key)
            self.queue.refuse(key, f"{type(error).__name__}: {error}")
        return 0.0

    def _send_next(self) -> float:
        """Send the results of one radiograph; returns the seconds to wait before the next."""
        folder = self.queue.next_results()
        if folder is None or self.sender is None:
            return self.idle
        try:
            self.sender.send(sorted(folder.iterdir()))
            self.queue.deliver(folder.name)
            logger.info("%s: delivered.", folder.name)
        except RefusedError as error:
            logger.error("%s: put aside, %s", folder.name, error)
            self.queue.refuse(folder.name, str(error))
        except NotDeliveredError as error:
            self._wait = min(2 * self._wait or self.first_wait, self.longest_wait)
            logger.warning("%s waits: %s; next try in %g s", folder.name, error, self._wait)
            return self._wait
        self._wait = 0.0
        return 0.0
