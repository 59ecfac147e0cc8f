"""A tracked run's way to MLflow, beside the training: nothing that the server does makes a step wait."""

import logging
import threading
from collections import deque
from collections.abc import Iterable

from bundle.handlers.run_journal import Entry, Journal, left_behind
from bundle.handlers.run_sender import DeletedExperimentError, Sender, reason

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between attempts while the server does not answer
LONGEST_START, LONGEST_END = 15.0, 600.0  # seconds that a training waits for the first answer, for the last
COMMAND = "python -m scripts.send_tracking"


class Outbox:
    """Sends a run's entries in their order, in a thread of its own; what is not sent waits in a `Journal`.

    Where the server does not answer, it is asked again after 1, 2, 4 .. 60 seconds, once more at the end, and by the
    next run that writes to the same folder and server, or by `scripts.send_tracking`. The log says so once an outage.

    Args:
        sender: to the server.
        head: which run: token, name, experiment, tags, `began` in milliseconds, destination.
    """

    def __init__(self, sender: Sender, head: Entry) -> None:
        self._sender, self._head = sender, head
        self._journal = Journal(sender.folder, head)
        self._entries: deque[Entry] = deque([head])
        self._changed = threading.Condition()
        self._first = threading.Event()  # the server has answered, or has not
        self._closing = self._down = self._full = False
        self._wrong: DeletedExperimentError | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow-outbox", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Wait for the server's first answer, at most `LONGEST_START` seconds.

        Raises:
            DeletedExperimentError: the run's experiment was deleted.
        """
        self._first.wait(LONGEST_START)
        if self._wrong is not None:
            self._journal.remove()
            raise self._wrong

    def put(self, entry: Entry) -> None:
        """Have an entry sent, now or later. Metrics are lost, and that is said, where the journal is full (`LIMIT`)."""
        with self._changed:
            try:
                kept = self._journal.add(entry)
            except OSError as error:
                kept = self._full  # said once
                logger.warning(f"{self._journal.path} takes no more ({error}): what follows is kept in memory alone.")
            if kept or entry["op"] != "metrics":
                self._entries.append(entry)
            elif not self._full:
                self._full = True
                logger.warning(f"{self._journal.path} is full: further metrics are lost to MLflow until it answers.")
            self._changed.notify()

    def close(self) -> None:
        """Send what is left, if the server answers; else say where it waits."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(LONGEST_END)
        if self._entries:
            logger.warning(
                f"MLflow has not got {len(self._entries)} entries of run {self._head['name']}; they wait in "
                f"{self._journal.path}. The next run there sends them, or: {COMMAND} {self._journal.path.parent}"
            )
            if not self._thread.is_alive():
                self._journal.close()
        else:
            self._journal.remove()

    def _work(self) -> None:
        pause = FIRST_PAUSE
        while (entry := self._next()) is not None:
            try:
                if entry is self._head:
                    send_left(self._sender)
                deliver(self._sender, self._head, [entry])
            except Exception as error:  # stores and clouds each raise their own
                if isinstance(error, DeletedExperimentError) and not self._first.is_set():
                    self._wrong = error
                    self._first.set()
                    return
                self._say_down(error)
                self._first.set()
                if not self._pause(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            self._sent()
            self._first.set()

    def _next(self) -> Entry | None:
        """The next to send, when there is one; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._closing)
            return self._entries[0] if self._entries else None

    def _sent(self) -> None:
        with self._changed:
            self._entries.popleft()
            if not self._entries:
                self._journal.clear()
                self._full = False
        if self._down:
            logger.info("MLflow answers again, and gets what waited.")
            self._down = False

    def _say_down(self, error: Exception) -> None:
        if not self._down:
            self._down = True
            logger.warning(
                f"MLflow does not answer ({reason(error)}): what it is to get waits in {self._journal.path} until it "
                "does."
            )

    def _pause(self, seconds: float) -> bool:
        """Wait to ask again; returns whether to."""
        with self._changed:
            if self._closing:
                return False
            self._changed.wait_for(lambda: self._closing, seconds)
            return True


def send_left(sender: Sender, everything: bool = False) -> list[str]:
    """Send what processes that are gone left in the sender's folder; their files are removed.

    Args:
        sender: to the server.
        everything: also what was meant for another server.

    Returns:
        The names of the runs.

    Raises:
        Exception: the server does not answer.
    """
    sent = []
    for left in left_behind(sender.folder):
        if everything or left.head["destination"] == sender.destination:
            try:
                deliver(sender, left.head, [left.head, *left.entries])
            except DeletedExperimentError as error:
                logger.warning(f"{left.path} is not sent: {error}")
                continue
            left.remove()
            sent.append(left.head["name"])
            logger.info(f"MLflow has what was left in {left.path}.")
    return sent


def deliver(sender: Sender, head: Entry, entries: Iterable[Entry]) -> None:
    """Send entries in order; what MLflow refuses, and would again, is left out, and said.

    Raises:
        Exception: the server does not answer.
    """
    for entry in entries:
        try:
            sender.send(head, entry)
        except Exception as error:
            if entry is head or not sender.refuses(error):
                raise
            logger.warning(f"MLflow refuses {entry['op']} of run {head['name']} ({reason(error)}): left out.")
