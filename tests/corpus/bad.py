"""A bad input of the corpus, and what becomes of it: refused in words for people, and nothing left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundle.failure import said_by_the_bundle

# How a message says what to do.
REMEDY = re.compile(
    r"\b(want(ed|s)|give|given|copy|copied|export(ed)?|must|set|check|write|written|delete|wanted|save|use|submit|"
    r"mend|state|download|say|name|raise|lower|add|make|train|needed|"
    r"did you mean|known here|draw|unpack|take|leave)\b",
    re.IGNORECASE,
)
SECRETS = ("secret", "SECRET-ID", "patient-7")


@dataclass(frozen=True)
class Bad:
    """One bad input.

    Attributes:
        name: what is bad.
        prepare: writes it into an empty folder, and returns what a user would call on it.
        says: what the message must hold: the file or the key, and what was found. Upper and lower case are alike.
    """

    name: str
    prepare: Callable[[Path], Callable[[], Any]]
    says: tuple[str, ...]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the headers that prepare_datalist remembers on purpose, to go on from."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".headers.jsonl")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(bad: Bad, folder: Path) -> None:
    """It is refused as `Bad` wants: by a message of the bundle's own, that a command ends with."""
    call = bad.prepare(folder)
    before = files_of(folder)
    with pytest.raises((ValueError, OSError, SystemExit)) as caught:
        call()
    said = said_by_the_bundle(caught.value)
    assert said is not None, f"a library's own words: {caught.value!r}"
    for word in bad.says:
        assert word.lower() in said.lower(), said
    assert REMEDY.search(said), f"it does not say what to do: {said}"
    assert not any(secret.lower() in said.lower() for secret in SECRETS), said
    assert files_of(folder) == before
