"""A file, or weights in memory, known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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


def weights_fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a state dict's names and values."""
    from torch import uint8  # for who has tensors

    digest = hashlib.sha256()
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
