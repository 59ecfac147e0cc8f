"""No test touches what runs left in the checkout, eval/, models/ and data/: it would depend on it, or spoil it.

An audit hook refuses what this process, and any forked from it, would open, list, make, move or remove there, and to
work in the checkout, where relative paths lead there. Other processes have no such hook: an interpreter or shell may
not be started in the checkout, nor be told to work there, and after a test that started a process the folders must
hold what they held.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PRODUCTS = ("eval", "models", "data")
# audit events of the interpreter and how many of their first arguments are paths
PATHS = {
    **dict.fromkeys(("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rmdir", "os.chdir"), 1),
    **dict.fromkeys(("os.truncate", "os.chmod", "os.utime", "sqlite3.connect"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
}
INTERPRETERS = ("python", "bash", "sh")


class TouchedError(Exception):
    """A test touches the checkout's products."""


class Checkout:
    """Watches the products of one checkout.

    Args:
        root: of the checkout.

    Attributes:
        started: whether a process was started since the last `told`.
        asleep: whether it looks away, for its own looks and when the tests are over.
    """

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.folders = tuple(f"{root}{os.sep}{name}" for name in PRODUCTS)
        self._told, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # by forked processes too
        self.started = False
        self.asleep = False
        self.held = self._holds()

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """For `sys.addaudithook`.

        Raises:
            TouchedError: what is about to happen must not.
        """
        if self.asleep:
            return
        if event in PATHS:
            for path in args[: PATHS[event]]:
                if isinstance(path, str | bytes | os.PathLike) and self._within(event, _absolute(path)):
                    self._refuse(f"{event} of {os.fsdecode(path)}")
        elif event == "subprocess.Popen":
            self.started = True
            self._look_at(*args[:3])

    def told(self) -> str:
        """What was touched since the last call, in words; empty where nothing was."""
        found: list[str] = []
        with contextlib.suppress(BlockingIOError):  # nothing more
            while True:
                found += os.read(self._told, 1 << 16).decode().splitlines()
        if self.started:
            self.started = False
            held, before = self._holds(), self.held
            self.held = held
            changed = sorted(path for path in held.keys() | before.keys() if held.get(path) != before.get(path))
            found = found + [f"{path} was changed by another process" for path in changed[:10]]
        return "; ".join(found)

    def _look_at(self, executable: Any, arguments: Any, cwd: Any) -> None:
        words = [os.fsdecode(word) for word in arguments if isinstance(word, str | bytes | os.PathLike)]
        for word in words:
            if any(folder in word for folder in self.folders) or word.rpartition("=")[2] == self.root:
                self._refuse(f"a process that is told to work in the checkout: {' '.join(words)}")
        name = Path(os.fsdecode(executable)).name if executable else ""
        if name.startswith(INTERPRETERS) and _absolute(cwd or os.curdir) == self.root:
            self._refuse(f"a process that starts in the checkout, give it another cwd: {' '.join(words)}")

    def _within(self, event: str, path: str) -> bool:
        if event == "os.chdir" and path == self.root:
            return str(Path.cwd()) != self.root  # pytest itself stays there, where it was told a file that there is not
        return path.startswith(self.folders) and any(f"{path}{os.sep}".startswith(f + os.sep) for f in self.folders)

    def _refuse(self, what: str) -> None:
        with contextlib.suppress(BlockingIOError):  # more than anybody reads
            os.write(self._tell, f"{what}\n".encode())
        raise TouchedError(f"No test may touch {', '.join(PRODUCTS)} of the checkout {self.root}: {what}")

    def _holds(self) -> dict[str, tuple[int, int]]:
        """Path of everything in the folders -> its size and time of change."""
        self.asleep = True
        try:
            return dict(stamp for folder in self.folders for stamp in _stamps(folder))
        finally:
            self.asleep = False


def _absolute(path: Any) -> str:
    """Without looking at the disk: the hook is called for every file that is opened."""
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100


def _stamps(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """A folder, where it is there, and all that is in it."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield folder, (0, 0)
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _stamps(entry.path)
            else:
                stamp = entry.stat(follow_symlinks=False)
                yield entry.path, (stamp.st_size, stamp.st_mtime_ns)


def watch(root: Path = ROOT) -> Checkout:
    """Watch a checkout from now on, to the end of this process: an audit hook cannot be taken away."""
    checkout = Checkout(root)
    sys.addaudithook(checkout.hook)
    return checkout
