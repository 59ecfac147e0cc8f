"""A datalist's files: its text, an entry a line for people and `diff`, and the name of its table, which is no text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.atomic import atomic_path

__all__ = ["table_of", "write_datalist"]


def table_of(datalist: Path) -> Path:
    """Where the table of a checked datalist is kept (`bundle.data.checked_table`), if there is one."""
    return datalist.with_suffix(".checked.arrow")


def write_datalist(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Writes a datalist atomically, piece by piece: half a million entries are never one text.

    Args:
        path: the JSON file to make or replace.
        document: the datalist, its sections any sequences; it is not checked.

    Raises:
        ValueError: it holds NaN or infinity, which JSON does not know.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_pieces(document))


def _pieces(document: Mapping[str, Any]) -> Iterator[str]:
    for number, (key, value) in enumerate(document.items()):
        yield f"{',' if number else '{'}\n {json.dumps(key, ensure_ascii=False)}: "
        if isinstance(value, Sequence) and value and isinstance(value[0], dict):
            for place, entry in enumerate(value):
                yield f"{',' if place else '['}\n  {_json(entry)}"
            yield "\n ]"
        else:
            yield _json(list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value)
    yield "\n}\n" if document else "{}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
