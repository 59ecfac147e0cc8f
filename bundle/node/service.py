"""The node at work: what comes in is looked at, and results go out, until it is told to stop."""

import errno
import logging
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bundle.fault import place_of
from bundle.node.ledger import Entry
from bundle.node.queue import DiskQueue
from bundle.node.sender import NotDeliveredError, RefusedError, Sender, UnreachableError
from bundle.watch import Watch

logger = logging.getLogger(__name__)

# not the radiograph's fault, and likely to pass
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

Analyse = Callable[[Path, Path], Sequence[Path]]


class Node:
    """Two threads over one queue: a PACS that is down keeps no radiograph from being looked at.

    A radiograph that can't be looked at (a ValueError at once, any other error after some tries) and results that the
    PACS will not have, or over which the sender fails as often, are put aside in the queue with the reason. Between two
    tries of one object the others go on. A look counts when it begins, so that a radiograph over which the process ends
    is put aside too. Results that the PACS could not take now wait, however often; while it can't be reached at all,
    all wait. A pause is `first_wait` seconds, then twice as long each time, at most `longest_wait`.

    Args:
        queue: the queue.
        analyse: from a radiograph and an empty folder to the files of results, written there; none where nothing is
            to be said of it.
        sender: delivers results; None leaves them in the queue.
        first_wait: seconds.
        longest_wait: seconds.
        idle: seconds between two looks at an empty queue.
        tries: of an object before it is put aside.
        watch: told of a thread that ends; one of its own by default.

    Raises:
        ValueError: fewer than one try.
    """

    def __init__(
        self,
        queue: DiskQueue,
        analyse: Analyse,
        sender: Sender | None,
        first_wait: float = 1.0,
        longest_wait: float = 300.0,
        idle: float = 0.2,
        tries: int = 5,
        watch: Watch | None = None,
    ) -> None:
        if tries < 1:
            raise ValueError(f"Node: tries must be at least 1, got {tries}")
        self.queue, self.analyse, self.sender = queue, analyse, sender
        self.first_wait, self.longest_wait, self.idle, self.tries = first_wait, longest_wait, idle, tries
        self.watch = watch or Watch()
        self._threads: list[threading.Thread] = []
        self._waits: dict[str, int] = {}  # key -> how often in a row the PACS could not take it
        self._away = 0  # how often in a row it could not be reached

    def start(self) -> None:
        """Begin; returns at once."""
        steps = [self._analyse_next] + [self._send_next] * (self.sender is not None)
        self._threads = [self.watch.start(partial(self._loop, step), step.__name__) for step in steps]

    def stop(self) -> None:
        """End after the object in hand."""
        self.watch.over.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, step: Callable[[], float]) -> None:
        failed = 0
        while not self.watch.over.is_set():
            try:
                pause, failed = step(), 0
            except (OSError, sqlite3.OperationalError) as error:
                if not _of_the_machine(error):
                    raise
                pause, failed = self._pause(failed), failed + 1
                logger.error("The node could not go on; it tries again in %g s: %s", pause, place_of(error))
            self.watch.over.wait(pause)

    def _pause(self, before: int) -> float:
        """Seconds to wait after as many failures before this one."""
        return min(self.first_wait * 2.0 ** min(before, 60), self.longest_wait)

    def _analyse_next(self) -> float:
        """Look at one radiograph; returns the seconds to wait before the next."""
        entry = self.queue.next_incoming()
        if entry is None:
            return self.idle
        if entry.tries >= self.tries:
            self._put_aside(entry.key, f"the node has ended {entry.tries} times in the middle of it")
            return 0.0
        self.queue.ledger.wait(entry.key, self._pause(entry.tries), entry.tries + 1)
        with tempfile.TemporaryDirectory(dir=self.queue.work) as folder:
            if self._try(entry, lambda: self._look(entry.key, Path(folder)), ValueError):  # RadiographError is one
                logger.info("%s: looked at.", entry.key)
        return 0.0

    def _look(self, key: str, folder: Path) -> None:
        self.queue.finish(key, self.analyse(self.queue.file(key), folder))

    def _send_next(self) -> float:
        """Send the results of one radiograph; returns the seconds to wait before the next."""
        entry = self.queue.next_results()
        if entry is None or self.sender is None:
            return self.idle
        files, sender = [self.queue.results / entry.key / name for name in sorted(entry.files)], self.sender
        try:
            if self._try(entry, lambda: sender.send(files), RefusedError):
                self.queue.deliver(entry.key)
                logger.info("%s: delivered.", entry.key)
        except UnreachableError as error:
            pause, self._away = self._pause(self._away), self._away + 1
            logger.warning("%s waits: %s; next try in %g s", entry.key, error, pause)
            return pause
        except NotDeliveredError as error:
            before = self._waits.get(entry.key, 0)
            pause, self._waits[entry.key] = self._pause(before), before + 1
            self.queue.ledger.wait(entry.key, pause, entry.tries)
            logger.warning("%s waits: %s; next try in %g s", entry.key, error, pause)
        else:
            self._waits.pop(entry.key, None)
        self._away = 0
        return 0.0

    def _try(self, entry: Entry, step: Callable[[], None], refusal: type[Exception]) -> bool:
        """Try a step with an object.

        Args:
            entry: the object.
            step: the step.
            refusal: an error that says that another try is useless.

        Returns:
            Whether it went well. If not, the object waits for the next try, or is put aside.

        Raises:
            NotDeliveredError: the PACS can't take it now.
            OSError, sqlite3.Error: of the machine or the queue, not of the object; the try does not count.
        """
        key, pause = entry.key, self._pause(entry.tries)
        try:
            step()
        except refusal as error:
            return self._put_aside(key, f"{type(error).__name__}: {error}" if refusal is ValueError else str(error))
        except NotDeliveredError:
            raise
        except Exception as error:  # of ours, of the library, of the object; one object must not stop the node
            if _of_the_machine(error):
                self.queue.ledger.wait(key, 0.0, entry.tries)
                raise
            if isinstance(error, sqlite3.Error):  # the queue is damaged
                raise
            tried = f"try {entry.tries + 1} of {self.tries}"
            if entry.tries + 1 >= self.tries:
                logger.error("%s: failed, %s: %s", key, tried, place_of(error))
                return self._put_aside(key, f"{type(error).__name__}, {self.tries} times; see the node's log")
            logger.error("%s: failed, %s; it tries again in %g s: %s", key, tried, pause, place_of(error))
            self.queue.ledger.wait(key, pause, entry.tries + 1)
            return False
        return True

    def _put_aside(self, key: str, reason: str) -> bool:
        logger.warning("%s: put aside: %s", key, reason)
        self.queue.refuse(key, reason)
        return False


def _of_the_machine(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) or (
        isinstance(error, OSError) and error.errno in _OF_THE_MACHINE
    )
