"""The engine: a source's records and a folder of images become a datalist that passes its own check.

Of an image some hundred bytes are in memory, whatever is said of it: records and entries wait on disk (`Spool`).
"""

from __future__ import annotations

import logging
import os
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from tqdm import tqdm

from bundle.data.datalist_check import EntryFaults, Place, check_findings
from bundle.data.datalist_fault import DatalistError, Fault
from bundle.data.datalist_text import write_datalist
from bundle.data.repeated_boxes import Repeats, without_repeats
from bundle.data.report_labels import labelled
from bundle.data.sources.faults import Faults
from bundle.data.sources.findings import with_findings
from bundle.data.sources.image_index import ImageIndex
from bundle.data.sources.placing import place_boxes
from bundle.data.sources.record import Reading, Record
from bundle.data.sources.sections import Sections
from bundle.data.sources.seen_headers import SeenHeaders
from bundle.data.sources.spool import Digests, Numbers, Spool, Taken
from bundle.data.sources.summary import Counts, summary_lines, warnings_of
from bundle.fingerprint import file_sha256
from bundle.reading.frontal import stated_otherwise
from bundle.reading.hdf5_file import file_of
from bundle.reading.radiograph import RadiographError

__all__ = ["Options", "prepare"]

PathLike = str | os.PathLike[str]
_LOG = logging.getLogger(__name__)
_LISTED = 10


@dataclass(frozen=True)
class Options:
    """What any source may be asked for.

    Attributes:
        allow_missing: leave out images that are not there or cannot be read, and list them; otherwise they are faults.
        headers: "all" looks at the header of every image, a millisecond or two each, so that what the datalist's check
            would refuse is told or left out now; "boxed" looks at those with boxes alone, whose size is needed.
        laterals: keep what is no frontal chest radiograph by the table's view or the image's header.
        findings: to keep, in this order; None keeps all.
        rename: the source's name of a finding -> another.
        validation: share of the patients.
        test: share of the patients.
        seed: of the split.
        labels_from_reports: "mentioned" or "all" makes labels of reports too (`bundle.data.report_labels.labelled`).
    """

    allow_missing: bool = False
    headers: str = "all"
    laterals: bool = False
    findings: Sequence[str] | None = None
    rename: Mapping[str, str] | None = None
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    labels_from_reports: str | None = None


class _Images:
    """What was found of the images.

    Attributes:
        entries: the datalist's, of those that stay.
        records: of each, the number of its record.
        left_out: reason -> number.
        missing: those that are not there or cannot be read, as the table names them.
        clipped: how many boxes were.
        unnamed: how many files of the folder no record names.
        named: which of them are.
        claimed: paths that records name, below the folder.
        by: of each, the number of the record.
        faults: of the images, each with the number of its record.
        of_boxes: likewise.
    """

    def __init__(self) -> None:
        self.entries, self.records = Spool[dict[str, Any]](), array("q")
        self.left_out: Counter[str] = Counter()
        self.missing: list[str] = []
        self.clipped = self.unnamed = 0
        self.named, self.claimed, self.by = Digests(), Digests(), array("q")
        self.faults: list[tuple[int, Fault]] = []
        self.of_boxes: list[tuple[int, Fault]] = []


def prepare(reading: Reading, images: PathLike, output: PathLike, options: Options = Options()) -> Path:
    """Writes the datalist of a source.

    Its images are named relative to `images`: where the datalist lies elsewhere, whoever reads it is told that folder
    (`base_dir` of `bundle.data.datalist.load_datalist`, `image_dir` in the configs). Headers that were looked at are
    remembered beside the datalist until that is written (`SeenHeaders`): an interrupted run goes on where it was.

    Args:
        reading: the source's tables.
        images: folder of the images; its sub-folders are searched.
        output: the JSON file to write.
        options: what is asked for.

    Returns:
        The datalist's path.

    Raises:
        ValueError: options that cannot be meant.
        FileNotFoundError: no such folder.
        SourceError: images that are missing, in two places or unreadable, boxes outside their image, patients in two
            sections; all of them are named.
        DatalistError: anything else that the datalist's check refuses, such as a link that leaves the folder.
    """
    if options.headers not in ("all", "boxed"):
        raise ValueError(f"Found headers {options.headers!r}; wanted all or boxed.")
    if options.labels_from_reports is not None:
        reading = labelled(reading, options.labels_from_reports)
    for note in reading.notes:
        _LOG.info(note)
    files = {file.name: file_sha256(file) for file in reading.files}
    reading = with_findings(reading, options.rename, options.findings)
    folder = Path(images)
    faults = Faults()
    with SeenHeaders(Path(output), folder) as seen:
        found = _find(reading.records, folder, seen, options, faults)
    sections = _divided(reading.records, found.records, options, faults)
    faults.refuse()

    counts = _checked(found.entries, sections, reading.findings, folder, output)
    left_out = {**{f"rows, {reason}": number for reason, number in reading.dropped.items() if number}, **found.left_out}
    source = {
        "tables": files,
        "notes": list(reading.notes),
        "split": _split(reading.records, options),
        "counts": counts,
        "left_out": left_out,
        "clipped_boxes": found.clipped,
        "missing_images": found.missing,
    }
    document: dict[str, Any] = {
        "description": _description(reading.title, counts["all"]),
        "source": source,
        "findings": list(reading.findings),
        **{name: Taken(found.entries, numbers) for name, numbers in sections.items()},
    }
    write_datalist(output, document)
    seen.forget()
    for line in summary_lines(source):
        _LOG.info(line)
    if found.missing:
        more = f", and {len(found.missing) - _LISTED} more" if len(found.missing) > _LISTED else ""
        _LOG.info(f"Missing or unreadable: {', '.join(found.missing[:_LISTED])}{more} (all: source.missing_images).")
    if found.unnamed:
        _LOG.info(f"In {folder}: {found.unnamed:,} files that no row names.")
    for warning in warnings_of(counts):
        _LOG.warning(warning)
    _LOG.info(f"{output}: images are named relative to {folder}, to be given as --image_dir.")
    return Path(output)


def _find(records: Sequence[Record], folder: Path, seen: SeenHeaders, options: Options, faults: Faults) -> _Images:
    """The images of the records, and how they lie; with the boxes placed in them."""
    index = ImageIndex(folder)
    if not index:
        faults.add(str(folder), "images", "no file", "the images; is it another folder, or not unpacked?")
        faults.refuse()
    found = _Images()
    told = tqdm(records, desc="Images", unit="image", disable=None)  # None: not unless on a terminal
    for number, record in enumerate(told):
        where = record.where or record.image
        if not options.laterals and record.view and (reason := _no_frontal(record.view)):
            found.left_out[f"images, by the table's view: {reason}"] += 1
            continue
        paths = index.find(record.image)
        if not paths:
            if options.allow_missing:
                found.missing.append(record.image)
                found.left_out["images that are missing"] += 1
            else:
                wanted = f"such a file in {folder} or below it, or --allow_missing to leave these images out"
                fault = Fault(where, "image", f"{record.image}, which is not there", wanted)
                found.faults.append((number, fault))
            continue
        if len(paths) > 1:
            wanted = "each image once: name one's folder as --images"
            found.faults.append((number, Fault(where, "image", " and ".join(paths[:3]), wanted)))
            continue
        found.claimed.add(paths[0])
        found.by.append(number)
        found.named.add(str(file_of(folder / paths[0])))
        size = None
        if options.headers == "all" or record.boxes:
            layout = seen.layout(paths[0])
            if isinstance(layout, RadiographError):
                if options.allow_missing:
                    found.missing.append(record.image)
                    found.left_out["images that cannot be read"] += 1
                else:
                    wanted = f"a radiograph that can be read, or --allow_missing. {layout.remedy}"
                    found.faults.append((number, Fault(where, "image", f"{paths[0]}: {layout.found}", wanted)))
                continue
            if layout.not_assessed and not options.laterals:
                found.left_out[f"images, by their header: {layout.not_assessed}"] += 1
                continue
            size = layout.size
        boxes, own = list[dict[str, Any]](), Faults()
        if record.boxes and size is not None:
            boxes, cut = place_boxes(record.boxes, size, own)
            found.clipped += cut
        found.of_boxes += [(number, fault) for fault in own.all]
        found.records.append(number)
        found.entries.append(_entry(record, paths[0], boxes))
    _refuse_repeated(records, index, found)
    faults.all += [fault for _, fault in (*found.faults, *found.of_boxes)]
    found.unnamed = len(index) - found.named.distinct()
    if not len(found.entries) and not faults.all:
        faults.add(str(folder), "images", "none that stays", f"some of them; left out are {dict(found.left_out)}")
    return found


def _refuse_repeated(records: Sequence[Record], index: ImageIndex, found: _Images) -> None:
    """Images that stand before in the table become faults, and nothing else of them is told."""
    repeated: dict[int, Fault] = {}
    for place, first in found.claimed.repeated():
        record, other = records[found.by[place]], records[found.by[first]]
        what = f"{index.find(record.image)[0]}, as in {other.where or other.image}"
        repeated[found.by[place]] = Fault(record.where or record.image, "image", what, "each image once")
    found.faults = [(number, fault) for number, fault in found.faults if number not in repeated]
    found.faults = sorted([*found.faults, *repeated.items()], key=itemgetter(0))
    found.of_boxes = [(number, fault) for number, fault in found.of_boxes if number not in repeated]
    found.records = array("q", (number for number in found.records if number not in repeated))


@cache  # a handful of words
def _no_frontal(view: str) -> str | None:
    """Why a view, in DICOM's words or a table's, is no frontal one; None where it is, or is not known."""
    header = Dataset()
    with disable_value_validation():
        header.ViewPosition = view
        return stated_otherwise(header)


def _divided(records: Sequence[Record], numbers: Sequence[int], options: Options, faults: Faults) -> dict[str, Numbers]:
    """The places of the records of these numbers, by section."""
    sections = Sections(options.validation, options.test, options.seed)
    for record in Taken(records, np.array(numbers, np.int64)):
        sections.add(record.patient, record.split)

    def where(place: int) -> str:
        record = records[numbers[place]]
        return record.where or record.image

    return sections.numbers(where, faults)


def _checked(
    entries: Sequence[dict[str, Any]],
    sections: Mapping[str, Numbers],
    findings: Sequence[str],
    folder: Path,
    output: PathLike,
) -> dict[str, Any]:
    """The counts of the sections and of all, once every entry has passed the datalist's check.

    Raises:
        DatalistError: some have not.
    """
    names, faults = check_findings({"findings": list(findings)})
    of_entry = EntryFaults(names, folder.absolute(), (), None, alone=True)
    counts = {name: Counts() for name in (*sections, "all")}
    files, repeats = Digests(), Repeats()
    for name, numbers in sections.items():
        for index, number in enumerate(numbers):
            place = Place(name, index, entries[int(number)])
            own = of_entry.of(place)
            faults += own
            files.add(str(place.real or place.short))
            if not own:
                counts[name].add(place.entry)
                counts["all"].add(place.entry)
                without_repeats(place.entry.get("boxes", []), repeats)
    flat = ((name, index) for name, numbers in sections.items() for index in range(len(numbers)))
    if again := dict(files.repeated()):  # links: of one path each is there once
        wanted = {*again.keys(), *again.values()}
        short = {place: f"{name}[{index}]" for place, (name, index) in enumerate(flat) if place in wanted}
        faults += [Fault(short[n], "image", f"the image of {short[of]}", "each image once") for n, of in again.items()]
    if faults:
        raise DatalistError.of(output, faults)
    if repeats.lesions:
        _LOG.warning("The datalist: %s", repeats)
    return {name: count.of(findings) for name, count in counts.items()}


def _entry(record: Record, path: str, boxes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entry of an image; what is unknown is left out."""
    entry = {
        "image": path,
        "patient_id": record.patient,
        "report": record.report,
        "labels": dict(record.labels),
        "boxes": list(boxes),
        "boxed": sorted(record.boxed),
        "readers": list(record.readers),
        "sex": record.sex,
        "age": record.age,
        "view": record.view,
        "site": record.site,
        "vendor": record.vendor,
    }
    return {key: value for key, value in entry.items() if value not in (None, "", [], {})}


def _split(records: Sequence[Record], options: Options) -> str:
    fixed = sum(bool(record.split) for record in records)
    own = f"the source's own for {fixed:,} of {len(records):,} images"
    by_hash = f"by patient, validation {options.validation}, test {options.test}, seed {options.seed}"
    return own if fixed == len(records) else f"{own}, the others {by_hash}" if fixed else by_hash


def _description(title: str, every: Mapping[str, Any]) -> str:
    """For the report, which shows it."""
    return (
        f"{title}: {every['images']:,} radiographs of {every['patients']:,} patients, {every['boxes']:,} boxes on "
        f"{every['boxed_images']:,} images."
    )
