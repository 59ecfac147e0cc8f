"""A mask and the notes that say what it shows change in one step, whatever fails and whenever the server is killed.

A new mask waits beside the earlier one, under a hidden name that holds its hash. Notes that name this hash make it the
one that counts: they come to the disk by one rename. Only then it takes the earlier one's place and name.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bundle.fingerprint import file_sha256

NOTED = "mask_sha256"
"""In a label's notes: the hash of the mask that they were written for."""
_WAITING = re.compile(r"\.[0-9a-f]{12}\..+")


def lay_beside(source: Path, mask: Path) -> str:
    """Copy a new mask to where it waits; nothing counts on it before notes name its hash.

    Args:
        source: the new mask.
        mask: the place that it is to have; the folder is made if missing.

    Returns:
        The hash for its notes.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    digest = file_sha256(source)
    mask.parent.mkdir(parents=True, exist_ok=True)
    waiting = _waiting(mask, digest)
    try:
        shutil.copyfile(source, waiting)
    except BaseException:
        waiting.unlink(missing_ok=True)
        raise
    return digest


def counting(mask: Path, notes: Mapping[str, Any]) -> Path:
    """The file that notes speak of: the one that waits, as long as it does, else the mask itself."""
    waiting = _waiting(mask, notes.get(NOTED))
    return waiting if waiting.is_file() else mask


def take_place(mask: Path, notes: Mapping[str, Any], earlier: Iterable[Path]) -> None:
    """Bring a mask whose notes are on the disk to its place; until that is done, `counting` finds it.

    Args:
        mask: its place.
        notes: of the new mask.
        earlier: masks of the same name and other formats, which go.

    Raises:
        OSError: the disk fails.
    """
    waiting = counting(mask, notes)
    if waiting != mask:
        for other in earlier:
            if other != mask:
                other.unlink(missing_ok=True)
        waiting.replace(mask)


def take_back(mask: Path, digest: str) -> None:
    """Remove what waits and never came to count."""
    _waiting(mask, digest).unlink(missing_ok=True)


def left_waiting(folder: Path) -> list[Path]:
    """What waits in a folder of masks: of a save that goes on at this moment, or of one that was ended."""
    return [file for file in folder.iterdir() if _WAITING.fullmatch(file.name)]


def _waiting(mask: Path, digest: Any) -> Path:
    mark = digest[:12] if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else "0" * 12
    return mask.with_name(f".{mark}.{mask.name}")
