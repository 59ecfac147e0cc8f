"""The server's work folder: one server at a time, and nothing in it for others to read."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"
_OURS = ("app", "archive", "sessions", "studies", "training", "uploads", "passed_over.json")


class FolderInUseError(RuntimeError):
    """Another server works in the folder; the message says which, and what to do."""


@contextmanager
def work_folder(work: Path, address: str) -> Iterator[None]:
    """Have a folder to oneself; what is written meanwhile, also by processes that are started, is for its owner alone.

    What an earlier release left readable for others is closed too. The folder's own mode stays if it was there before:
    it may be one that others need.

    Args:
        work: the folder, made if missing.
        address: where this server listens, for the message to the next one.

    Raises:
        FolderInUseError: another server has it.
        OSError: the folder cannot be made, or its disk has no locks.
    """
    work.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        work.mkdir(exist_ok=True)
        held = os.open(work / LOCK, os.O_RDWR | os.O_CREAT, 0o600)  # goes with this process, whatever ends it
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                who = os.read(held, 1000).decode("utf-8", "replace").strip() or "another process"
                raise FolderInUseError(
                    f"{work} is in use by a server ({who}). Use that one, or stop it, or give this one a folder of its "
                    "own with --work."
                ) from error
            os.ftruncate(held, 0)
            os.write(held, f"process {os.getpid()}, {address}\n".encode())
            _close_to_others(work)
            yield
        finally:
            os.close(held)
    finally:
        os.umask(before)


def _close_to_others(work: Path) -> None:
    """Of what the server wrote; links are left, and what they lead to."""
    for name in _OURS:
        _own_mode(work / name)
        for place, folders, files in os.walk(work / name):
            for each in (*folders, *files):
                _own_mode(Path(place, each))


def _own_mode(path: Path) -> None:
    if not path.is_symlink() and path.exists() and path.stat().st_mode & 0o077:
        path.chmod(0o700 if path.is_dir() else 0o600)
