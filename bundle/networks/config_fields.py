"""The fields of a transformers configuration, as a config file of the bundle gives them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from bundle.comments import without_comments
from bundle.data.datalist_entry import nearest


def config_fields(where: str, given: Mapping[str, Any] | None, kind: type) -> dict[str, Any]:
    """The fields given, without comments; an unknown one is refused, which the library would keep and never look at.

    Args:
        where: they were given, for the message.
        given: field -> value; None for none.
        kind: the library's configuration, a dataclass.

    Returns:
        A copy.

    Raises:
        ValueError: there is a key that is no field of it; the message has the nearest one.
    """
    result = without_comments(given)
    known = [field.name for field in fields(kind)]
    if unknown := sorted(set(result) - set(known)):
        named = ", ".join(f"'{name}'{nearest(name, known)}" for name in unknown)
        raise ValueError(f"{where} has {named}: no field of {kind.__name__}, so it would have no effect.")
    return result
