"""The node's queue, on disk: a rename takes an object from one state to the next, so that a kill loses none."""

import fcntl
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

from bundle.atomic import write_json

STATES = ("incoming", "results", "done", "refused")


class QueueFullError(RuntimeError):
    """There is no room for another object: whoever offers it must keep it and come again."""


class QueueInUseError(RuntimeError):
    """Another process works in the queue's folder."""


class DiskQueue:
    """Objects by key, the hash of their SOP Instance UID, so that no folder name tells a patient or a study.

    `incoming/<key>.dcm` waits for the network; `results/<key>/` waits for the PACS; `done/<key>` is an empty mark by
    which a duplicate is known; `refused/<key>.json` says why an object could not be looked at, or its results not be
    delivered, and lies beside the object or the folder of results. Every state is reached by a rename of something
    complete, and the state before is removed afterwards: after a kill in between, the later state holds. What is not
    complete lies in `work/`, which is emptied at the start.

    One process works in a queue, with as many threads as it likes.

    Args:
        folder: of the queue, made if missing, for its owner alone.
        capacity: how many objects may wait (incoming and results) or lie refused; beyond it `put` refuses.
        remember: how many marks of done objects are kept; a duplicate of an older one is looked at again.

    Raises:
        ValueError: a capacity or memory below 1.
        QueueInUseError: another process has the folder.
    """

    def __init__(self, folder: str | os.PathLike[str], capacity: int = 1000, remember: int = 100_000) -> None:
        if capacity < 1 or remember < 1:
            raise ValueError(f"DiskQueue: capacity and remember must be at least 1, got {capacity} and {remember}")
        self.folder, self.capacity, self.remember = Path(folder).absolute(), capacity, remember
        self.incoming, self.results, self.done, self.refused = (self.folder / state for state in STATES)
        self.work = self.folder / "work"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._owned = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)  # held until close, or the end
        try:
            fcntl.flock(self._owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._owned)
            raise QueueInUseError(f"{self.folder}: another node works in this queue; give each one its own") from error
        shutil.rmtree(self.work, ignore_errors=True)
        for path in (self.incoming, self.results, self.done, self.refused, self.work):
            path.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._settle()

    def close(self) -> None:
        """Leave the folder to another process."""
        os.close(self._owned)

    @staticmethod
    def key(uid: str) -> str:
        """The key of a SOP Instance UID: 32 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(uid.encode()).hexdigest()[:32]

    def knows(self, key: str) -> bool:
        """Whether the object waits or is done; a refused one may be offered again."""
        return (self.incoming / f"{key}.dcm").exists() or (self.results / key).exists() or (self.done / key).exists()

    def put(self, key: str, file: Path) -> bool:
        """Take an object in; on return it is on the disk itself.

        Args:
            key: of the object.
            file: a complete DICOM file, which is copied.

        Returns:
            False for a duplicate, which changes nothing.

        Raises:
            QueueFullError: there is no room.
            OSError: the disk has none.
        """
        temporary = self.work / uuid.uuid4().hex
        try:
            shutil.copyfile(file, temporary)
            _sync(temporary)
            with self._lock:
                if self.knows(key):
                    return False
                refused = self._refused()  # the marks of what is done are many, and take no room
                if (lying := _entries(self.incoming) + _entries(self.results) + refused) >= self.capacity:
                    of_them = f", {refused} of them refused" if refused else ""
                    raise QueueFullError(f"{lying} objects lie here{of_them}; the queue takes {self.capacity}")
                temporary.rename(self.incoming / f"{key}.dcm")
                self._forget_refused(key)
            _sync(self.incoming)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def next_incoming(self) -> Path | None:
        """The object that has waited longest for the network."""
        return _oldest(self.incoming)

    def finish(self, key: str, files: Sequence[Path]) -> None:
        """Results are there: they wait for the PACS from now on, copied. Without any file the object is done."""
        temporary = self.work / uuid.uuid4().hex
        try:
            temporary.mkdir()
            for file in files:
                _sync(shutil.copyfile(file, temporary / file.name))
            _sync(temporary)
            with self._lock:
                if not files:
                    self._mark_done(key)
                elif not (self.results / key).exists():
                    temporary.rename(self.results / key)
                    _sync(self.results)
                (self.incoming / f"{key}.dcm").unlink(missing_ok=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def next_results(self, passed_over: Sequence[str] = ()) -> Path | None:
        """The folder of results that has waited longest for the PACS, but for some keys."""
        return _oldest(self.results, passed_over)

    def deliver(self, key: str) -> None:
        """The PACS has the results: only the mark is kept."""
        with self._lock:
            self._mark_done(key)
            shutil.rmtree(self.results / key)

    def refuse(self, key: str, reason: str) -> None:
        """The object, or the results, can't go on: keep what there is, and say why.

        Args:
            key: of the object.
            reason: without anything that identifies a patient.
        """
        with self._lock:
            self._forget_refused(key)
            for path in (self.incoming / f"{key}.dcm", self.results / key):
                if path.exists():
                    path.rename(self.refused / path.name)
            write_json(self.refused / f"{key}.json", {"reason": reason})

    def counts(self) -> dict[str, int]:
        """How many objects are in each state."""
        return {state: _entries(self.folder / state) for state in STATES} | {"refused": self._refused()}

    def _mark_done(self, key: str) -> None:
        """On return the mark is on the disk itself; the oldest go, so that not more stay than are remembered."""
        (self.done / key).touch()
        _sync(self.done)
        for _ in range(_entries(self.done) - self.remember):
            min(self.done.iterdir(), key=lambda path: path.stat().st_mtime_ns).unlink()

    def _refused(self) -> int:
        return sum(1 for _ in self.refused.glob("[!.]*.json"))

    def _settle(self) -> None:
        """What a kill between two steps has left."""
        for path in self.refused.iterdir():
            if path.name.startswith("."):
                path.unlink()
            elif path.suffix != ".json" and not (self.refused / f"{path.stem}.json").exists():  # without a reason yet
                path.rename((self.incoming if path.suffix else self.results) / path.name)
        for path in self.incoming.glob("*.dcm"):
            if (self.results / path.stem).exists() or (self.done / path.stem).exists():
                path.unlink()
        for path in self.results.iterdir():
            if (self.done / path.name).exists():
                shutil.rmtree(path)

    def _forget_refused(self, key: str) -> None:
        for name in (f"{key}.dcm", f"{key}.json"):
            (self.refused / name).unlink(missing_ok=True)
        shutil.rmtree(self.refused / key, ignore_errors=True)


def _oldest(folder: Path, passed_over: Sequence[str] = ()) -> Path | None:
    waiting = [path for path in folder.iterdir() if path.stem not in passed_over]
    return min(waiting, key=lambda path: path.stat().st_mtime_ns, default=None)


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _sync(path: str | os.PathLike[str]) -> None:
    """Wait until the file or folder is on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
