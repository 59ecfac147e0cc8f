"""A file known by its content."""

import hashlib
from pathlib import Path


def file_sha256(path: str | Path) -> str:
    """A file's SHA-256, in hexadecimal digits.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_fingerprint(path: str | Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return file_sha256(path)[:16]
