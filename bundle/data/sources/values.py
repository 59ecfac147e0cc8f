"""Values as tables write them: numbers, labels, ages, sexes and sections."""

from __future__ import annotations

import math
import re
from functools import cache

from bundle.data.nih_tables import age_in_years

__all__ = ["MISSING", "NORMAL", "UNCERTAIN", "age_of", "label_of", "number_of", "section_of", "sex_of"]

UNCERTAIN = -1
MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-", "unknown"})
"""Words for nothing, in lower case."""
NORMAL = frozenset({"no finding", "no findings", "nofinding", "normal", "healthy", "negative", "none"})
"""Names of a row that says that an image was looked at and nothing found, in lower case."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_WORDS = {
    **dict.fromkeys(("true", "yes", "y", "present", "positive"), 1),
    **dict.fromkeys(("false", "no", "n", "absent", "negative"), 0),
    **dict.fromkeys(("uncertain", "maybe"), UNCERTAIN),
}
_SECTIONS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def number_of(text: str, decimal_comma: bool = False) -> float:
    """A finite number.

    Args:
        text: as it stands in the table, stripped.
        decimal_comma: whether `12,5` is twelve and a half, as where semicolons separate the columns.

    Raises:
        ValueError: it is none; the message is what was found.
    """
    plain = text.replace(",", ".") if decimal_comma else text
    if not _NUMBER.fullmatch(plain) or not math.isfinite(float(plain)):
        raise ValueError(repr(text) if text else "nothing")
    return float(plain)


@cache  # a few ways of writing in millions of cells
def label_of(text: str) -> int | None:
    """A label: 1 present, 0 absent, `UNCERTAIN`, or None where nothing is said.

    Args:
        text: `1`, `1.0`, `0`, `-1.0`, `yes`, `false`, `uncertain`, empty or a word of `MISSING`, ...

    Raises:
        ValueError: it is none of these; the message is what was found.
    """
    word = text.strip().lower()
    if word in MISSING:
        return None
    if word in _WORDS:
        return _WORDS[word]
    if not _NUMBER.fullmatch(word) or float(word) not in (1, 0, UNCERTAIN):
        raise ValueError(repr(text))
    return int(float(word))


def age_of(text: str) -> float | None:
    """Years, of a number or a DICOM age (`058Y`); None where nothing is said or nobody is that old.

    Raises:
        ValueError: it is no age; the message is what was found.
    """
    plain = text.strip()
    if plain.lower() in MISSING:
        return None
    try:
        return age_in_years(plain.removesuffix(".0"))
    except ValueError:
        try:
            number = number_of(plain)
        except ValueError:
            raise ValueError(repr(text)) from None
        if number < 0:
            raise ValueError(repr(text)) from None
        return age_in_years(str(int(number)))


def sex_of(text: str) -> str:
    """F or M for the usual words; anything else as it is, empty where nothing is said."""
    plain = text.strip()
    if plain.lower() in MISSING:
        return ""
    return {"female": "F", "f": "F", "male": "M", "m": "M"}.get(plain.lower(), plain)


def section_of(text: str) -> str:
    """The datalist's section for a table's word: `train`, `valid`, `dev`, ...; another word is a section itself."""
    plain = text.strip()
    return "" if plain.lower() in MISSING else _SECTIONS.get(plain.lower(), plain)
