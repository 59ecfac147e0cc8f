"""Files that come and go with a request: each has a folder of its own, removed when the answer has been sent."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any

_MADE: ContextVar[list[Path]] = ContextVar("made")


@contextmanager
def folders_removed() -> Iterator[None]:
    """At the end of the block, of one request, remove the folders that were made for it; after an error too."""
    made: list[Path] = []
    token = _MADE.set(made)
    try:
        yield
    finally:
        _MADE.reset(token)
        for folder in made:
            shutil.rmtree(folder)


def in_own_folder(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with `tempfile` led to a new folder, which `folders_removed` around the request removes.

    MONAI Label calls what answers a request in the server's one thread, and a plain function gives that thread to no
    other request before it returns: so all files in the folder are this request's.
    """

    @wraps(function)
    def within(*arguments: Any, **named: Any) -> Any:
        before = tempfile.tempdir
        folder = tempfile.mkdtemp(dir=before)
        _MADE.get().append(Path(folder))
        tempfile.tempdir = folder
        try:
            return function(*arguments, **named)
        finally:
            tempfile.tempdir = before

    return within


def give_folders() -> None:
    """Let MONAI Label's functions that write uploads or results do so in a folder of the request."""
    from monailabel.endpoints import activelearning, datastore, infer, session

    for module, name in (
        (infer, "run_inference"),
        (datastore, "add_image"),
        (datastore, "save_label"),
        (session, "create_session"),
        (activelearning, "sample"),
    ):
        setattr(module, name, in_own_folder(getattr(module, name)))
