"""Sections of a configuration that are handed over as plain dicts: their comments, and their keys."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def without_comments(section: Mapping[str, Any] | None) -> dict[str, Any]:
    """A section of a configuration that is handed over as a plain dict, without its `_desc_`; empty for None.

    MONAI drops `_desc_` from components, but not from other dicts.
    """
    return {key: value for key, value in (section or {}).items() if key != "_desc_"}


def arguments_in(name: str, section: Mapping[str, Any] | None, kind: Callable[..., Any]) -> dict[str, Any]:
    """A section as arguments, without its `_desc_`.

    Args:
        name: of the section, for the message.
        section: argument -> value; None has none.
        kind: what they are arguments of.

    Raises:
        ValueError: one of them is not known.
    """
    given, known = without_comments(section), [each for each in inspect.signature(kind).parameters if each != "self"]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {name}#{near[0]}?" if near else ""
            raise ValueError(f"{name}#{key} is not known; wanted {', '.join(known)}{hint}")
    return given
