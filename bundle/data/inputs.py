"""The radiographs of a folder, for inference: which files to read."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bundle.atomic import write_json
from bundle.data.output_names import DICOM_ENDINGS, SUFFIXES
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph, stored_size

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

ACCEPTED = f"DICOM files with or without extension, and {', '.join(SUFFIXES)}"
CHECKS = ("pixels", "header", "none")
# What SaveFindingsd writes: an output folder inside the input folder must not be read the next time.
_OWN = ("_overlay.png", "_map.nii.gz")


def radiograph_files(
    source: PathLike,
    patterns: Sequence[str] = ("*",),
    check: str = "pixels",
    unreadable: PathLike | None = None,
    anonymous: bool = False,
    options: ReadingOptions | Mapping[str, Any] | None = None,
) -> list[str]:
    """Paths of the radiographs in a folder and its subfolders, or of one file.

    Candidates are files with one of `SUFFIXES`, and files without one that begin as DICOM does. Hidden files, DICOMDIR,
    what `SaveFindingsd` and `SaveDicomResultsd` wrote, and folders that are links are passed over. A candidate that
    cannot be read as one grey radiograph is logged and left out, so that it does not stop the others later.

    Args:
        source: a folder, or one file, which must then be readable.
        patterns: only names that match one of these (fnmatch, upper and lower case alike).
        check: "pixels" reads every candidate, which finds all that is wrong and takes the time of a second reading;
            "header" finds what headers show, in a millisecond a file; "none" checks nothing.
        unreadable: JSON file for the list of what was left out, [{"file", "reason"}]; None writes none.
        anonymous: whether to keep the names of files out of that list and of the log: in place of "file" stands
            "candidate", the file's number among all candidates, sorted, from 1.
        options: with which "pixels" reads, the section `reading` of the configuration.

    Returns:
        The paths, sorted; below `source` as it was given.

    Raises:
        FileNotFoundError: there is no such folder or file.
        RadiographError: `source` is one file that is not a radiograph.
        ValueError: the folder holds no readable radiograph, or `check` is unknown.
    """
    if check not in CHECKS:
        raise ValueError(f"radiograph_files: check must be one of {', '.join(CHECKS)}, got {check!r}")
    source, chosen = Path(source), ReadingOptions.of(options)
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file or folder. Wanted radiographs: {ACCEPTED}")
    if source.is_file():
        _check(source, check, chosen)
        return [str(source)]
    candidates = [p for p in _walk(source) if any(fnmatch(p.name.lower(), pattern.lower()) for pattern in patterns)]
    readable: list[str] = []
    refused: list[dict[str, str | int]] = []
    for number, path in enumerate(candidates, start=1):
        try:
            _check(path, check, chosen)
            readable.append(str(path))
        except RadiographError as error:
            reason = str(error).removeprefix(f"{path}: ")
            if anonymous:  # libraries' messages, which may be part of the reason, quote the file
                reason = reason.replace(str(path), "the file").replace(path.name, "the file")
            logger.warning("Left out: %s", f"candidate {number}: {reason}" if anonymous else error)
            place = {"candidate": number} if anonymous else {"file": path.relative_to(source).as_posix()}
            refused.append({**place, "reason": reason})
    if unreadable is not None:
        write_json(unreadable, refused)
    if not readable:
        found = f"{len(refused)} files, none readable; the first: {refused[0]}" if refused else "no such file in it"
        raise ValueError(f"{source}: {found}. Wanted at least one radiograph: {ACCEPTED}")
    logger.info("%s: %d radiographs, %d files left out.", source, len(readable), len(refused))
    return readable


def radiograph_samples(
    source: PathLike,
    patterns: Sequence[str] = ("*",),
    check: str = "pixels",
    unreadable: PathLike | None = None,
    anonymous: bool = False,
    options: ReadingOptions | Mapping[str, Any] | None = None,
) -> list[dict[str, str]]:
    """`radiograph_files` as the items of a MONAI Dataset: [{"image": path}, ...]. Arguments and errors are the same."""
    return [{"image": path} for path in radiograph_files(source, patterns, check, unreadable, anonymous, options)]


def _walk(folder: Path) -> Iterable[Path]:
    """Candidates, in sorted order."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in names if not name.startswith(".")]
    return [path for path in sorted(found) if _is_candidate(path)]


def _is_candidate(path: Path) -> bool:
    name = path.name.lower()
    if name == "dicomdir" or name.endswith(_OWN) or _is_result(path):
        return False
    if not path.is_file():  # a pipe would be waited for without end
        return False
    if name.endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _is_result(path: Path) -> bool:
    """Whether SaveDicomResultsd wrote it, with a JSON beside it: a user's radiograph may be called scan_sc.dcm too."""
    ending = next((ending for ending in DICOM_ENDINGS.values() if path.name.endswith(ending)), None)
    return ending is not None and path.with_name(f"{path.name.removesuffix(ending)}.json").is_file()


def _check(path: Path, check: str, options: ReadingOptions) -> None:
    if check == "pixels":
        read_radiograph(path, options)
    elif check == "header":
        stored_size(path)
