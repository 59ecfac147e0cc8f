"""Comments in configurations."""

from collections.abc import Mapping
from typing import Any


def without_comments(section: Mapping[str, Any] | None) -> dict[str, Any]:
    """A section of a configuration that is handed over as a plain dict, without its `_desc_`; empty for None.

    MONAI drops `_desc_` from components, but not from other dicts.
    """
    return {key: value for key, value in (section or {}).items() if key != "_desc_"}
