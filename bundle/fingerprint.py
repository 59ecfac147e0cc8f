"""A file known by its content."""

import hashlib
from pathlib import Path


def file_fingerprint(path: str | Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
