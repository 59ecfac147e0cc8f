"""What the queue knows of each of its objects, in SQLite: state, tries, content, bytes, reason."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

STATES = ("incoming", "results", "done", "refused")
NAME = "queue.db"
_VERSION = 1
_BUSY = 10.0  # seconds to wait for another process, such as one that puts objects back
_FORGOTTEN_AT_ONCE = 100  # marks a delivery: more go with the next ones, so that none takes long
_SCHEMA = """
CREATE TABLE objects (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('incoming', 'results', 'refused')),
    stage TEXT NOT NULL CHECK (stage IN ('incoming', 'results')),  -- what lies on the disk; a refused one goes on there
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    files TEXT NOT NULL DEFAULT '[]',
    tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    taken REAL NOT NULL,
    reason TEXT
);
CREATE INDEX objects_state ON objects (state, number);
CREATE TABLE marks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    done REAL NOT NULL
);
CREATE INDEX marks_done ON marks (done);
"""
# Each is a search in an index, however many marks there are.
_FORGET = (
    "DELETE FROM marks WHERE number IN (SELECT number FROM marks "
    "WHERE number <= (SELECT max(number) FROM marks) - :remember ORDER BY number LIMIT :at_once)",
    "DELETE FROM marks WHERE number IN (SELECT number FROM marks WHERE done < :oldest ORDER BY done LIMIT :at_once)",
)


class LedgerError(RuntimeError):
    """The database is not there, or is of another version."""


@dataclass(frozen=True)
class Entry:
    """One object: where it is (`state`), what lies on the disk (`stage`), and what is known of it.

    `files` names its results; `digest` is empty where the content is not known; `taken` is when it came.
    """

    key: str
    state: str
    stage: str
    digest: str
    bytes: int = 0
    files: tuple[str, ...] = ()
    tries: int = 0
    taken: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Load:
    """How many objects of a state, their bytes, and the seconds since the oldest came."""

    objects: int = 0
    bytes: int = 0
    oldest: float = 0.0


class Ledger:
    """The table of the objects that wait or were refused, and the marks of those that are done.

    Safe for threads, and for processes beside one another; what is committed outlives a kill and a power cut.

    Args:
        path: of the database.
        make: whether to make one that is missing.

    Raises:
        LedgerError: it is missing, damaged, or of another version.
    """

    def __init__(self, path: Path, make: bool = True) -> None:
        if not make and not path.is_file():
            raise LedgerError(f"{path} is missing: give the folder of a queue (--queue) in which a node has worked")
        self._lock, self._depth = threading.RLock(), 0
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self.change():
                version = self._version()
        except sqlite3.DatabaseError as error:
            raise LedgerError(
                f"{path} can't be used ({error}). If it is damaged, move it and what begins with its name away: the "
                "next start takes up every object that lies in the folder, also what was put aside"
            ) from error
        if version != _VERSION:
            raise LedgerError(f"{path} has version {version}, wanted {_VERSION}: run the release that made it")

    def close(self) -> None:
        """Leave the database."""
        with self._lock:
            self._db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """What is done inside is done whole or not at all, and by no other thread or process at the time."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._db.execute("COMMIT")
            except BaseException:
                if self._depth == 1 and self._db.in_transaction:  # some errors of the disk end it by themselves
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def find(self, key: str) -> Entry | None:
        """The object of a key; of one that is done only state and digest are known."""
        found = self._entries("WHERE key = ?", key)
        if found:
            return found[0]
        mark = self._rows("SELECT digest FROM marks WHERE key = ?", key)
        return Entry(key, "done", "done", mark[0][0]) if mark else None

    def next(self, state: str) -> Entry | None:
        """The one that came first, of those of a state that are due."""
        found = self._entries("WHERE state = ? AND due <= ? ORDER BY number LIMIT 1", state, time.time())
        return found[0] if found else None

    def add(self, entry: Entry) -> None:
        """Write an object down, in place of what is known of its key."""
        with self.change():
            self._db.execute("DELETE FROM objects WHERE key = ?", (entry.key,))
            self._db.execute(
                "INSERT INTO objects (key, state, stage, digest, bytes, files, taken, reason) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(entry.key, entry.state, entry.stage, entry.digest, entry.bytes),
                    *(json.dumps(entry.files), time.time(), entry.reason),
                ),
            )

    def wait(self, key: str, pause: float, tries: int) -> None:
        """The next try of an object comes after a pause in seconds; as many were before it."""
        self._set(key, "tries = ?, due = ?", tries, time.time() + pause)

    def results(self, key: str, files: Sequence[str], size: int) -> None:
        """The results are on the disk, and wait for the PACS."""
        values = json.dumps(files), size
        self._set(key, "state = 'results', stage = 'results', files = ?, bytes = ?, tries = 0, due = 0", *values)

    def refuse(self, key: str, reason: str) -> None:
        """The object can't go on."""
        self._set(key, "state = 'refused', reason = ?", reason)

    def done(self, key: str, remember: int, seconds: float) -> int:
        """The object is done; only a mark is kept of it, and old marks go.

        Args:
            key: of the object.
            remember: how many marks are kept.
            seconds: for how long.

        Returns:
            How many marks went.
        """
        with self.change():
            self._db.execute(
                "INSERT INTO marks (key, digest, done) SELECT key, digest, ? FROM objects "
                "WHERE key = ? AND digest != ''",
                (time.time(), key),
            )
            self._db.execute("DELETE FROM objects WHERE key = ?", (key,))
            limits = {"remember": remember, "oldest": time.time() - seconds, "at_once": _FORGOTTEN_AT_ONCE}
            return sum(self._db.execute(statement, limits).rowcount for statement in _FORGET)

    def refused(self) -> list[Entry]:
        """What was put aside, the oldest first."""
        return self._entries("WHERE state = 'refused' ORDER BY number")

    def requeue(self, key: str | None = None) -> int:
        """Put one refused object, or all, back to where it was refused; returns how many."""
        with self.change():
            return self._db.execute(
                "UPDATE objects SET state = stage, tries = 0, due = 0, reason = NULL "
                "WHERE state = 'refused' AND (?1 IS NULL OR key = ?1)",
                (key,),
            ).rowcount

    def drop(self, key: str) -> None:
        """Forget a refused object."""
        with self.change():
            self._db.execute("DELETE FROM objects WHERE state = 'refused' AND key = ?", (key,))

    def waiting(self) -> list[Entry]:
        """Every object that is to go on."""
        return self._entries("WHERE state IN ('incoming', 'results') ORDER BY number")

    def loads(self, marks: bool = True) -> dict[str, Load]:
        """What lies in each state; of what is done, if wanted, the number alone."""
        now = time.time()
        found = {
            state: Load(objects, size, max(0.0, now - oldest))
            for state, objects, size, oldest in self._rows(
                "SELECT state, count(*), sum(bytes), min(taken) FROM objects GROUP BY state"
            )
        }
        done = Load(self._rows("SELECT count(*) FROM marks")[0][0]) if marks else Load()
        return {state: done if state == "done" else found.get(state, Load()) for state in STATES}

    def _version(self) -> int:
        """Of the database's tables, which are made where there is none."""
        version: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version:
            return version
        for statement in _SCHEMA.split(";\n"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {_VERSION}")
        return _VERSION

    def _set(self, key: str, what: str, *values: object) -> None:
        with self.change():
            self._db.execute(f"UPDATE objects SET {what} WHERE key = ?", (*values, key))

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _entries(self, which: str, *values: object) -> list[Entry]:
        names = [field.name for field in fields(Entry)]
        rows = self._rows(f"SELECT {', '.join(names)} FROM objects {which}", *values)
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [Entry(**(entry | {"files": tuple(json.loads(entry["files"]))})) for entry in found]
