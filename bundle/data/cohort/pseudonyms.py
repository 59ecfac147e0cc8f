"""Names in place of names: the same for the same patient and image, and nobody's without the key."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path

from bundle.data.sources.faults import SourceError

__all__ = ["Pseudonyms"]

_BYTES = 32


class Pseudonyms:
    """Pseudonyms of one cohort: HMAC-SHA256 of its secret key and what is to be renamed.

    Args:
        key: the file of the key; made, for its owner alone, where there is none. Who has it can tell whether a
            pseudonym is a certain patient's: keep it where the cohort is not, and destroy it when nothing more comes.

    Raises:
        SourceError: the file is no such key, or others may read it.
    """

    def __init__(self, key: str | os.PathLike[str]) -> None:
        path = Path(key)
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_BYTES))
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SourceError(f"{path}: others may read this key; wanted a file of its owner alone: chmod 600 {path}")
        self._key = path.read_bytes()
        if len(self._key) != _BYTES:
            raise SourceError(
                f"{path}: found {len(self._key)} bytes; wanted a key of {_BYTES}, as a first run makes it"
            )

    def patient(self, patient_id: str) -> str:
        """Of a Patient ID, without the white space around it: 16 hexadecimal digits."""
        return self._of("patient", patient_id.strip())[:8].hex()

    def uid(self, uid: str) -> str:
        """Of a UID: another, below 2.25 (PS3.5 B.2)."""
        number = int.from_bytes(self._of("uid", uid.strip().rstrip("\0"))[:16])
        return f"2.25.{number}"

    def _of(self, kind: str, name: str) -> bytes:
        return hmac.digest(self._key, f"{kind}/{name}".encode(), "sha256")
