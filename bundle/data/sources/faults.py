"""The faults of a source, told all at once: where, what was found, what is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from bundle.data.datalist_fault import Fault, listed

__all__ = ["Faults", "SourceError"]


class SourceError(ValueError):
    """A source has faults; the message counts them and lists the first ones, `faults` holds every one."""

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        """Takes the whole message, so that the error survives being raised again from it."""
        super().__init__(message)
        self.faults = tuple(faults)


class Faults:
    """Collects faults, until somebody asks whether there are any."""

    def __init__(self) -> None:
        """Starts without faults."""
        self.all: list[Fault] = []

    def add(self, where: str, field: str, found: str, wanted: str) -> None:
        """One more.

        Args:
            where: file and row, or the image.
            field: column, or what is meant in it.
            found: what stands there.
            wanted: what should, and how to mend it.
        """
        self.all.append(Fault(where, field, found, wanted))

    def refuse(self) -> None:
        """Ends here if there are faults.

        Raises:
            SourceError: with all of them.
        """
        if self.all:
            raise SourceError(listed(self.all, "in what was given; nothing was written"), self.all)
