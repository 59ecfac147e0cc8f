"""The corners of a box, from the cells of a row or a list of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundle.data.datalist_entry import is_number, show
from bundle.data.sources.faults import Faults
from bundle.data.sources.values import MISSING, number_of

__all__ = ["Corners", "corners_of", "corners_of_list"]

Corners = tuple[float, float, float, float]


def corners_of(
    row: Mapping[str, str], roles: Mapping[str, str], decimal_comma: bool, where: str, faults: Faults
) -> Corners | None:
    """x0, y0, x1, y1 of a row.

    Args:
        row: column -> value.
        roles: `x`, `y` and either `x2`, `y2` or `width`, `height` -> column; without them there is no box.
        decimal_comma: whether numbers may be written 12,5.
        where: file and row.
        faults: a box that is none is added.

    Returns:
        The corners; None where the row has no box, or a faulty one.
    """
    ends = ("x2", "y2") if "x2" in roles else ("width", "height")
    if not roles.keys() >= {"x", "y", *ends}:
        return None
    columns = [roles[role] for role in ("x", "y", *ends)]
    texts = [row[column] for column in columns]
    if all(text.lower() in MISSING for text in texts):
        return None
    numbers = []
    for column, text in zip(columns, texts, strict=True):
        try:
            numbers.append(number_of(text, decimal_comma))
        except ValueError as error:
            faults.add(where, column, str(error), "a number of pixels; all four of a box, or none without a box")
    if len(numbers) < len(columns):
        return None
    x, y, right, lower = numbers
    if "x2" not in roles:
        if right <= 0 or lower <= 0:
            faults.add(where, ", ".join(columns[2:]), f"{right:g} x {lower:g}", "a width and a height above 0")
            return None
        right, lower = x + right, y + lower
    elif right <= x or lower <= y:
        found = f"{x:g}, {y:g}, {right:g}, {lower:g}, an empty box"
        wanted = f"{columns[0]} < {columns[2]} and {columns[1]} < {columns[3]}"
        faults.add(where, ", ".join(columns), found, wanted)
        return None
    return x, y, right, lower


def corners_of_list(box: Any, field: str, where: str, faults: Faults) -> Corners | None:
    """x0, y0, x1, y1 as JSON has them.

    Args:
        box: what should be the list of the four.
        field: its name, for messages.
        where: file and place in it.
        faults: a box that is none is added.

    Returns:
        The corners; None where they are faulty.
    """
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        faults.add(where, field, show(box), "x0, y0, x1, y1")
        return None
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        faults.add(where, field, f"{show(box)}, an empty box", "x0 < x1 and y0 < y1")
        return None
    return x0, y0, x1, y1
