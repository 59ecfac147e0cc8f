"""The engine: a source's records and a folder of images become a datalist that passes its own check."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from tqdm import tqdm

from bundle.data.datalist_check import check_document
from bundle.data.datalist_fault import DatalistError
from bundle.data.datalist_text import write_datalist
from bundle.data.report_labels import labelled
from bundle.data.sources.faults import Faults
from bundle.data.sources.findings import with_findings
from bundle.data.sources.image_index import ImageIndex
from bundle.data.sources.placing import place_boxes
from bundle.data.sources.record import Reading, Record
from bundle.data.sources.sections import sections_of
from bundle.data.sources.seen_headers import SeenHeaders
from bundle.data.sources.summary import counts_of, summary_lines, warnings_of
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


@dataclass
class _Images:
    """What was found of the images.

    Attributes:
        records: those that stay.
        paths: of each, below the folder.
        sizes: (H, W) of each, None where its header was not looked at.
        left_out: reason -> number.
        missing: those that are not there or cannot be read, as the table names them.
        unnamed: how many files of the folder no record names.
    """

    records: list[Record] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int] | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    unnamed: int = 0


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
    entries, clipped = _entries(found, faults)
    sections = sections_of(found.records, options.validation, options.test, options.seed, faults)
    faults.refuse()

    listed = {name: [entries[number] for number in numbers] for name, numbers in sections.items()}
    counts = {name: counts_of(part, reading.findings) for name, part in listed.items()}
    counts["all"] = counts_of(entries, reading.findings)
    left_out = {**{f"rows, {reason}": number for reason, number in reading.dropped.items() if number}, **found.left_out}
    source = {
        "tables": files,
        "notes": list(reading.notes),
        "split": _split(reading.records, options),
        "counts": counts,
        "left_out": left_out,
        "clipped_boxes": clipped,
        "missing_images": found.missing,
    }
    document: dict[str, Any] = {
        "description": _description(reading.title, counts["all"]),
        "source": source,
        "findings": list(reading.findings),
        **listed,
    }
    _, _, own = check_document(document, folder.absolute(), (), (), None)
    if own:
        raise DatalistError.of(output, own)
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
    """The images of the records, and how they lie."""
    index = ImageIndex(folder)
    if not index:
        faults.add(str(folder), "images", "no file", "the images; is it another folder, or not unpacked?")
        faults.refuse()
    found = _Images()
    claimed: dict[str, Record] = {}
    for record in tqdm(records, desc="Images", unit="image", disable=None):  # None: not unless on a terminal
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
                faults.add(where, "image", f"{record.image}, which is not there", wanted)
            continue
        if len(paths) > 1:
            faults.add(where, "image", f"{' and '.join(paths[:3])}", "each image once: name one's folder as --images")
            continue
        if other := claimed.get(paths[0]):
            faults.add(where, "image", f"{paths[0]}, as in {other.where or other.image}", "each image once")
            continue
        claimed[paths[0]] = record
        size = None
        if options.headers == "all" or record.boxes:
            layout = seen.layout(paths[0])
            if isinstance(layout, RadiographError):
                if options.allow_missing:
                    found.missing.append(record.image)
                    found.left_out["images that cannot be read"] += 1
                else:
                    wanted = f"a radiograph that can be read, or --allow_missing. {layout.remedy}"
                    faults.add(where, "image", f"{paths[0]}: {layout.found}", wanted)
                continue
            if layout.not_assessed and not options.laterals:
                found.left_out[f"images, by their header: {layout.not_assessed}"] += 1
                continue
            size = layout.size
        found.records.append(record)
        found.paths.append(paths[0])
        found.sizes.append(size)
    found.unnamed = len(index) - len({file_of(folder / path) for path in claimed})
    if not found.records and not faults.all:
        faults.add(str(folder), "images", "none that stays", f"some of them; left out are {dict(found.left_out)}")
    return found


@cache  # a handful of words
def _no_frontal(view: str) -> str | None:
    """Why a view, in DICOM's words or a table's, is no frontal one; None where it is, or is not known."""
    header = Dataset()
    with disable_value_validation():
        header.ViewPosition = view
        return stated_otherwise(header)


def _entries(found: _Images, faults: Faults) -> tuple[list[dict[str, Any]], int]:
    """The datalist's entries, and how many boxes were clipped."""
    entries, clipped = [], 0
    for record, path, size in zip(found.records, found.paths, found.sizes, strict=True):
        boxes: list[dict[str, Any]] = []
        if record.boxes and size is not None:
            boxes, cut = place_boxes(record.boxes, size, faults)
            clipped += cut
        entries.append(_entry(record, path, boxes))
    return entries, clipped


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
