"""The radiographs of a folder, for inference: which files are read, and which are not and why."""

import logging
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bundle.atomic import write_json
from bundle.data.bad_choice import RAISE, SKIP, check_choice
from bundle.data.folder import folder_files, refuse_by_place
from bundle.data.output_names import SUFFIXES
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import radiograph_format, read_radiograph, stored_size
from bundle.reading.radiograph_error import RadiographError, UnknownFormatError

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

ACCEPTED = f"DICOM files with or without extension, and {', '.join(SUFFIXES)}"
CHECKS = ("pixels", "header", "none")


def radiograph_files(
    source: PathLike,
    patterns: Sequence[str] = ("*",),
    check: str = "pixels",
    unreadable: PathLike | None = None,
    anonymous: bool = False,
    options: ReadingOptions | Mapping[str, Any] | None = None,
    on_bad_image: str = SKIP,
    max_bad_share: float = 1.0,
) -> list[str]:
    """Paths of the radiographs in a folder and its subfolders, or of one file.

    Every file is read or listed with the reason, but for hidden files and what inference wrote itself
    (`folder_files`). What cannot be read as one grey radiograph, or by its place is none (`refuse_by_place`), is logged
    and left out, so that it does not stop the others later; files of no image format at all are logged by their number.

    Args:
        source: a folder, or one file, which must then be readable.
        patterns: only names that match one of these (fnmatch, upper and lower case alike); no other is looked at.
        check: "pixels" reads every file, which finds all that is wrong and takes the time of a second reading;
            "header" finds what headers show, in a millisecond a file; "none" looks at names and first bytes.
        unreadable: JSON file for the list of what was left out, [{"file", "reason"}]; None writes none.
        anonymous: whether to keep the names of files out of that list and of the log: in place of "file" stands
            "candidate", the file's number among all files that match, sorted, from 1.
        options: with which "pixels" reads, the section `reading` of the configuration.
        on_bad_image: "skip" leaves out what cannot be read, "raise" stops over it once the list is written. What is of
            no image format at all stops nothing.
        max_bad_share: of the files of image formats, 0..1; stops above it.

    Returns:
        The paths, sorted; below `source` as it was given.

    Raises:
        FileNotFoundError: there is no such folder or file.
        RadiographError: `source` is one file that is not a radiograph.
        ValueError: the folder holds no readable radiograph, or more that cannot be read than may be; or `check`,
            `on_bad_image` or `max_bad_share` cannot be meant.
    """
    if check not in CHECKS:
        raise ValueError(f"radiograph_files: check must be one of {', '.join(CHECKS)}, got {check!r}")
    check_choice(on_bad_image, max_bad_share)
    source, chosen = Path(source), ReadingOptions.of(options)
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file or folder. Wanted radiographs: {ACCEPTED}")
    if source.is_file():
        _check(source, check, chosen)
        return [str(source)]
    matching = [p for p in folder_files(source) if any(fnmatch(p.name.lower(), each.lower()) for each in patterns)]
    readable: list[str] = []
    refused: list[dict[str, str | int]] = []
    bad: list[dict[str, str | int]] = []
    for number, path in enumerate(matching, start=1):
        try:
            refuse_by_place(path, source)
            _check(path, check, chosen)
            readable.append(str(path))
        except RadiographError as error:
            reason = str(error).removeprefix(f"{path}: ")
            if anonymous:  # libraries' messages, which may be part of the reason, quote the file
                reason = reason.replace(str(path), "the file").replace(path.name, "the file")
            place = {"candidate": number} if anonymous else {"file": path.relative_to(source).as_posix()}
            refused.append({**place, "reason": reason})
            if not isinstance(error, UnknownFormatError):
                bad.append(refused[-1])
                logger.warning("Left out: %s", f"candidate {number}: {reason}" if anonymous else error)
    if unknown := len(refused) - len(bad):
        logger.warning("Left out: %d files of no known image format. Read are %s", unknown, ACCEPTED)
    if unreadable is not None:
        write_json(unreadable, refused)
    if not readable:
        found = f"{len(refused)} files, none readable; the first: {refused[0]}" if refused else "no such file in it"
        raise ValueError(f"{source}: {found}. Wanted at least one radiograph: {ACCEPTED}")
    share = len(bad) / (len(bad) + len(readable))
    if bad and (on_bad_image == RAISE or share > max_bad_share):
        rule = f"max_bad_share is {max_bad_share}" if on_bad_image == SKIP else 'on_bad_image is "raise"'
        listed = "" if unreadable is None else f" All are listed in {unreadable}."
        raise ValueError(
            f"{source}: {len(bad)} of {len(bad) + len(readable)} images cannot be read ({share:.2%}), and {rule}; the "
            f"first: {bad[0]}.{listed} Mend them or take them out, or allow them."
        )
    logger.info("%s: %d radiographs, %d files left out.", source, len(readable), len(refused))
    return readable


def radiograph_samples(
    source: PathLike,
    patterns: Sequence[str] = ("*",),
    check: str = "pixels",
    unreadable: PathLike | None = None,
    anonymous: bool = False,
    options: ReadingOptions | Mapping[str, Any] | None = None,
    on_bad_image: str = SKIP,
    max_bad_share: float = 1.0,
) -> list[dict[str, str]]:
    """`radiograph_files` as the items of a MONAI Dataset: [{"image": path}, ...]. Arguments and errors are the same."""
    chosen = (patterns, check, unreadable, anonymous, options, on_bad_image, max_bad_share)
    return [{"image": path} for path in radiograph_files(source, *chosen)]


def _check(path: Path, check: str, options: ReadingOptions) -> None:
    """Read as much of a file as `check` asks for; RadiographError for what it shows to be no radiograph."""
    if check == "pixels":
        read_radiograph(path, options)
    elif check == "header":
        stored_size(path)
    elif not path.name.lower().endswith(SUFFIXES):
        radiograph_format(path)
