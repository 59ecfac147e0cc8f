"""The queue's files: what tells two objects apart, what is on the disk itself, what goes when an object is done."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def content_hash(file: Path) -> str:
    """The SHA-256 of a DICOM file's data set as it is encoded.

    The file's head, the preamble and group 0002, is left out, for the receiver writes it. So the same radiograph in
    another transfer syntax is other content.

    Raises:
        OSError: the file can't be read.
    """
    with file.open("rb", buffering=0) as stream:  # so that what is hashed begins where it seeks
        head = stream.read(144)  # preamble, DICM, and (0002,0000) UL, the length of the rest of group 0002
        has_head = head[128:132] == b"DICM" and head[132:138] == b"\x02\x00\x00\x00UL"
        stream.seek(144 + int.from_bytes(head[140:144], "little") if has_head else 0)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until the file or folder is on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_results(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder of results, and the folder unless a file of others lies in it."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
