"""Checks a whole datalist: its findings, every entry, every image, and what entries must not share."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bundle.data.datalist_entry import Complaint, entry_complaints, nearest, patient_name, show
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
class Place:
    """An entry, where it stands and where its image lies."""

    section: str
    index: int
    entry: dict[str, Any]
    image: Path | None = None  # absolute; None where the path is refused
    real: Path | None = None  # the same, links followed
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
    sections: dict[str, list[Place]] = {}
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
                sections[key].append(Place(key, index, entry))
            else:
                faults.append(Fault(f"{key}[{index}]", "entry", show(entry), "an object with image and patient_id"))
    for section in needing:
        if section not in sections and section not in _USUAL:
            faults.append(Fault(THE_FILE, section, "no such section", "it, as its reports are required"))
    if not sections:
        faults.append(Fault(THE_FILE, "sections", ", ".join(document) or "nothing", "training, validation or test"))

    places = [place for section in sections.values() for place in section]
    of_entries = EntryFaults(names, base, needing, reading, skips)
    for place in places:  # not in threads: headers are parsed in Python, and threads halve its speed
        faults += of_entries.of(place)
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


class EntryFaults:
    """The faults of entries, asked for one after another in the order of their sections.

    Args:
        names: the findings; without any, neither labels nor boxes are looked at.
        base: the data folder, absolute and without "..".
        needing: sections whose entries need a report.
        reading: with which the images will be read; None does not look at them.
        skips: whether an image that cannot be read, or is no frontal chest radiograph, is no fault.
        alone: whether each entry is looked at alone, since the caller looks for images and patients that two share, and
            nothing of an entry is kept.
    """

    def __init__(
        self,
        names: Sequence[str],
        base: Path,
        needing: Sequence[str],
        reading: ReadingOptions | None,
        skips: bool = False,
        alone: bool = False,
    ) -> None:
        self._names, self._base, self._needing = names, base, needing
        self._reading, self._skips, self._alone = reading, skips, alone
        self._real_folder = lru_cache(maxsize=16)(Path.resolve)  # files of one folder mostly follow each other
        self._real_base = base.resolve()
        self._images: dict[Path, str] = {}
        self._patients: dict[str, tuple[str, str]] = {}
        self._told: set[tuple[str, str]] = set()

    def of(self, place: Place) -> list[Fault]:
        """Those of an entry; fills in its `image`, `real` and `layout`."""
        faults = [Fault(place.where, *complaint) for complaint in self._image(place)]
        needs_report = place.section in self._needing
        own = entry_complaints(place.entry, self._names or None, place.size, needs_report=needs_report)
        for complaint in (*own, *reader_complaints(place.entry), *self._patient(place)):
            faults.append(Fault(place.where, *complaint))
        return faults

    def _image(self, place: Place) -> Iterator[Complaint]:
        image = place.entry.get("image")
        if not isinstance(image, str) or not image or "\0" in image:
            yield "image", show(image), "the path of an image file"
            return
        path = Path(os.path.normpath(self._base / image))
        if not path.is_relative_to(self._base):
            yield "image", "a path that leaves the data folder", f"a file inside {self._base}"
            return
        try:
            real = path.resolve() if path.is_symlink() else self._real_folder(path.parent) / path.name
        except OSError as error:  # too long a name, a folder that may not be entered
            found = f"a path that cannot be looked at ({error.strerror or type(error).__name__})"
            yield "image", found, "the path of an image file"
            return
        if not real.is_relative_to(self._real_base):
            yield "image", "a link that leaves the data folder", f"a file inside {self._base}"
            return
        place.image, place.real = path, real
        if not self._alone and (first := self._images.setdefault(real, place.short)) != place.short:
            yield "image", f"the image of {first}", "each image once"
        if self._reading is not None:
            layout = _layout_or_error(path, self._reading)
            if isinstance(layout, RadiographError):
                if not self._skips:
                    yield "image", layout.found, f"a radiograph that can be read. {layout.remedy}"
                return
            place.layout = layout
            if layout.not_assessed and not self._skips:
                wanted = 'a frontal chest radiograph, or reading#frontal "any" to use all'
                yield "image", layout.not_assessed, wanted

    def _patient(self, place: Place) -> Iterator[Complaint]:
        """A patient in two sections, each told once per section; where they are and not who they are."""
        patient = place.entry.get("patient_id")
        if self._alone or not isinstance(patient, (str, int)) or not (name := patient_name(patient)):
            return
        section, first = self._patients.setdefault(name, (place.section, place.short))
        if section != place.section and (name, place.section) not in self._told:
            self._told.add((name, place.section))
            yield "patient_id", f"the patient of {first}", "each patient in one section only"


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


def _normalised(place: Place, repeats: Repeats) -> dict[str, Any]:
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
