"""Entries of a datalist that lie in the rows of a table, each read from the file when it is asked for."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class Entries(Sequence[dict[str, Any]]):
    """Entries of a checked datalist (`bundle.data.datalist.Datalist`), each made when it is asked for.

    Args:
        table: the Arrow file.
        base: the data folder, below which the images lie.
        rows: (N,), which entries, in their order.
    """

    def __init__(self, table: Path, base: Path, rows: Rows) -> None:
        self.table, self.base, self.rows = table, base, rows

    def __add__(self, others: Entries) -> Entries:
        """These and then those, of the same table."""
        return Entries(self.table, self.base, np.concatenate([self.rows, others.rows]))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Entries: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | Entries:
        if isinstance(place, slice):
            return Entries(self.table, self.base, self.rows[place])
        row, texts = int(self.rows[place]), self._opened[1]
        entry: dict[str, Any] = json.loads(texts["entry"][row])
        entry["image"] = str(self.base / texts["image"][row].decode())
        entry["stored_size"] = tuple(entry["stored_size"])
        entry.setdefault("drawn", entry["boxes"])
        return entry

    def patients(self) -> npt.NDArray[np.int32]:
        """(N,) numbers of the entries' patients, from 0 in the order in which they come."""
        import pyarrow as pa

        numbers: npt.NDArray[np.int32] = self._opened[0].take(self.rows).dictionary_encode().indices.to_numpy().copy()
        pa.default_memory_pool().release_unused()  # the hash table's
        return numbers

    @cached_property
    def _opened(self) -> tuple[Any, dict[str, _Texts]]:
        """The patients, and texts by the name of their column; of one file, though another may take its place."""
        mapped = _mapped(self.table)
        columns = _columns(mapped)
        widths = {"entry": "i8", "image": "i4"} if len(columns["entry"]) else {}  # large_binary, string
        texts = {name: _Texts(self.table, columns[name], width, mapped.address) for name, width in widths.items()}
        return columns["patient"], texts

    def __getstate__(self) -> dict[str, Any]:
        """For a process that is spawned: it opens the table anew."""
        return {name: value for name, value in vars(self).items() if name != "_opened"}


class _Texts:
    """The texts of a column, read from the file: in mapped memory, every page that was looked at would stay."""

    def __init__(self, table: Path, column: Any, width: str, mapped: int) -> None:
        _, starts, texts = column.buffers()
        self._starts = np.frombuffer(starts, width)
        self._first = texts.address - mapped
        self._file = os.open(table, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __getitem__(self, row: int) -> bytes:
        start, end = self._starts[row : row + 2].tolist()
        return os.pread(self._file, end - start, self._first + start)


def columns_of(table: Path) -> dict[str, Any]:
    """The columns of an Arrow file of one record batch, or of none, as arrays in mapped memory."""
    return _columns(_mapped(table))


def _mapped(table: Path) -> Any:
    import pyarrow as pa  # for who has a table

    return pa.memory_map(os.fspath(table)).read_buffer()


def _columns(mapped: Any) -> dict[str, Any]:
    import pyarrow as pa

    whole = pa.ipc.open_file(pa.BufferReader(mapped)).read_all()
    return {name: whole[name].chunk(0) if len(whole) else whole[name].combine_chunks() for name in whole.column_names}
