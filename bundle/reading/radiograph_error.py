"""The errors with which a file is refused as a radiograph."""

from __future__ import annotations

import os


class RadiographError(ValueError):
    """A file cannot be read as one grey radiograph; the message names the file, the reason and the remedy.

    Attributes:
        found: the reason alone.
        remedy: what is wanted, or how to mend it.
    """

    found = ""
    remedy = ""


class RadiographNotFoundError(RadiographError, FileNotFoundError):
    """There is no file at the given path."""


class UnknownFormatError(RadiographError):
    """Nothing in the file or its name says that it is an image: a text, a table, a program."""


def refusal(
    path: str | os.PathLike[str], found: str, remedy: str, kind: type[RadiographError] = RadiographError
) -> RadiographError:
    """Builds the error for one file: what was found, then what is wanted or how to mend it.

    The error takes one string only, because a DataLoader worker's exception is raised again from its message.
    Never put a DICOM attribute that may identify a patient into `found`.
    """
    error = kind(f"{os.fspath(path)}: {found}. {remedy}")
    error.found, error.remedy = found, remedy
    return error
