"""What a source says of an image: all that an adapter has to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["WHOLE", "Box", "Reading", "Record"]

WHOLE = (1, 1)
"""The frame of corners that are shares of the image's width and height, whatever its shape."""


@dataclass(frozen=True, slots=True)
class Box:
    """A lesion as somebody drew it.

    Attributes:
        finding: its name.
        corners: x0, y0, x1, y1, x right, y down, x1 and y1 exclusive, x0 < x1 and y0 < y1; pixels of `frame`.
        frame: (W, H) of the picture that the corners are counted in, of which the stored image is a copy of any size;
            None where they are pixels of the stored image itself, `WHOLE` where they are shares of it.
        reader: a pseudonym; empty where nobody says who drew it.
        caption: what it says, in words.
        where: file and row, for messages.
        agreement: the share of several readers who drew it; None where nobody says.
    """

    finding: str
    corners: tuple[float, float, float, float]
    frame: tuple[int, int] | None = None
    reader: str = ""
    caption: str = ""
    where: str = ""
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """An image and what is known of it.

    Attributes:
        image: its file name, or the end of its path; the suffix may be missing or another (`ImageIndex`).
        patient: pseudonym by which sections are kept apart.
        labels: finding -> 1 present, 0 absent; one that is not named is unknown.
        boxes: what was drawn.
        boxed: findings whose boxes are complete.
        readers: all who looked at it for every finding; empty where nobody says.
        report: its text.
        split: the section that the source puts it in; empty where the patient's hash decides.
        view: such as PA, AP or LATERAL; empty where unknown.
        sex: F, M, or as the source writes it.
        age: in years.
        site: of whom.
        vendor: of the machine.
        where: file and row, for messages.
    """

    image: str
    patient: str
    labels: Mapping[str, int] = field(default_factory=dict)
    boxes: Sequence[Box] = ()
    boxed: frozenset[str] = frozenset()
    readers: Sequence[str] = ()
    report: str = ""
    split: str = ""
    view: str = ""
    sex: str = ""
    age: float | None = None
    site: str = ""
    vendor: str = ""
    where: str = ""


@dataclass(frozen=True)
class Reading:
    """A source's tables, read; its images have not been looked for.

    Attributes:
        title: the data set's name.
        findings: the names that labels and boxes use, in the datalist's order.
        records: one for each image.
        files: the tables, whose hashes the datalist names.
        dropped: what was left out of the tables on purpose: reason -> number of rows.
        notes: what was understood, guessed or is to be known, a sentence each.
    """

    title: str
    findings: tuple[str, ...]
    records: Sequence[Record]
    files: Sequence[Path] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
