"""Names of files that come, and paths in answers that go: a client learns nothing of the server's folders."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bundle.data.output_names import SUFFIXES

KNOWN = (*SUFFIXES, ".nrrd", ".mha", ".bin")  # the longest that fits is meant
_FOLDERS = r"(?<![\w:/.~-])/(?:[^/\s'\"<>|,;:()\[\]{}]+/)+"  # of any absolute path without spaces, to its last slash


def upload_suffix(file: str) -> str:
    """The suffix that a client's file keeps, by which readers choose; nothing else of its name is kept."""
    file = file.lower()
    known = max((suffix for suffix in KNOWN if file.endswith(suffix)), key=len, default="")
    return known or "".join(re.findall(r"\.[a-z0-9]{1,20}$", file))


def path_cutter(folders: Iterable[Path]) -> Callable[[Any], Any]:
    """A function that cuts absolute paths in JSON content down to their last name.

    Args:
        folders: the server's own, whose paths may hold spaces.
    """
    own = "".join(f"{re.escape(str(folder))}/(?:[^/'\"\n]+/)*|" for folder in folders)
    pattern = re.compile(own + _FOLDERS)

    def cut(content: Any) -> Any:
        if isinstance(content, str | Path):
            return pattern.sub("", str(content))
        if isinstance(content, dict):
            return {key: cut(value) for key, value in content.items()}
        return [cut(value) for value in content] if isinstance(content, list | tuple) else content

    return cut
