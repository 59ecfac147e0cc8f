"""What came and went in the studies, found without walking them each time: a folder's time changes with its files."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bundle.label.studies import Refused, link_radiographs

AGAIN = 60.0  # seconds after which a tree is walked all the same: some network drives do not tell a folder's time
_COARSE = 2 * 10**9  # ns: a folder may change again within one step of its disk's clock, and show the same time


class Datastore(Protocol):
    """What is asked of it here."""

    def drawn_on(self) -> set[str]:
        """Names with labels."""
        ...

    def refresh(self) -> None:
        """Find what came and went in its folder."""
        ...


class Changes:
    """Links what is new in the studies, and lets the datastore know.

    Args:
        studies: the folder with radiographs.
        view: the server's folder of links to them, which is the datastore's.
        work: the server's folder.
    """

    def __init__(self, studies: Path, view: Path, work: Path) -> None:
        self._studies, self._view, self._work = studies, view, work
        self._refused: Refused = {}
        self._drawn_on: set[str] | None = None
        self._originals, self._links = _Tree(studies, work), _Tree(view)
        self._looking = threading.Lock()

    def find(self, datastore: Datastore) -> None:
        """Bring links and datastore up to date.

        Args:
            datastore: over the view.
        """
        with self._looking:
            drawn_on = datastore.drawn_on()
            if drawn_on != self._drawn_on or self._originals.may_have_changed() or self._others():
                with self._originals.walk():
                    link_radiographs(self._studies, self._view, drawn_on, self._refused, self._work)
                self._drawn_on = drawn_on
                self._links.forget()  # a file that is away leaves its link
            if self._links.may_have_changed():
                with self._links.walk():
                    datastore.refresh()

    def _others(self) -> bool:
        """Whether a file that was no radiograph is another one now; it may have been on its way."""
        return any(_mark(path) != (mtime, size) for path, (mtime, size, _) in self._refused.items())


class _Tree:
    """The times of a tree's folders, hidden ones left out."""

    def __init__(self, root: Path, without: Path | None = None) -> None:
        self._root, self._without = root, without
        self._times: dict[str, tuple[int, ...]] = {}
        self._until = 0.0

    def may_have_changed(self) -> bool:
        """Whether it must be walked again."""
        return time.monotonic() >= self._until or any(_time(folder) != seen for folder, seen in self._times.items())

    @contextmanager
    def walk(self) -> Iterator[None]:
        """For the time of a walk, which counts if it ends well; what changes meanwhile is seen the next time."""
        self.forget()
        began, now = time.monotonic(), time.time_ns()
        times = {}
        for place, folders, _ in os.walk(self._root):
            folders[:] = [each for each in folders if not each.startswith(".") and Path(place, each) != self._without]
            times[place] = _time(place)
        yield
        settled = bool(times) and all(time_ns < now - _COARSE for time_ns, *_ in times.values())
        self._times, self._until = times, began + AGAIN if settled else 0.0

    def forget(self) -> None:
        """Have it walked the next time."""
        self._until = 0.0


def _time(folder: str) -> tuple[int, ...]:
    """And which folder it is: another share may be mounted in its place."""
    try:
        status = Path(folder).stat()
    except FileNotFoundError:
        return (0,)
    return status.st_mtime_ns, status.st_ino, status.st_dev


def _mark(file: str) -> tuple[int, int]:
    try:
        status = Path(file).stat()
    except FileNotFoundError:
        return 0, -1
    return status.st_mtime_ns, status.st_size
