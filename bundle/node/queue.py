"""The node's queue, on disk: files hold the objects, a ledger says where each of them is, so that a kill loses none."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from bundle.node.ledger import NAME, Entry, Ledger, LedgerError, Load
from bundle.node.settle import settle
from bundle.node.stored import content_hash, remove_results, sync


class QueueFullError(RuntimeError):
    """There is no room for another object: whoever offers it must keep it and come again."""


class QueueInUseError(RuntimeError):
    """Another process works in the queue's folder."""


class OtherContentError(RuntimeError):
    """The SOP Instance UID is known, with other content."""


class DiskQueue:
    """Objects by key, the hash of their SOP Instance UID, so that no folder name tells a patient or a study.

    `incoming/<key>.dcm` is a radiograph, `results/<key>/` what the network made of it; `queue.db` says which of them
    wait for the network (incoming) or the PACS (results), which are put aside (refused), and of which only the hash of
    the content is left (done). A file is complete before the ledger names it, and goes after the ledger has let it go:
    after a kill in between the next start finds out which. What is not complete lies in `work/`, which every start
    empties. Files of others in these folders are left alone.

    One process works in a queue, with as many threads as it likes.

    Args:
        folder: of the queue, made if missing, for its owner alone. That of an older release is taken over.
        capacity: how many objects may wait (incoming and results) or lie refused; beyond it `put` refuses.
        max_bytes: how many bytes they may have together.
        min_free: bytes of the disk that stay free.
        remember: how many done objects are known by their mark; an older one that comes again is looked at again.
        remember_days: and for how long.

    Raises:
        ValueError: a limit below 1, or below 0 for `min_free`.
        QueueInUseError: another process has the folder.
        LedgerError: the database is damaged, or of a later release.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        capacity: int = 1000,
        max_bytes: int = 50_000_000_000,
        min_free: int = 1_000_000_000,
        remember: int = 100_000,
        remember_days: float = 90.0,
    ) -> None:
        if min(capacity, max_bytes, remember) < 1 or min_free < 0 or remember_days <= 0:
            raise ValueError(
                "DiskQueue: capacity, max_bytes, remember must be at least 1, min_free 0 and remember_days above 0, "
                f"got {capacity}, {max_bytes}, {remember}, {min_free} and {remember_days}"
            )
        self.folder, self.capacity, self.remember = Path(folder).absolute(), capacity, remember
        self.max_bytes, self.min_free, self.remember_days = max_bytes, min_free, remember_days
        self.incoming, self.results, self.work = (self.folder / name for name in ("incoming", "results", "work"))
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._owned = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)  # held until close, or the end
        try:
            fcntl.flock(self._owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._owned)
            raise QueueInUseError(f"{self.folder}: another node works in this queue; give each one its own") from error
        shutil.rmtree(self.work, ignore_errors=True)
        for path in (self.incoming, self.results, self.work):
            path.mkdir(exist_ok=True)
        try:
            self.ledger = Ledger(self.folder / NAME)
        except LedgerError:
            os.close(self._owned)
            raise
        settle(self.folder, self.ledger)

    def close(self) -> None:
        """Leave the folder to another process."""
        self.ledger.close()
        os.close(self._owned)

    @staticmethod
    def key(uid: str) -> str:
        """The key of a SOP Instance UID: 32 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(uid.encode()).hexdigest()[:32]

    def knows(self, key: str, file: Path) -> bool:
        """Whether the object waits or is done; a refused one may be offered again.

        Raises:
            OtherContentError: an object of this key has, or had, other content than the file.
        """
        known = self.ledger.find(key)
        return known is not None and _same(known, content_hash(file))

    def room(self) -> tuple[int, str]:
        """How many bytes the next object may have, 0 and below for none, and the limit that says so."""
        lying = self.ledger.loads(marks=False)
        objects, size = (sum(getattr(load, what) for load in lying.values()) for what in ("objects", "bytes"))
        if objects >= self.capacity:
            of_them = f", {refused} of them refused" if (refused := lying["refused"].objects) else ""
            return 0, f"{objects} objects lie here{of_them}; the queue takes {self.capacity}"
        free = shutil.disk_usage(self.folder).free
        return min(
            (self.max_bytes - size, f"{size} bytes lie here; the queue takes {self.max_bytes}"),
            (free - self.min_free, f"{free} bytes free on the disk; the queue leaves {self.min_free}"),
        )

    def put(self, key: str, file: Path) -> bool:
        """Take an object in; on return it is on the disk itself.

        Args:
            key: of the object.
            file: a complete DICOM file, which is copied.

        Returns:
            False for a duplicate, which changes nothing.

        Raises:
            QueueFullError: there is no room.
            OtherContentError: an object of this key has other content.
            OSError, sqlite3.OperationalError: the disk has no room, or fails.
        """
        temporary = self.work / uuid.uuid4().hex
        try:
            shutil.copyfile(file, temporary)
            sync(temporary)
            digest, size = content_hash(temporary), temporary.stat().st_size
            with self.ledger.change():
                before = self.ledger.find(key)
                if before is not None and _same(before, digest):
                    return False
                bytes_left, limit = self.room()
                if bytes_left < size:
                    raise QueueFullError(limit)
                temporary.rename(self.incoming / f"{key}.dcm")
                sync(self.incoming)
                self.ledger.add(Entry(key, "incoming", "incoming", digest, size))
            if before is not None and before.stage == "results":  # it was refused with its results
                remove_results(self.results / key, before.files)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def next_incoming(self) -> Entry | None:
        """The object that has waited longest for the network, of those that are due."""
        return self.ledger.next("incoming")

    def next_results(self) -> Entry | None:
        """The object whose results have waited longest for the PACS, of those that are due."""
        return self.ledger.next("results")

    def file(self, key: str) -> Path:
        """Where an incoming object lies."""
        return self.incoming / f"{key}.dcm"

    def finish(self, key: str, files: Sequence[Path]) -> None:
        """Results are there: they wait for the PACS from now on, copied. Without any file the object is done."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            copies = [Path(shutil.copyfile(file, Path(folder) / file.name)) for file in files]
            for copy in copies:
                sync(copy)
            size = sum(copy.stat().st_size for copy in copies)
            if copies:
                (self.results / key).mkdir(exist_ok=True)  # of a kill, or of a folder that holds a file of others
                for copy in copies:
                    copy.replace(self.results / key / copy.name)
                sync(self.results / key)
                sync(self.results)
        if files:
            self.ledger.results(key, [file.name for file in files], size)
        else:
            self._done(key)
        self.file(key).unlink(missing_ok=True)

    def deliver(self, key: str) -> None:
        """The PACS has the results: only the mark is kept."""
        entry = self.ledger.find(key)
        self._done(key)
        if entry is not None:
            remove_results(self.results / key, entry.files)

    def refuse(self, key: str, reason: str) -> None:
        """The object, or the results, can't go on: keep what there is, and say why.

        Args:
            key: of the object.
            reason: without anything that identifies a patient.
        """
        self.ledger.refuse(key, reason)

    def counts(self) -> dict[str, int]:
        """How many objects are in each state."""
        return {state: load.objects for state, load in self.loads().items()}

    def loads(self) -> dict[str, Load]:
        """What lies in each state."""
        return self.ledger.loads()

    def _done(self, key: str) -> None:
        self.ledger.done(key, self.remember, self.remember_days * 86_400)


def _same(known: Entry, digest: str) -> bool:
    """Whether what is known of an object makes one of this content its duplicate."""
    if known.digest != digest:
        raise OtherContentError("an object of this SOP Instance UID with other content was taken in before")
    return known.state != "refused"
