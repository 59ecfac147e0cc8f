"""The radiographs of a studies folder as links in a folder of the server's own: the originals are never written."""

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle.data.inputs import radiograph_files
from bundle.data.output_names import SUFFIXES
from bundle.label.refusal import RefusedError
from bundle.transforms.radiograph import RadiographError, stored_size

logger = logging.getLogger(__name__)

MAX_PIXELS = 100_000_000  # five times a large radiograph
_UNSAFE = re.compile(r"[^\w.\-+=@#() ]")


def link_radiographs(studies: Path, view: Path) -> int:
    """Link every radiograph in `studies` and its subfolders into the flat folder `view`, if it is not linked yet.

    A link is called as the file's path below `studies`, with "__" for "/", and gets ".dcm" where it has no suffix of a
    known format. Links stay as they are from run to run, because labels belong to them by name; those whose file is
    gone are removed. Files that no header check accepts are left out, and so are links that lead out of `studies`.

    Args:
        studies: the folder with radiographs.
        view: made if missing.

    Returns:
        How many links were made or removed.
    """
    root = studies.resolve()
    view.mkdir(parents=True, exist_ok=True)
    linked, names = set(), set()
    removed = 0
    for link in view.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()
            removed += 1
            continue
        names.add(_split(link.name)[0].casefold())
        if link.is_symlink():
            linked.add(str(link.readlink()))
    try:
        files = radiograph_files(root, check="none")
    except ValueError:  # an empty folder: radiographs may be uploaded, or come later
        files = []
    made = refused = 0
    for file in map(Path, files):
        if str(file) in linked or view.resolve() in file.parents:
            continue
        if not file.resolve().is_relative_to(root) or not _readable(file):
            refused += 1
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
        logger.info("Studies: %d radiographs new, %d files left out as unreadable.", made, refused)
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


@contextmanager
def upload_removed_on_error(path: str | os.PathLike[str]) -> Iterator[None]:
    """Remove a file that was uploaded when the block fails: MONAI Label does so after an answer, not after an error."""
    try:
        yield
    except Exception:
        if Path(path).parent == Path(tempfile.gettempdir()):
            Path(path).unlink(missing_ok=True)
        raise


def inside(path: str | os.PathLike[str], *folders: str | os.PathLike[str]) -> bool:
    """Whether a path, its links followed, lies in one of the folders."""
    return any(Path(path).resolve().is_relative_to(Path(folder).resolve()) for folder in folders)


def _split(name: str) -> tuple[str, str]:
    """(stem, suffix), the suffix in lower case; a name without a known suffix gets DICOM's."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], suffix
    return name, ".dcm"


def _readable(file: Path) -> bool:
    try:
        stored_size(file)
    except RadiographError:
        return False
    return True
