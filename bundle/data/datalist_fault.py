"""A fault of a datalist, and the error that lists all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PRINTED_FAULTS = 50


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a datalist.

    Attributes:
        where: the entry, such as `training[3] (images/0004.dcm)`, or the part of the file.
        field: the key in it, such as `boxes[0].box`.
        found: what stands there.
        wanted: what should.
    """

    where: str
    field: str
    found: str
    wanted: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.where}, {self.field}: found {self.found}; wanted {self.wanted}"


class DatalistError(ValueError):
    """A datalist has faults; the message counts them and lists the first ones, `faults` holds every one."""

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        """Takes the whole message, so that the error survives being raised again from it."""
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, path: object, faults: Sequence[Fault]) -> DatalistError:
        """The error for a file and its faults, the first `PRINTED_FAULTS` of them in words."""
        return cls(f"{path}: {listed(faults, 'in the datalist')}", faults)


def listed(faults: Sequence[Fault], where: str) -> str:
    """How many faults there are, in words that end in `where`, and below it the first `PRINTED_FAULTS`, a line each."""
    lines = [f"{len(faults)} fault{'s' if len(faults) > 1 else ''} {where}"]
    lines += [f"  {fault}" for fault in faults[:PRINTED_FAULTS]]
    if len(faults) > PRINTED_FAULTS:
        lines.append(f"  and {len(faults) - PRINTED_FAULTS} more")
    return "\n".join(lines)
