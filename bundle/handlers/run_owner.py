"""Which process a tracked run belongs to, and whether that process still lives."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

HOST, PROCESS, STARTED = "owner.host", "owner.pid", "owner.started"


def owner_tags() -> dict[str, str]:
    """Tags that name this process: host, process id, and when the kernel started it (ids are used again)."""
    pid = os.getpid()
    return {HOST: socket.gethostname(), PROCESS: str(pid), STARTED: _started(pid) or ""}


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process that these tags name has certainly ended.

    False where it cannot be known: without tags, on another host, or on a system without signals to ask with.
    """
    if tags.get(HOST) != socket.gethostname() or not tags.get(PROCESS, "").isdigit() or os.name != "posix":
        return False
    pid = int(tags[PROCESS])
    if _has_proc():
        started = _started(pid)
        return started is None or (bool(tags.get(STARTED)) and started != tags[STARTED])
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is someone else's
        return False
    return False


def _has_proc() -> bool:
    return Path("/proc/self/stat").is_file()


def _started(pid: int) -> str | None:
    """Start of a living process in clock ticks since boot; None where there is none, or it only waits to be reaped."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]
