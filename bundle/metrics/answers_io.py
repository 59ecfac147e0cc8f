"""Answers on disk: a table that a person can open, of numbers and types alone."""

import csv
from dataclasses import fields
from pathlib import Path

import numpy as np

from bundle.atomic import atomic_path
from bundle.metrics.vqa import Answers
from bundle.question_types import TYPES

_COLUMNS = tuple(field.name for field in fields(Answers))


def save_answers(answers: Answers, path: str | Path) -> Path:
    """Write answers as CSV, atomically.

    A row a question: index of the image, number of its patient, place among the image's questions, type, the right
    answer's number and the given one's. No words of the datalist: its own questions and answers may say anything.

    Args:
        answers: to write.
        path: the file; its folder is made if missing.

    Returns:
        The path.
    """
    columns = {name: getattr(answers, name).tolist() for name in _COLUMNS}
    columns["type"] = [TYPES[number] for number in columns["type"]]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return Path(path)


def load_answers(path: str | Path) -> Answers:
    """Read what `save_answers` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a table of other columns, or an unknown type.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != _COLUMNS:
        raise ValueError(f"{path}: found the columns {header}; wanted {list(_COLUMNS)}")
    place = _COLUMNS.index("type")
    if strange := sorted({row[place] for row in rows} - set(TYPES)):
        raise ValueError(f"{path}: found the types {strange}; known are {list(TYPES)}")
    numbers = [[TYPES.index(cell) if i == place else int(cell) for i, cell in enumerate(row)] for row in rows]
    table = np.array(numbers, np.int64).reshape(-1, len(_COLUMNS))
    return Answers(**dict(zip(_COLUMNS, table.T, strict=True)))
