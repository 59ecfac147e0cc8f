"""Threads that a service can't do without: where one ends, the service ends, and says why."""

import logging
import threading
from collections.abc import Callable

from bundle.fault import place_of

logger = logging.getLogger(__name__)


class Watch:
    """Starts threads, and tells when the service is over: because it was told to stop, or because one of them ended.

    Args:
        what: the service, for the log.
        then: called when one has ended that nobody wanted to.

    Attributes:
        over: set when the service is to end.
        fault: why, where nobody wanted it.
    """

    def __init__(self, what: str = "node", then: Callable[[], object] = lambda: None) -> None:
        self._what, self._then = what, then
        self.over = threading.Event()
        self.fault: str | None = None

    def start(self, target: Callable[[], object], name: str) -> threading.Thread:
        """Run a function in a thread of its own; it may end only when the service is over."""
        thread = threading.Thread(target=self._run, args=(target, name), name=name, daemon=True)
        thread.start()
        return thread

    def _run(self, target: Callable[[], object], name: str) -> None:
        try:
            target()
        except BaseException as error:  # SystemExit too: the thread is gone all the same
            self._ended(f"the thread {name} has failed: {place_of(error)}")
        else:
            if not self.over.is_set():
                self._ended(f"the thread {name} has ended by itself")

    def _ended(self, fault: str) -> None:
        logger.critical("The %s ends: %s", self._what, fault)
        self.fault = self.fault or fault
        self.over.set()
        self._then()
