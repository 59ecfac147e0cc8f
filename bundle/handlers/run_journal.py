"""What a tracked run has to say, in a file until MLflow has it."""

import fcntl
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bundle.atomic import atomic_path

logger = logging.getLogger(__name__)

PATTERN = "mlflow_waiting_*.jsonl"
LIMIT = 64 * 2**20  # bytes of a file: more than a million metrics

Entry = dict[str, Any]


class Journal:
    """Entries of a run that MLflow has not taken yet, one JSON a line, below a line that says which run.

    The file is locked while its process lives; `left_behind` finds those of processes that do not. Each line is written
    at once; the last may be cut short by a kill, and is then not read.

    Args:
        folder: made if missing.
        head: says which run.
    """

    def __init__(self, folder: Path, head: Entry) -> None:
        self.path = folder / f"mlflow_waiting_{time.time_ns()}_{secrets.token_hex(3)}.jsonl"
        # under its name only when it is locked and says of whom it is
        with atomic_path(self.path) as temporary:
            self._file = temporary.open("xb")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._file.write(_line(head))
            self._file.flush()
        self._head = self._size = self._file.tell()

    def add(self, entry: Entry) -> bool:
        """Write an entry, unless the file would grow beyond `LIMIT`; returns whether it was.

        Raises:
            OSError: it cannot be written; the file is as it was, or ends with a line cut short.
        """
        line = _line(entry)
        if self._size + len(line) > LIMIT:
            return False
        self._file.seek(self._size)
        self._file.write(line)
        self._file.flush()
        self._size += len(line)
        return True

    def clear(self) -> None:
        """MLflow has all that was added."""
        self._file.truncate(self._head)
        self._size = self._head

    def remove(self) -> None:
        """Remove the file; the journal is closed."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave the file to whoever sends it later."""
        self._file.close()


@dataclass(frozen=True)
class Left:
    """What a process left behind: the run, and entries that MLflow may not have."""

    path: Path
    head: Entry
    entries: list[Entry]

    def remove(self) -> None:
        """MLflow has them."""
        self.path.unlink(missing_ok=True)


def left_behind(folder: Path) -> Iterator[Left]:
    """The journals in a folder whose process is gone, oldest first; each is locked until the next is asked for.

    A file that is damaged is said, and left alone.
    """
    for path in sorted(folder.glob(PATTERN)):
        with _locked(path) as file:
            if file is not None:
                # a last line without an end was cut short
                lines = file.read().split(b"\n")[:-1]
                try:
                    head, *entries = map(json.loads, lines)
                except ValueError as error:
                    logger.warning(
                        f"{path}, which waits for MLflow, is damaged ({error}), and not sent. Mend it, or remove it; "
                        "what it holds is lost then."
                    )
                    continue
                yield Left(path, head, entries)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO | None]:
    """A file to read; None where its process lives, or someone else is sending it, or has just sent it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file if os.fstat(file.fileno()).st_nlink else None


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
