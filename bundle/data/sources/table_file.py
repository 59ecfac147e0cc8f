"""A table as it comes: CSV in any usual encoding and separator, plain, gzipped or alone in a zip archive."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from bundle.data.datalist_entry import nearest
from bundle.data.sources.faults import Faults

__all__ = ["TableFile", "file_text", "find_file", "json_list", "plain_name"]

PathLike = str | os.PathLike[str]
Line = tuple[str, dict[str, str]]  # where it stands, and column -> value
_SEPARATORS = ",;\t|"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LONGEST = 2**24  # characters in a field: run-length masks are longer than csv's 131,072
_SHOWN = 300
_PIECE = 2**18  # bytes that are in memory at a time


class TableFile:
    """A table with a header.

    Attributes:
        path: the file.
        header: the columns' names, without white space around them.
        decimal_comma: whether numbers may be written 12,5: semicolons separate the columns.
        notes: how it was read, where that had to be told from its content.
    """

    def __init__(self, path: PathLike) -> None:
        """Reads the file.

        Args:
            path: .csv, .tsv or .txt, plain, .gz, or alone in a .zip.

        Raises:
            FileNotFoundError: there is no such file.
            SourceError: it is no text, or has no header, or one with a name twice.
        """
        self.path = Path(path)
        self._encoding, self.notes = _encoding_of(self.path)
        with _text(self.path, self._encoding) as file:
            first = next((line for line in file if line.strip("\r\n")), "")
        separator = max(_SEPARATORS, key=first.count)
        self.decimal_comma = separator == ";"
        if separator != ",":
            self.notes.append(f"{self.path.name}: columns are separated by {_NAMES[separator]}")
        csv.field_size_limit(_LONGEST)
        self._separator = separator
        faults = Faults()
        with _text(self.path, self._encoding) as file:
            try:
                self.header = [name.strip() for name in next(csv.reader(file, delimiter=separator), [])]
            except csv.Error as error:
                self.header = []
                faults.add(str(self.path), "line 1", str(error), "a table of text, such as CSV in UTF-8")
        known: dict[str, str] = {}
        for name in filter(None, self.header):
            if plain_name(name) in known:
                faults.add(str(self.path), "header", f"{known[plain_name(name)]!r} and {name!r}", "each column once")
            known.setdefault(plain_name(name), name)
        if not known and not faults.all:
            faults.add(str(self.path), "header", "nothing", "the columns' names in the first line")
        faults.refuse()
        self._known = known

    def column(self, *names: str) -> str | None:
        """The header's spelling of the first of these names that it has; case, blanks and signs do not matter."""
        return next((self._known[plain] for plain in map(plain_name, names) if plain in self._known), None)

    def need(self, *names: str, may: Sequence[str] = ()) -> None:
        """Ends here where columns are missing; the others are called so from here on, however the header spells them.

        Args:
            names: of the columns.
            may: of columns that may be missing.

        Raises:
            SourceError: naming all of them, and the header.
        """
        faults = Faults()
        for name in (*names, *may):
            found = self.column(name)
            if found is not None:
                self.header[self.header.index(found)] = self._known[plain_name(name)] = name
            elif name in names:
                wanted = f"a column {name}{nearest(name, self.header)}; name the columns as the source publishes them"
                faults.add(str(self.path), "header", self.shown_header(), wanted)
        faults.refuse()

    def shown_header(self) -> str:
        """The header, for a message."""
        text = ", ".join(self.header)
        return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")

    def rows(self, faults: Faults) -> Iterator[Line]:
        """The rows, read from the file each time; empty lines are passed over.

        Args:
            faults: rows with too few or too many fields are added, and left out.

        Yields:
            Where it stands (file and line), and header name -> value, stripped.
        """
        with _text(self.path, self._encoding) as file:
            reader = csv.reader(file, delimiter=self._separator)
            next(reader)  # the header
            while True:
                where = f"{self.path.name} line {reader.line_num + 1}"
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    faults.add(where, "row", str(error), "a row of the table; is it another kind of file?")
                    return
                if row is None:
                    return
                if not any(row):
                    continue
                if len(row) < len(self.header) or any(row[len(self.header) :]):
                    wanted = f"{len(self.header)}, as in the header; texts that hold the separator stand in quotes"
                    faults.add(where, "row", f"{len(row)} fields", wanted)
                    continue
                yield where, {name: value.strip() for name, value in zip(self.header, row, strict=False)}


def plain_name(name: str) -> str:
    """A column's name without case, blanks and signs."""
    return "".join(filter(str.isalnum, name.casefold()))


def find_file(place: PathLike, *names: str) -> Path:
    """A table of a folder by its name, with or without .gz or .zip; or `place` itself where it is a file.

    Args:
        place: the folder, or the file.
        names: how it may be called; the first that is there is taken.

    Raises:
        FileNotFoundError: none is there.
    """
    folder = Path(place)
    if folder.is_file():
        return folder
    for name in names:
        for ending in ("", ".gz", ".zip"):
            if (path := folder / f"{name}{ending}").is_file():
                return path
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) if folder.is_dir() else "no such folder"
    raise FileNotFoundError(f"{folder}: found {found or 'an empty folder'}; wanted {' or '.join(names)}, plain or .gz")


def file_text(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note where its encoding is not UTF-8.

    Args:
        path: plain, .gz, or a .zip that holds one file.

    Raises:
        FileNotFoundError: there is no such file.
        SourceError: it is no whole file.
    """
    encoding, notes = _encoding_of(path)
    with _text(path, encoding) as file:
        return file.read(), notes


def _encoding_of(path: Path) -> tuple[str, list[str]]:
    """How a file is to be decoded, and a note where that is not UTF-8; it is read once, piece by piece.

    Raises:
        FileNotFoundError: there is no such file.
        SourceError: it is no whole file, or no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: found no such file; wanted a table, plain, .gz or .zip")
    faults = Faults()
    start, zero, before, latin = b"", -1, 0, -1
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with _content(path) as file:
            start = file.read(4)
            if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                decoder = codecs.getincrementaldecoder("utf-16")()
            piece = start
            while True:
                if zero < 0 and b"\0" in piece:
                    zero = before + piece.index(b"\0")
                if latin < 0:
                    waiting = len(decoder.getstate()[0])  # bytes of a letter that the piece before broke off in
                    try:
                        decoder.decode(piece, final=not piece)
                    except UnicodeDecodeError as error:
                        latin = before - waiting + error.start
                if not piece:
                    break
                before += len(piece)
                piece = file.read(_PIECE)
    except (gzip.BadGzipFile, EOFError, zlib.error, zipfile.BadZipFile, ValueError) as error:
        faults.add(str(path), "file", str(error), "a whole file; download or copy it again")
    if start in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        faults.add(str(path), "file", "a workbook or archive", "a table of text: save the sheet as CSV (UTF-8)")
    faults.refuse()
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if latin >= 0:
            faults.add(str(path), "file", f"UTF-16 that breaks off at byte {latin}", "a whole file; copy it again")
        faults.refuse()
        return "utf-16", [f"{path.name}: read as UTF-16"]
    if zero >= 0:
        faults.add(str(path), "file", f"a NUL at byte {zero}", "a table of text, such as CSV in UTF-8")
    faults.refuse()
    if latin < 0:
        return "utf-8-sig", []
    note = f"{path.name}: no UTF-8 (byte {latin}), read as Latin-1; save it as UTF-8 if letters look wrong"
    return "latin-1", [note]


@contextmanager
def _text(path: Path, encoding: str) -> Iterator[TextIO]:
    """The text of a file, line ends as they are."""
    with _content(path) as file, io.TextIOWrapper(file, encoding, newline="") as text:
        yield text


def json_list(path: Path, faults: Faults) -> list[Any]:
    """The items of a JSON file that is a list; none, and a fault, where it is no such file.

    Args:
        path: plain, .gz, or a .zip that holds one file.
        faults: what it is instead is added.

    Raises:
        FileNotFoundError: there is no such file.
        SourceError: it is no whole file.
    """
    try:
        items = json.loads(file_text(path)[0])
    except json.JSONDecodeError as error:
        faults.add(str(path), "JSON", f"{error.msg} at line {error.lineno}", "the file as it is published")
        return []
    if not isinstance(items, list):
        faults.add(str(path), "JSON", f"a value of type {type(items).__name__}", "a list")
        return []
    return items


@contextmanager
def _content(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The bytes, unpacked as they are read."""
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as file:
            yield file
    elif path.suffix != ".zip":
        with path.open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
            if len(names) != 1:
                raise ValueError(f"an archive of {len(names)} files; unpack it and name the table")
            with archive.open(names[0]) as file:
                yield file
