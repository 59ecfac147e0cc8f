"""The node's queue, on disk: a rename takes an object from one state to the next, so that a kill loses none."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bundle.atomic import write_json

STATES = ("incoming", "results", "done", "refused")


class QueueFullError(RuntimeError):
    """There is no room for another object: whoever offers it must keep it and come again."""


class DiskQueue:
    """Objects by key, the hash of their SOP Instance UID, so that no folder name tells a patient or a study.

    `incoming/<key>.dcm` waits for the network; `results/<key>/` waits for the PACS; `done/<key>` is an empty mark by
    which a duplicate is known; `refused/<key>.json` says why an object could not be looked at, or its results not be
    delivered, and lies beside the object or the folder of results. Every state is reached by a rename of something
    complete, and the state before is removed afterwards: after a kill in between, the later state holds.

    Args:
        folder: of the queue, made if missing; one node at a time works in it.
        capacity: how many objects may wait (incoming and results) or lie refused; beyond it `put` refuses.
        remember: how many marks of done objects are kept; a duplicate of an older one is looked at again.

    Raises:
        ValueError: a capacity or memory below 1.
    """

    def __init__(self, folder: str | os.PathLike[str], capacity: int = 1000, remember: int = 100_000) -> None:
        if capacity < 1 or remember < 1:
            raise ValueError(f"DiskQueue: capacity and remember must be at least 1, got {capacity} and {remember}")
        self.folder, self.capacity, self.remember = Path(folder), capacity, remember
        self.incoming, self.results, self.done, self.refused = (self.folder / state for state in STATES)
        for path in (self.incoming, self.results, self.done, self.refused):
            path.mkdir(parents=True, exist_ok=True)
            for left in path.glob(".*"):  # half-written when a process was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        for path in self.refused.iterdir():
            if path.suffix != ".json" and not (self.refused / f"{path.stem}.json").exists():  # refused without a reason
                path.rename((self.incoming if path.suffix else self.results) / path.name)
        for path in self.incoming.glob("*.dcm"):
            if (self.results / path.stem).exists() or (self.done / path.stem).exists():
                path.unlink()
        for path in self.results.iterdir():
            if (self.done / path.name).exists():
                shutil.rmtree(path)

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
        """
        if self.knows(key):
            return False
        waiting = sum(count for state, count in self.counts().items() if state != "done")
        if waiting >= self.capacity:
            raise QueueFullError(f"{waiting} objects wait; the queue takes {self.capacity}")
        temporary = self.incoming / f".{key}.{os.getpid()}.{id(file)}"
        shutil.copyfile(file, temporary)
        _sync(temporary)
        temporary.rename(self.incoming / f"{key}.dcm")
        _sync(self.incoming)
        self._forget_refused(key)
        return True

    def next_incoming(self) -> Path | None:
        """The object that has waited longest for the network."""
        return min(self.incoming.glob("*.dcm"), key=lambda path: path.stat().st_mtime_ns, default=None)

    def finish(self, key: str, files: Sequence[Path]) -> None:
        """Results are there: they wait for the PACS from now on. The files are copied."""
        temporary = self.results / f".{key}"
        temporary.mkdir()
        for file in files:
            _sync(shutil.copyfile(file, temporary / file.name))
        _sync(temporary)
        temporary.rename(self.results / key)
        _sync(self.results)
        (self.incoming / f"{key}.dcm").unlink(missing_ok=True)

    def next_results(self) -> Path | None:
        """The folder of results that has waited longest for the PACS."""
        ready = (path for path in self.results.iterdir() if not path.name.startswith("."))
        return min(ready, key=lambda path: path.stat().st_mtime_ns, default=None)

    def deliver(self, key: str) -> None:
        """The PACS has the results: only the mark is kept."""
        (self.done / key).touch()
        _sync(self.done)
        shutil.rmtree(self.results / key)
        marks = sorted(self.done.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for mark in marks[: len(marks) - self.remember]:
            mark.unlink()

    def refuse(self, key: str, reason: str) -> None:
        """The object, or the results, can't go on: keep what there is, and say why.

        Args:
            key: of the object.
            reason: without anything that identifies a patient.
        """
        self._forget_refused(key)
        waiting, results = self.incoming / f"{key}.dcm", self.results / key
        for path in (waiting, results):
            if path.exists():
                path.rename(self.refused / path.name)
        write_json(self.refused / f"{key}.json", {"reason": reason})

    def counts(self) -> dict[str, int]:
        """How many objects are in each state."""
        sizes = {state: sum(1 for path in (self.folder / state).iterdir() if path.name[0] != ".") for state in STATES}
        return sizes | {"refused": sum(1 for _ in self.refused.glob("*.json"))}

    def _forget_refused(self, key: str) -> None:
        for name in (f"{key}.dcm", f"{key}.json"):
            (self.refused / name).unlink(missing_ok=True)
        shutil.rmtree(self.refused / key, ignore_errors=True)


def _sync(path: str | os.PathLike[str]) -> None:
    """Wait until the file or folder is on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
