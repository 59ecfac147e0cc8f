"""Entries of a datalist that lie in the rows of a table, in memory that all processes share."""

from __future__ import annotations

import json
import os
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
        row = int(self.rows[place])
        entry: dict[str, Any] = json.loads(self._columns["entry"][row].as_py())
        entry["image"] = str(self.base / self._columns["image"][row].as_py())
        entry["stored_size"] = tuple(entry["stored_size"])
        entry.setdefault("drawn", entry["boxes"])
        return entry

    def patients(self) -> npt.NDArray[np.int32]:
        """(N,) numbers of the entries' patients, from 0 in the order in which they come."""
        coded = self._columns["patient"].take(self.rows).dictionary_encode()
        numbers: npt.NDArray[np.int32] = coded.indices.to_numpy()
        return numbers

    @cached_property
    def _columns(self) -> dict[str, Any]:
        return columns_of(self.table)

    def __getstate__(self) -> dict[str, Any]:
        """For a process that is spawned: it maps the table anew."""
        return {name: value for name, value in vars(self).items() if name != "_columns"}


def columns_of(table: Path) -> dict[str, Any]:
    """The columns of an Arrow file of one record batch, or of none, as arrays in mapped memory."""
    import pyarrow as pa  # for who has a table

    whole = pa.ipc.open_file(pa.memory_map(os.fspath(table))).read_all()
    return {name: whole[name].chunk(0) if len(whole) else whole[name].combine_chunks() for name in whole.column_names}
