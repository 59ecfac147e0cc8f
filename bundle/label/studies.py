"""The radiographs of a studies folder as links in a folder of the server's own: the originals are never written."""

import logging
import os
import re
from collections.abc import Collection
from pathlib import Path

from bundle.data.inputs import radiograph_files
from bundle.data.output_names import SUFFIXES
from bundle.label.refusal import RefusedError
from bundle.reading.dicom_header import MAX_PIXELS
from bundle.reading.radiograph import RadiographError, stored_size

logger = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^\w.\-+=@#() ]")


def link_radiographs(
    studies: Path, view: Path, drawn_on: Collection[str] = (), refused: dict[str, tuple[int, int]] | None = None
) -> int:
    """Link every radiograph in `studies` and its subfolders into the flat folder `view`, if it is not linked yet.

    A link is called as the file's path below `studies`, with "__" for "/", and gets ".dcm" where it has no suffix of a
    known format. Links stay as they are from run to run, because labels belong to them by name; those whose file is
    gone are removed, unless something is drawn on it: the file may be back soon, and must get its old name then. Files
    that no header check accepts are left out, and so are links that lead out of `studies`.

    Args:
        studies: the folder with radiographs.
        view: made if missing.
        drawn_on: names with labels.
        refused: (mtime in ns, size) of the files that no header check has accepted yet, by path: as long as they stay
            so, they are not read again. Is brought up to date.

    Returns:
        How many links were made or removed.
    """
    root = studies.resolve()
    view.mkdir(parents=True, exist_ok=True)
    refused = {} if refused is None else refused
    linked, names = set(), set()
    removed = 0
    for link in view.iterdir():
        if link.is_symlink() and not link.exists() and _split(link.name)[0] not in drawn_on:
            link.unlink()
            removed += 1
            continue
        names.add(_split(link.name)[0].casefold())
        if link.is_symlink():
            linked.add(str(link.readlink()))
    try:
        files = radiograph_files(root, check="none")
    except (ValueError, FileNotFoundError):  # empty or away: radiographs may be uploaded, or come later
        files = []
    made = 0
    for file in map(Path, files):
        if str(file) in linked or view.resolve() in file.parents:
            continue
        if not file.resolve().is_relative_to(root) or not _readable(file, refused):
            continue
        stem, suffix = _split(_UNSAFE.sub("_", "__".join(file.relative_to(root).parts)))
        stem, number = stem.lstrip(".")[-180:] or "_", 1  # the server takes names of up to 200 characters
        name = stem
        while name.casefold() in names:  # scan.dcm beside scan.png
            name = f"{stem}~{(number := number + 1)}"
        names.add(name.casefold())
        (view / f"{name}{suffix}").symlink_to(file)
        made += 1
    if made:
        logger.info("Studies: %d radiographs new, %d files left out as unreadable.", made, len(refused))
    return made + removed


def check_size(path: str | os.PathLike[str]) -> None:
    """Refuse, by its header alone, what would fill the memory: a small file can claim to be any size.

    Raises:
        RadiographError: it is no radiograph.
        RefusedError: it is too large.
    """
    height, width = stored_size(path)
    if height * width > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise RefusedError(422, f"the image has {width} x {height} pixels; more than {most} million are not looked at")


def away(error: RadiographError) -> bool:
    """Whether a radiograph could not be read for its disk's sake, and may be readable the next time."""
    cause = error.__cause__
    return isinstance(error, FileNotFoundError) or (isinstance(cause, OSError) and cause.errno is not None)


def inside(path: str | os.PathLike[str], *folders: str | os.PathLike[str]) -> bool:
    """Whether a path, its links followed, lies in one of the folders."""
    return any(Path(path).resolve().is_relative_to(Path(folder).resolve()) for folder in folders)


def _split(name: str) -> tuple[str, str]:
    """(stem, suffix), the suffix in lower case; a name without a known suffix gets DICOM's."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], suffix
    return name, ".dcm"


def _readable(file: Path, refused: dict[str, tuple[int, int]]) -> bool:
    """Whether a file's header can be read; what is wrong with the file, and not with its disk, is noted."""
    try:
        status = file.stat()
        mark = (status.st_mtime_ns, status.st_size)
        if refused.get(str(file)) == mark:
            return False
        stored_size(file)
    except FileNotFoundError:  # gone since it was listed
        return False
    except RadiographError as error:
        if not away(error):
            refused[str(file)] = mark
        return False
    refused.pop(str(file), None)
    return True
