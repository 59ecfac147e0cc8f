"""Refuses a MetaImage header that names pixels elsewhere: ITK reads whatever file of the machine it names."""

from __future__ import annotations

import re
from pathlib import Path

from bundle.reading.radiograph_error import refusal

# Looked for anywhere, and read strictly: ITK takes a line break for a space, and keys of 500 characters for cut ones.
_KEY = b"ElementDataFile"
_ACCEPTED = re.compile(
    _KEY + rb"[ \t]{0,40}[=:][ \t]{0,40}(?!LIST)(?!.*\.\.)[^\s/\\%:][^/\\%:\x00-\x1f\x7f]{0,250}\r?(?:\n|$)"
)
_NAMED = re.compile(_KEY + rb"[ \t]{0,40}[=:][ \t]{0,40}([^\x00-\x1f\x7f]{1,250})")
_HEADER_BYTES = 2**16


def pixels_beside(path: Path) -> list[Path]:
    """The files that a MetaImage header takes its pixels from, beside its own; none for any other image."""
    if not path.name.lower().endswith((".mha", ".mhd")):
        return []
    with path.open("rb") as file:
        names = [name.decode("latin-1").strip() for name in _NAMED.findall(file.read(_HEADER_BYTES))]
    return [path.with_name(name) for name in names if name != "LOCAL" and "/" not in name]


def refuse_pixels_elsewhere(path: Path) -> None:
    """Accept pixels in the file itself, or in one file of a plain name beside it.

    Args:
        path: the MetaImage file (.mha, .mhd).

    Raises:
        RadiographError: it names a path, a list or a pattern.
    """
    content = path.read_bytes()
    if len(_ACCEPTED.findall(content)) != content.count(_KEY):
        found = "the MetaImage header takes its pixels from another folder, a list or a pattern of files"
        raise refusal(path, found, "Wanted ElementDataFile = LOCAL, or the plain name of one file beside it")
