"""The datalist: a JSON file of images, reports, labels and boxes, checked as a whole before anything runs.

    {"findings": ["Atelectasis", ...],
     "training": [{"image": "images/0001.dcm", "patient_id": "p1", "report": "...",
                   "labels": {"Effusion": 1, "Mass": 0},
                   "boxes": [{"finding": "Effusion", "box": [x0, y0, x1, y1]}],
                   "boxed": ["Effusion"],
                   "sex": "F", "age": 61, "view": "PA", "site": "...", "vendor": "..."}],
     "validation": [...], "test": [...]}

Where several readers drew, each box has a `reader`, and the image's `readers` are those who looked at it for all
findings (`bundle.data.readers`). The reference is what any of them saw: all boxes, those of one lesion merged into one.

`image` and `patient_id` are needed, and images lie inside the data folder. A finding without a label is unknown, unless
it has boxes: then it is present. `boxed` names the findings whose boxes are complete; other boxes may be some of
several. Every top-level list of such entries is a section, whatever its name, and no patient may be in two; white space
around `patient_id`, with which DICOM pads it, does not count. Keys that are not named here are kept and not looked at.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add
from pathlib import Path
from typing import Any, overload

import numpy as np

from bundle.data.bad_images import BadImages
from bundle.data.datalist_check import check_document, check_findings, parse_document
from bundle.data.datalist_entry import encode_entry
from bundle.data.datalist_fault import DatalistError, Fault
from bundle.data.datalist_text import table_of
from bundle.data.entries import Entries
from bundle.data.readers import boxes_by_reader
from bundle.reading.options import ReadingOptions

__all__ = [
    "Datalist",
    "DatalistError",
    "Fault",
    "check_datalist",
    "datalist_description",
    "datalist_findings",
    "datalist_section",
    "encode_entry",
    "load_datalist",
    "section_entries",
    "write_checked",
]

PathLike = str | os.PathLike[str]
SECTIONS = ("training", "validation", "test")
INFO_TEXT = ("sex", "view", "site", "vendor")


@dataclass(frozen=True)
class Datalist:
    """A checked datalist.

    Attributes:
        path: the file.
        findings: the names, in the file's order.
        sections: section name -> its entries. An entry is as in the file, but `image` is an absolute path,
            `patient_id` text without white space around it, `labels` an object of 0 and 1, `boxes` and `boxed` lists,
            a lesion that was boxed more than once having one box (`bundle.data.repeated_boxes`), and `drawn` the boxes
            as they stand in the file; where images were checked, `stored_size` is (H, W) and `stored_orientation` what
            brings its pixels upright (`orientation` of `read_radiograph`).
    """

    path: Path
    findings: list[str]
    sections: Mapping[str, Sequence[dict[str, Any]]]

    def __getitem__(self, section: str) -> Sequence[dict[str, Any]]:
        """The entries of a section."""
        return self.sections[section]


def load_datalist(
    path: PathLike,
    sections: Sequence[str] = SECTIONS,
    findings: Sequence[str] | None = None,
    require_reports: bool | Sequence[str] = False,
    check_images: bool = True,
    base_dir: PathLike | None = None,
    reading: ReadingOptions | Mapping[str, Any] | None = None,
) -> Datalist:
    """Reads a datalist and checks all of it.

    Args:
        path: the JSON file.
        sections: the sections to return; one that the file lacks is empty. All that it has are checked.
        findings: findings that the file must have.
        require_reports: the sections whose entries need a report; True stands for those that are asked for.
        check_images: whether to look at every image: that it is there, is one grey image and holds its boxes. Its
            header tells; of what is stored as colours, the pixels are read too.
        base_dir: the data folder, in which every image lies; None is the folder of the file.
        reading: with which the images will be read, the section `reading` of the configuration.

    Returns:
        The datalist, with the sections asked for.

    Raises:
        DatalistError: for a file with faults, listing every one; `faults` holds them.
    """
    needing = _needing(require_reports, sections)
    options = ReadingOptions.of(reading)
    datalist = _load(Path(path), tuple(findings or ()), needing, check_images, base_dir, options)
    return Datalist(datalist.path, datalist.findings, {name: datalist.sections.get(name, []) for name in sections})


def check_datalist(path: PathLike, **checks: Any) -> None:
    """Checks a datalist and returns nothing.

    Args:
        path: the JSON file.
        checks: the arguments of `load_datalist`.

    Raises:
        DatalistError: for a file with faults, listing every one.
    """
    load_datalist(path, **checks)


def datalist_findings(path: PathLike) -> list[str]:
    """The findings that a datalist knows; its entries and images are not looked at.

    Args:
        path: the JSON file.

    Returns:
        The names, in the file's order.

    Raises:
        DatalistError: for a file that is not JSON, or does not name each finding once.
    """
    if about := _by_table(Path(path)):
        return list(about["findings"])
    document, _ = parse_document(Path(path))
    names, faults = check_findings(document)
    if faults:
        raise DatalistError.of(path, faults)
    return names


def datalist_description(path: PathLike) -> str:
    """What a datalist says of itself, for reports; empty where it says nothing. Raises as `parse_document` does."""
    about = _by_table(Path(path)) or parse_document(Path(path))[0]
    return str(about.get("description") or "")


def datalist_section(
    path: PathLike,
    section: str | Sequence[str],
    findings: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    require_reports: bool | Sequence[str] = False,
    check_images: bool = True,
    base_dir: PathLike | None = None,
    reading: ReadingOptions | Mapping[str, Any] | None = None,
    bad_images: BadImages | None = None,
) -> Sequence[dict[str, Any]]:
    """One section of a datalist, or several in a row, as the items of a MONAI Dataset: what a configuration calls.

    The whole file is checked, once in a process while the file and the arguments stay the same; by its table, where
    `write_checked` has left one. Then each item is made when it is asked for.

    Args:
        path: the JSON file.
        section: `training`, `validation`, `test`, or another that the file has; or a list of them, such as the folds to
            train on.
        findings: the K findings, in the order of the network's outputs; None takes the file's.
        keep: keys of the entries to carry along as they are, such as `summary` or `qa`; None where one is absent.
        require_reports: as for `load_datalist`.
        check_images: as for `load_datalist`.
        base_dir: as for `load_datalist`.
        reading: as for `load_datalist`.
        bad_images: what becomes of images that cannot be read; None has them as faults.

    Returns:
        One dictionary for each entry that is taken, in the file's order: `image` (absolute path), `index` (position in
        the section, or in the sections in a row), `group` (number of its patient in them), `patient_id`,
        `report` (empty where there is none), the arrays of `encode_entry` (`label`, `boxes`, `box_finding`, `box_cnr`,
        `boxed`), `readers` (what each drew, `bundle.data.readers.boxes_by_reader`), and `info`: `sex`, `view`, `site`,
        `vendor` (empty where unknown) and `age` (NaN where unknown).

    Raises:
        DatalistError: for a file with faults, or without a section that is asked for, or one asked for twice.
        ValueError: more of its images cannot be read than `bad_images` allows.
    """
    names, entries = section_entries(
        path, section, findings, require_reports, check_images, base_dir, reading, bad_images
    )
    kept = None
    if bad_images is not None and bad_images.skips:
        kept = bad_images.kept(entries, section, _base(Path(path), base_dir), ReadingOptions.of(reading))
    items = Items(entries, names, keep, kept)
    return items if isinstance(entries, Entries) else list(items)


class Items(Sequence[dict[str, Any]]):
    """Entries as the items of a MONAI Dataset (`datalist_section`), each made when it is asked for.

    Args:
        entries: of a checked datalist.
        findings: the K findings.
        keep: keys to carry along.
        kept: places of the entries that are taken; None takes all.
    """

    def __init__(
        self,
        entries: Sequence[dict[str, Any]],
        findings: Sequence[str],
        keep: Sequence[str] = (),
        kept: Sequence[int] | None = None,
    ) -> None:
        self.entries, self.findings, self.keep = entries, list(findings), tuple(keep)
        self.kept = range(len(entries)) if kept is None else kept
        if isinstance(entries, Entries):
            self.groups = entries.patients()
        else:
            numbers = {name: n for n, name in enumerate(dict.fromkeys(entry["patient_id"] for entry in entries))}
            self.groups = np.array([numbers[entry["patient_id"]] for entry in entries], np.int32)

    def __len__(self) -> int:
        return len(self.kept)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        index = self.kept[place]
        return {**_item(self.entries[index], index, self.findings, self.keep), "group": int(self.groups[index])}


def section_entries(
    path: PathLike,
    section: str | Sequence[str],
    findings: Sequence[str] | None = None,
    require_reports: bool | Sequence[str] = False,
    check_images: bool = True,
    base_dir: PathLike | None = None,
    reading: ReadingOptions | Mapping[str, Any] | None = None,
    bad_images: BadImages | None = None,
) -> tuple[list[str], Sequence[dict[str, Any]]]:
    """What `datalist_section` makes items of: the K findings and the checked entries, to be read and not changed.

    The arguments and Raises are those of `datalist_section`; the entries are as `Datalist` describes them. Where
    `bad_images` skips, those are among them whose images cannot be read.
    """
    asked = [section] if isinstance(section, str) else list(section)
    file = Path(path).absolute()
    base = None if base_dir is None else os.fspath(base_dir)
    needing = _needing(require_reports, asked)
    skips = bad_images is not None and bad_images.skips
    arguments = (tuple(findings or ()), needing, check_images, base, ReadingOptions.of(reading), skips)
    if file.is_file():
        stamp = file.stat()
        datalist = _load_once(file, (stamp.st_mtime_ns, stamp.st_size), *arguments)
    else:
        datalist = _load(file, *arguments)  # which says what is wrong
    if faults := _section_faults(asked, datalist.sections):
        raise DatalistError.of(file, faults)
    names = list(findings) if findings is not None else datalist.findings
    parts = [datalist[name] for name in asked]
    in_table = [part for part in parts if isinstance(part, Entries)]
    return names, reduce(add, in_table) if in_table else [entry for part in parts for entry in part]


def write_checked(
    path: PathLike, base_dir: PathLike | None = None, reading: ReadingOptions | Mapping[str, Any] | None = None
) -> Datalist:
    """Checks a datalist with its images and leaves a table beside it, by which the next check takes seconds.

    Args:
        path: the JSON file.
        base_dir: as for `load_datalist`, like the next.
        reading: with which the images will be read.

    Returns:
        The datalist, with all its sections.

    Raises:
        DatalistError: for a file with faults; it has no table then.
        OSError: the table cannot be written.
    """
    from bundle.data.checked_table import write_table  # Arrow is loaded for who has a table

    file, options = Path(path), ReadingOptions.of(reading)
    table_of(file).unlink(missing_ok=True)
    base = _base(file, base_dir)
    document, names, sections = _checked(file, base, (), (), options)
    write_table(file, document, names, sections, base, options)
    return Datalist(file, names, sections)


def _by_table(path: Path) -> dict[str, Any] | None:
    """What a datalist's table says of it, if it has one."""
    if not table_of(path).is_file():
        return None
    from bundle.data.checked_table import table_about

    return table_about(path)


def _section_faults(asked: Sequence[str], sections: Collection[str]) -> list[Fault]:
    """The sections that are asked for and not there, or asked for twice."""
    has = ", ".join(sections) or "no section"
    missing = [name for name in asked if name not in sections]
    faults = [Fault("the file", name, has, f"a section {name}: a list of entries") for name in missing]
    repeated = [name for name in dict.fromkeys(asked) if list(asked).count(name) > 1]
    return faults + [Fault("the configuration", "section", f"{name} more than once", "each once") for name in repeated]


def _item(entry: dict[str, Any], index: int, findings: Sequence[str], keep: Sequence[str]) -> dict[str, Any]:
    """An entry as an item of a Dataset; every item has the same keys, so that they can be collated."""
    age = entry.get("age")
    info: dict[str, Any] = {key: entry.get(key) or "" for key in INFO_TEXT}
    info["age"] = math.nan if age is None else float(age)
    return {
        "image": entry["image"],
        "index": index,
        "patient_id": entry["patient_id"],
        "report": entry.get("report") or "",
        **encode_entry(entry, findings),
        "readers": boxes_by_reader(entry, findings),
        "info": info,
        **{key: entry.get(key) for key in keep},
    }


def _needing(require_reports: bool | Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """The sections that need reports, of those that are asked for."""
    if isinstance(require_reports, bool):
        return tuple(asked) if require_reports else ()
    return (require_reports,) if isinstance(require_reports, str) else tuple(require_reports)


@lru_cache(maxsize=8)
def _load_once(path: Path, version: tuple[int, int], *arguments: Any) -> Datalist:
    """`_load`, remembered: `version`, not used otherwise, makes a changed file a new one. The result is only read."""
    return _load(path, *arguments)


def _load(
    path: Path,
    findings: tuple[str, ...],
    needing: tuple[str, ...],
    check_images: bool,
    base_dir: PathLike | None,
    reading: ReadingOptions,
    skips: bool = False,
) -> Datalist:
    """Parses, checks and normalises the file with all of its sections; `skips` passes bad images over."""
    base = _base(path, base_dir)
    if table_of(path).is_file():
        from bundle.data.checked_table import open_table

        known = open_table(path, base, findings, needing, reading if check_images else None)
        if known is not None:
            return Datalist(path, *known)
    _, names, sections = _checked(path, base, findings, needing, reading if check_images else None, skips)
    return Datalist(path, names, sections)


def _checked(
    path: Path,
    base: Path,
    findings: Sequence[str],
    needing: Sequence[str],
    reading: ReadingOptions | None,
    skips: bool = False,
) -> tuple[dict[str, Any], list[str], dict[str, list[dict[str, Any]]]]:
    """The document, and what `check_document` makes of it where it has no faults."""
    document, faults = parse_document(path)
    names, sections, more = check_document(document, base, findings, needing, reading, skips)
    if faults + more:
        raise DatalistError.of(path, faults + more)
    return document, names, sections


def _base(path: Path, base_dir: PathLike | None) -> Path:
    """The data folder, absolute and without "..": links that come before a ".." are followed, as the system does."""
    folder = path.parent if base_dir is None else Path(base_dir)
    return folder.resolve() if ".." in folder.parts else folder.absolute()
