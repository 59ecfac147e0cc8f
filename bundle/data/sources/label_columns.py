"""Which columns of a table are findings, with a label for each image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bundle.data.datalist_entry import nearest
from bundle.data.sources.faults import Faults
from bundle.data.sources.table_file import Line, TableFile
from bundle.data.sources.values import label_of

__all__ = ["find_label_columns"]


def find_label_columns(
    table: TableFile, rows: Iterable[Line], roles: Mapping[str, str], asked: Sequence[str] | str | None
) -> list[str]:
    """The columns that are findings.

    Args:
        table: the file.
        rows: its rows; they are looked at where nothing is asked for.
        roles: the columns that are something else.
        asked: names of the columns, or one text with commas; None takes those of which every cell is a label, and at
            least one is 0 or 1; empty takes none.

    Returns:
        Names as the header has them; of what is asked for, those that this table has.

    Raises:
        SourceError: nothing of what is asked for is in this table, and it is not there for another reason.
    """
    free = [name for name in table.header if name and name not in roles.values()]
    if asked is None:
        return _all_labels(rows, free)
    names = [part.strip() for part in asked.split(",")] if isinstance(asked, str) else [str(part) for part in asked]
    names = [name for name in names if name]
    found = [column for name in names if (column := table.column(name)) in free and column is not None]
    if names and not found and not roles.keys() & {"finding", "report"}:
        faults = Faults()
        wanted = f"the columns {', '.join(names)}{nearest(names[0], free)}"
        faults.add(str(table.path), "--label_columns", table.shown_header(), wanted)
        faults.refuse()
    return found


def _all_labels(rows: Iterable[Line], names: Iterable[str]) -> list[str]:
    """The columns of which every cell is a label, and at least one 0 or 1."""
    said: dict[str, set[int | None]] = {name: set() for name in names}
    for _, row in rows:
        for name in list(said):
            try:
                said[name].add(label_of(row[name]))
            except ValueError:
                del said[name]
    return [name for name, labels in said.items() if labels & {0, 1}]
