"""The radiographs of a studies folder as links in a folder of the server's own: the originals are never written."""

import json
import logging
import os
import re
from collections.abc import Collection
from pathlib import Path

from bundle.atomic import write_json
from bundle.data.folder import folder_files, refuse_by_place
from bundle.data.output_names import SUFFIXES
from bundle.label.refusal import RefusedError
from bundle.reading.dicom_header import MAX_PIXELS
from bundle.reading.radiograph import RadiographError, stored_size

logger = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^\w.\-+=@#() ]")


Refused = dict[str, tuple[int, int, str]]  # path -> mtime in ns, size, reason


def link_radiographs(
    studies: Path,
    view: Path,
    drawn_on: Collection[str] = (),
    refused: Refused | None = None,
    work: Path | None = None,
) -> int:
    """Link every radiograph in `studies` and its subfolders into the flat folder `view`, if it is not linked yet.

    A link is called as the file's path below `studies`, with "__" for "/", and gets ".dcm" where it has no suffix of a
    known format. Links stay as they are from run to run, because labels belong to them by name; those whose file is
    gone are removed, unless something is drawn on it: the file may be back soon, and must get its old name then.

    Passed over are files that no header check accepts, links that lead out of `studies`, and what lies in a folder
    called `labels`: there MONAI Label keeps masks, in `labels/final` and `labels/original`, which look like images.

    Args:
        studies: the folder with radiographs.
        view: made if missing.
        drawn_on: names with labels.
        refused: the files that no header check has accepted yet: as long as they stay as they are, they are not read
            again. Is brought up to date; those that the disk did not give have the time and size -1.
        work: the server's folder. Nothing in it is a study, wherever it lies; passed_over.json in it lists what was
            passed over, [{"file", "reason"}]. None writes no list, and takes the view for all that is the server's.

    Returns:
        How many links were made or removed.
    """
    root = studies.resolve()
    view.mkdir(parents=True, exist_ok=True)
    refused = {} if refused is None else refused
    linked, names = set(), set()
    removed = 0
    for link in view.iterdir():
        stale = link.is_symlink() and (not link.exists() or _among_masks(link.readlink(), root))
        if stale and _split(link.name)[0] not in drawn_on:
            link.unlink()
            removed += 1
            continue
        names.add(_split(link.name)[0].casefold())
        if link.is_symlink():
            linked.add(str(link.readlink()))
    made, passed_over = 0, {}
    for file in folder_files(root):  # none where the folder is away: radiographs may be uploaded, or come later
        if str(file) in linked or (work or view).resolve() in file.parents:
            continue
        if reason := _no_radiograph(file, root, refused):
            passed_over[file.relative_to(root).as_posix()] = reason
            continue
        stem, suffix = _split(_UNSAFE.sub("_", "__".join(file.relative_to(root).parts)))
        stem, number = stem.lstrip(".")[-180:] or "_", 1  # the server takes names of up to 200 characters
        name = stem
        while name.casefold() in names:  # scan.dcm beside scan.png
            name = f"{stem}~{(number := number + 1)}"
        names.add(name.casefold())
        (view / f"{name}{suffix}").symlink_to(file)
        made += 1
    if work is not None:
        _write_list(work / "passed_over.json", passed_over)
    if made:
        logger.info("Studies: %d radiographs new, %d files passed over (passed_over.json).", made, len(passed_over))
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


def _split(name: str) -> tuple[str, str]:
    """(stem, suffix), the suffix in lower case; a name without a known suffix gets DICOM's."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], suffix
    return name, ".dcm"


def _no_radiograph(file: Path, root: Path, refused: Refused) -> str:
    """Why a file of the studies is passed over, "" if it is not; what is wrong with it, and not its disk, is noted."""
    if _among_masks(file, root):
        return "in a folder called labels, where masks are kept"
    if not file.resolve().is_relative_to(root):
        return "a link that leads out of the studies"
    try:
        status = file.stat()
        mark = (status.st_mtime_ns, status.st_size)
        if refused.get(str(file), ())[:2] == mark:
            return refused[str(file)][2]
        refuse_by_place(file, root)
        stored_size(file)
    except FileNotFoundError:
        return "gone since it was listed"
    except RadiographError as error:
        refused[str(file)] = (-1, -1, "") if away(error) else (*mark, error.found)  # of no file: it is read again
        return error.found or "not to be read at present"
    refused.pop(str(file), None)
    return ""


def _among_masks(file: Path, root: Path) -> bool:
    return file.is_relative_to(root) and "labels" in (part.casefold() for part in file.relative_to(root).parts[:-1])


def _write_list(file: Path, passed_over: dict[str, str]) -> None:
    content = [{"file": name, "reason": reason} for name, reason in sorted(passed_over.items())]
    if not file.is_file() or json.loads(file.read_text(encoding="utf-8")) != content:
        write_json(file, content)
