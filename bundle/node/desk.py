"""What a person does with a node's queue, also while the node works in it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from bundle.node.ledger import NAME, Entry, Ledger, Load
from bundle.node.queue import DiskQueue
from bundle.node.stored import remove_results


class Desk:
    """The queue's objects that were put aside: seen, put back, removed.

    Args:
        folder: of the queue.

    Raises:
        LedgerError: no node has worked in the folder, or one of another release.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._ledger = Ledger(self.folder / NAME, make=False)

    def loads(self) -> dict[str, Load]:
        """What lies in each state."""
        return self._ledger.loads()

    def refused(self) -> list[Entry]:
        """What was put aside, with the reasons."""
        return self._ledger.refused()

    def requeue(self, which: Sequence[str] = ()) -> int:
        """Put objects back to where they were refused.

        Args:
            which: keys or SOP Instance UIDs; none for all.

        Returns:
            How many were put back; one that was not put aside changes nothing.
        """
        return sum(map(self._ledger.requeue, map(_key, which))) if which else self._ledger.requeue()

    def discard(self, which: Sequence[str]) -> int:
        """Remove objects that were put aside, and their files.

        Args:
            which: keys or SOP Instance UIDs.

        Returns:
            How many were removed.
        """
        entries = {entry.key: entry for entry in self._ledger.refused()}
        found = [entries[key] for key in map(_key, which) if key in entries]
        for entry in found:
            with self._ledger.change():  # the files go first: a kill in between leaves an entry that says so
                if entry.stage == "incoming":
                    (self.folder / "incoming" / f"{entry.key}.dcm").unlink(missing_ok=True)
                remove_results(self.folder / "results" / entry.key, entry.files)
                self._ledger.drop(entry.key)
        return len(found)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[0-9a-f]{32}", name) else DiskQueue.key(name)
