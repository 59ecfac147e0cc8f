"""Files that are there whole or not at all."""

import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to it when the block ends well, removed when it does not.

    The temporary name starts with a dot and keeps the suffixes, because image libraries choose the format by them. The
    file gets the permissions that any new file gets (`tempfile` would make it unreadable to colleagues).

    Args:
        path: the file to make or replace. Its folder is made if missing.

    Yields:
        The path to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files beside `path` of processes that were killed while they wrote it.

    Only for who knows that nobody else is writing it.
    """
    path = Path(path)
    for file in path.parent.glob(f".{'[0-9a-f]' * 12}.{glob.escape(path.name)}"):
        file.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; renamed to it when the block ends well, removed when it does not.

    Args:
        path: the folder to make. An empty one may be there.

    Yields:
        The folder to write to.

    Raises:
        FileExistsError: there is something at `path` already.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} is there already; give another place, or remove it first.")
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write bytes, or text as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON atomically.

    Raises:
        ValueError: the content holds NaN or infinity, which JSON does not know.
    """
    write_file(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
