"""What a start finds in the queue's folder: the traces of a kill, and the layout of releases without a ledger."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from bundle.node.ledger import Entry, Ledger
from bundle.node.stored import content_hash, remove_results

logger = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{32}")
GONE = "its files are gone from the queue's folder; send it again"


def settle(folder: Path, ledger: Ledger) -> None:
    """Bring ledger and files together; no object is lost, and what is of others stays as it is.

    A complete file that the ledger does not know waits from now on: its sender was told nothing yet, or an older
    release took it in. What the ledger has let go is removed. An object whose files are gone is refused with that
    reason.

    Args:
        folder: of the queue.
        ledger: of the queue.
    """
    incoming, results = folder / "incoming", folder / "results"
    _take_over(folder, ledger)
    for path in _ours(incoming, ".dcm"):
        known = ledger.find(path.stem)
        if known is None:
            ledger.add(_incoming(path))
        elif known.stage != "incoming":
            path.unlink()
    for path in _ours(results):
        known = ledger.find(path.name)
        if known is None and _names(path):
            ledger.add(_results(path))
        elif known is not None and known.stage == "done":
            remove_results(path, _names(path))
    for entry in ledger.waiting():
        files = [incoming / f"{entry.key}.dcm"] if entry.stage == "incoming" else []
        files += [results / entry.key / name for name in entry.files if entry.stage == "results"]
        if not all(file.is_file() for file in files):
            logger.error("%s: put aside, %s", entry.key, GONE)
            ledger.refuse(entry.key, GONE)


def _take_over(folder: Path, ledger: Ledger) -> None:
    """Of releases without a ledger: `refused/` had objects, results and reasons, `done/` an empty file for each object.

    Those files do not tell what the object held: a radiograph delivered by such a release is looked at again if it
    comes again, and gives the same results.
    """
    refused, done, incoming, results = (folder / name for name in ("refused", "done", "incoming", "results"))
    for reason in _ours(refused, ".json"):
        key = reason.stem
        for old, new in ((refused / f"{key}.dcm", incoming / f"{key}.dcm"), (refused / key, results / key)):
            if old.exists():
                old.rename(new)
        text = json.loads(reason.read_text(encoding="utf-8"))["reason"]
        if ledger.find(key) is None and (incoming / f"{key}.dcm").is_file():
            ledger.add(_incoming(incoming / f"{key}.dcm", "refused", text))
        elif ledger.find(key) is None and (results / key).is_dir():
            ledger.add(_results(results / key, "refused", text))
        reason.unlink()
    for path in _ours(refused, ".dcm"):  # a kill came before the reason
        path.rename(incoming / path.name)
    for path in _ours(refused):
        path.rename(results / path.name)
    for path in (refused, done):
        if path.is_dir():
            for mark in path.iterdir():
                if path == done and _KEY.fullmatch(mark.name):
                    mark.unlink()
            if not any(path.iterdir()):
                path.rmdir()


def _incoming(file: Path, state: str = "incoming", reason: str | None = None) -> Entry:
    return Entry(file.stem, state, "incoming", content_hash(file), file.stat().st_size, reason=reason)


def _results(folder: Path, state: str = "results", reason: str | None = None) -> Entry:
    names = _names(folder)
    size = sum((folder / name).stat().st_size for name in names)
    return Entry(folder.name, state, "results", "", size, names, reason=reason)


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob("[!.]*.dcm") if path.is_file()))


def _ours(folder: Path, suffix: str = "") -> Iterator[Path]:
    """Files of a suffix, or folders, that have a key for a name; the longest waiting first."""
    if folder.is_dir():
        found = [path for path in folder.iterdir() if path.suffix == suffix and _KEY.fullmatch(path.stem)]
        found = [path for path in found if path.is_dir() != bool(suffix)]
        yield from sorted(found, key=lambda path: path.stat().st_mtime_ns)
