"""What a run's products were made for, data and findings, by which another run tells its own from foreign ones.

Records say it in their header, weights as an attribute of the state dict, where torch keeps its own `_metadata`:
whoever reads the entries is not disturbed, and the file may be moved.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.fingerprint import file_fingerprint

ATTRIBUTE = "made_for"


def made_for(datalist: str | Path, section: str | Sequence[str], findings: Sequence[str]) -> dict[str, Any]:
    """The data and findings of a run.

    Args:
        datalist: the file; it is known by its content, not by its place.
        section: of the datalist, or several.
        findings: in their order.

    Returns:
        `datalist` (fingerprint), `section` (a list) and `findings`, as JSON gives them back.

    Raises:
        FileNotFoundError: there is no such datalist.
    """
    sections = [section] if isinstance(section, str) else list(section)
    return {"datalist": file_fingerprint(datalist), "section": sections, "findings": list(findings)}


def differing(found: Any, wanted: Mapping[str, Any]) -> str:
    """In words, where a product was made for something else; empty where it was not.

    Args:
        found: what it says it was made for; anything, because anybody may have written it.
        wanted: what this run is for.
    """
    if not isinstance(found, Mapping):
        return "it does not say for what"
    other = [key for key in wanted if found.get(key) != wanted[key]]
    return ", ".join(f"{key} {found.get(key)!r} instead of {wanted[key]!r}" for key in other)
