"""Which columns of a table are findings, with a label for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bundle.data.datalist_entry import nearest
from bundle.data.sources.faults import Faults
from bundle.data.sources.table_file import Line, TableFile
from bundle.data.sources.values import label_of

__all__ = ["find_label_columns"]


def find_label_columns(
    table: TableFile, rows: Sequence[Line], roles: Mapping[str, str], asked: Sequence[str] | str | None
) -> list[str]:
    """The columns that are findings.

    Args:
        table: the file.
        rows: its rows.
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
        return [name for name in free if _is_label([row[name] for _, row in rows])]
    names = [part.strip() for part in asked.split(",")] if isinstance(asked, str) else [str(part) for part in asked]
    names = [name for name in names if name]
    found = [column for name in names if (column := table.column(name)) in free and column is not None]
    if names and not found and not roles.keys() & {"finding", "report"}:
        faults = Faults()
        wanted = f"the columns {', '.join(names)}{nearest(names[0], free)}"
        faults.add(str(table.path), "--label_columns", table.shown_header(), wanted)
        faults.refuse()
    return found


def _is_label(values: Sequence[str]) -> bool:
    """Whether every cell is a label, and something is said at all."""
    try:
        labels = {label_of(value) for value in set(values)}
    except ValueError:
        return False
    return bool(labels & {0, 1})
