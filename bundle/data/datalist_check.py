"""Checks a whole datalist: its findings, every entry, every image, and what entries must not share."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from bundle.data.datalist_entry import entry_complaints, nearest, patient_name, show
from bundle.data.datalist_fault import DatalistError, Fault
from bundle.data.readers import reader_complaints
from bundle.data.repeated_boxes import Repeats, without_repeats
from bundle.reading.hdf5_file import file_of
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import Layout, RadiographError, check_radiograph

logger = logging.getLogger(__name__)

THE_FILE = "the file"
_USUAL = ("training", "validation", "test")  # sections by their names, even where they are empty
_Header = tuple[tuple[int, int], str | None]  # (H, W), and why the image is no frontal chest radiograph


@dataclass
class _Place:
    """An entry, where it stands and where its image lies."""

    section: str
    index: int
    entry: dict[str, Any]
    image: Path | None = None  # absolute; None where the path is refused
    layout: Layout | None = None  # where the image was looked at

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the image."""
        return None if self.layout is None else self.layout.size

    @property
    def short(self) -> str:
        """Section and index."""
        return f"{self.section}[{self.index}]"

    @property
    def where(self) -> str:
        """Section, index and image, for a message."""
        image = self.entry.get("image")
        return f"{self.short} ({image})" if isinstance(image, str) and image else self.short


def parse_document(path: Path) -> tuple[dict[str, Any], list[Fault]]:
    """Reads the JSON text.

    Args:
        path: the file.

    Returns:
        The document, and the faults of keys that stand twice in one object, where JSON keeps the last silently.

    Raises:
        DatalistError: for a file that is missing or is not JSON, naming line and column.
    """
    repeated: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return result

    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        found = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise DatalistError.of(path, [Fault(THE_FILE, "JSON", found, "valid JSON")]) from error
    except RecursionError as error:
        found = "lists or objects nested without end"
        raise DatalistError.of(path, [Fault(THE_FILE, "JSON", found, "valid JSON")]) from error
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8 at position {error.start}"
        raise DatalistError.of(path, [Fault(THE_FILE, "JSON", found, "UTF-8 text")]) from error
    except ValueError as error:  # a number of thousands of digits
        raise DatalistError.of(path, [Fault(THE_FILE, "JSON", str(error), "valid JSON")]) from error
    except OSError as error:
        found = f"no readable file ({error.strerror or type(error).__name__})"
        raise DatalistError.of(path, [Fault(THE_FILE, "path", found, "a datalist in JSON")]) from error
    if not isinstance(document, dict):
        fault = Fault(THE_FILE, "JSON", f"a {type(document).__name__}", "an object with findings and sections")
        raise DatalistError.of(path, [fault])
    return document, [Fault(THE_FILE, key, "this key twice in one object", "each key once") for key in repeated]


def check_document(
    document: dict[str, Any],
    base: Path,
    findings: Sequence[str],
    needing: Sequence[str],
    reading: ReadingOptions | None,
    skips: bool = False,
) -> tuple[list[str], dict[str, list[dict[str, Any]]], list[Fault]]:
    """Checks a parsed datalist.

    Args:
        document: the parsed file.
        base: the data folder, absolute and without "..".
        findings: findings that it must have.
        needing: sections whose entries need a report.
        reading: with which the images will be read; None does not look at them.
        skips: whether an image that cannot be read, or is no frontal chest radiograph, is no fault.

    Returns:
        The findings, the normalised entries by section (see `Datalist`), and the faults; with faults, the first two
        are not to be used.
    """
    names, faults = check_findings(document, findings)
    sections: dict[str, list[_Place]] = {}
    for key, value in document.items():
        is_section = isinstance(value, list) and any(isinstance(item, dict) for item in value)
        if key == "findings" or not (is_section or key in _USUAL):
            continue
        if not isinstance(value, list):
            faults.append(Fault(THE_FILE, key, show(value), "a list of entries"))
            continue
        sections[key] = []
        for index, entry in enumerate(value):
            if isinstance(entry, dict):
                sections[key].append(_Place(key, index, entry))
            else:
                faults.append(Fault(f"{key}[{index}]", "entry", show(entry), "an object with image and patient_id"))
    for section in needing:
        if section not in sections and section not in _USUAL:
            faults.append(Fault(THE_FILE, section, "no such section", "it, as its reports are required"))
    if not sections:
        faults.append(Fault(THE_FILE, "sections", ", ".join(document) or "nothing", "training, validation or test"))

    places = [place for section in sections.values() for place in section]
    by_entry: dict[str, list[Fault]] = {place.short: [] for place in places}
    for place, field, found, wanted in _image_complaints(places, base, reading, skips):
        by_entry[place.short].append(Fault(place.where, field, found, wanted))
    for place in places:
        needs_report = place.section in needing
        own = entry_complaints(place.entry, names or None, place.size, needs_report=needs_report)
        for complaint in (*own, *reader_complaints(place.entry)):
            by_entry[place.short].append(Fault(place.where, *complaint))
    for place, field, found, wanted in _patient_complaints(sections):
        by_entry[place.short].append(Fault(place.where, field, found, wanted))
    faults += [fault for entry_faults in by_entry.values() for fault in entry_faults]
    if faults:
        return names, {}, faults
    repeats = Repeats()
    entries = {key: [_normalised(place, repeats) for place in value] for key, value in sections.items()}
    if repeats.lesions:
        logger.warning("The datalist: %s", repeats)
    return names, entries, faults


def check_findings(document: dict[str, Any], asked: Sequence[str] = ()) -> tuple[list[str], list[Fault]]:
    """The file's findings, and what is wrong with them, or with those `asked` for."""
    value = document.get("findings")
    if not (isinstance(value, list) and value and all(isinstance(name, str) and name for name in value)):
        return [], [Fault(THE_FILE, "findings", show(value), "a list of names")]
    faults = [
        Fault(THE_FILE, "findings", f"{name} {value.count(name)} times", "each finding once")
        for name in dict.fromkeys(value)
        if value.count(name) > 1
    ]
    distinct = list(dict.fromkeys(value))
    if "mean" in distinct:
        faults.append(
            Fault(THE_FILE, "findings", "mean", "another name: figures of all findings together are called so")
        )
    for name in distinct:
        for other in distinct:
            if name.startswith(f"{other}/"):  # n_excluded/Mass/unboxed: of Mass, or of "Mass/unboxed"?
                found, wanted = f"{other} and {name}", "other names: figures of the two would have the same keys"
                faults.append(Fault(THE_FILE, "findings", found, wanted))
    for name in asked:
        if name not in value:
            wanted = f"{name}, which the configuration asks for{nearest(name, value)}"
            faults.append(Fault(THE_FILE, "findings", ", ".join(value), wanted))
    for name in dict.fromkeys(asked):
        if list(asked).count(name) > 1:
            faults.append(Fault("the configuration", "findings", f"{name} more than once", "each finding once"))
    return value, faults


def _image_complaints(
    places: Sequence[_Place], base: Path, reading: ReadingOptions | None, skips: bool
) -> Iterable[tuple[_Place, str, str, str]]:
    """The faults of paths and image files; fills in `image` and `layout` of each place."""
    real_folder = cache(Path.resolve)  # a data set has many files in few folders
    real_base = real_folder(base)
    first: dict[Path, _Place] = {}
    readable: list[tuple[_Place, Path]] = []
    for place in places:
        image = place.entry.get("image")
        if not isinstance(image, str) or not image or "\0" in image:
            yield place, "image", show(image), "the path of an image file"
            continue
        path = Path(os.path.normpath(base / image))
        if not path.is_relative_to(base):
            yield place, "image", "a path that leaves the data folder", f"a file inside {base}"
            continue
        try:
            real = path.resolve() if path.is_symlink() else real_folder(path.parent) / path.name
        except OSError as error:  # too long a name, a folder that may not be entered
            found = f"a path that cannot be looked at ({error.strerror or type(error).__name__})"
            yield place, "image", found, "the path of an image file"
            continue
        if not real.is_relative_to(real_base):
            yield place, "image", "a link that leaves the data folder", f"a file inside {base}"
            continue
        if real in first:
            yield place, "image", f"the image of {first[real].short}", "each image once"
        first.setdefault(real, place)
        place.image = path
        readable.append((place, path))
    if reading is not None:
        for place, file in readable:  # not in threads: headers are parsed in Python, and threads halve its speed
            layout = _layout_or_error(file, reading)
            if isinstance(layout, RadiographError):
                if not skips:
                    yield place, "image", layout.found, f"a radiograph that can be read. {layout.remedy}"
                continue
            place.layout = layout
            if layout.not_assessed and not skips:
                wanted = 'a frontal chest radiograph, or reading#frontal "any" to use all'
                yield place, "image", layout.not_assessed, wanted


def _layout_or_error(path: Path, reading: ReadingOptions) -> Layout | RadiographError:
    """How the image lies, or why it cannot be read."""
    try:
        stamp = file_of(path).stat()
    except OSError:
        return _read_layout(path, None, reading)  # the reader has the words for it
    return _read_layout(path, (stamp.st_mtime_ns, stamp.st_size), reading)


@lru_cache(maxsize=2**18)
def _read_layout(path: Path, version: tuple[int, int] | None, reading: ReadingOptions) -> Layout | RadiographError:
    """`_layout_or_error`, remembered: `version`, not used otherwise, makes a changed file a new one."""
    try:
        return check_radiograph(path, reading)
    except RadiographError as error:
        return error


def _patient_complaints(sections: dict[str, list[_Place]]) -> Iterable[tuple[_Place, str, str, str]]:
    """Patients in two sections, each told once per section; where they are and not who they are."""
    first: dict[str, _Place] = {}
    told: set[tuple[str, str]] = set()
    for section, places in sections.items():
        for place in places:
            patient = place.entry.get("patient_id")
            if not isinstance(patient, (str, int)) or not (name := patient_name(patient)):
                continue
            other = first.setdefault(name, place)
            if other.section != section and (name, section) not in told:
                told.add((name, section))
                yield place, "patient_id", f"the patient of {other.short}", "each patient in one section only"


def _normalised(place: _Place, repeats: Repeats) -> dict[str, Any]:
    """An entry of a datalist without faults, as `Datalist` describes it."""
    entry = place.entry
    result = {
        **entry,
        "image": str(place.image),
        "patient_id": patient_name(entry["patient_id"]),
        "labels": {name: int(label) for name, label in (entry.get("labels") or {}).items()},
        "boxes": without_repeats(entry.get("boxes") or [], repeats),
        "boxed": entry.get("boxed") or [],
        "drawn": entry.get("boxes") or [],
    }
    if place.layout is not None:
        result |= {"stored_size": place.layout.size, "stored_orientation": place.layout.orientation}
    return result
