"""A folder of images and a table of boxes, labels or both, its columns described by their names: what hospitals have.

Two shapes, also mixed, also in several tables: a row for each box or finding (a column `finding`, corners or none), and
a row for each image (a column for each finding with 1, 0, -1 or nothing). Rows of one image are put together.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bundle.data.datalist_fault import Fault
from bundle.data.sources.box_rows import corners_of
from bundle.data.sources.columns import choose_columns
from bundle.data.sources.faults import Faults
from bundle.data.sources.label_columns import find_label_columns
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.spool import Digests, Spool
from bundle.data.sources.table_file import Line, TableFile
from bundle.data.sources.values import MISSING, NORMAL, UNCERTAIN, age_of, label_of, section_of, sex_of

__all__ = ["read_table"]

PathLike = str | os.PathLike[str]
UNNAMED = ("unknown", "absent")
_TEXTS = ("patient", "report", "split", "view", "sex", "age", "site", "vendor")


@dataclass
class _Image:
    """What the rows of one image say.

    Attributes:
        where: its first row.
        texts: of `_TEXTS`, the value and the row that said it.
        labels: finding -> 1, 0 or -1, and the row.
        boxes: in the rows' order.
        readers: of any row.
        normal: the row that says that nothing was found.
    """

    where: str
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    labels: dict[str, tuple[int, str]] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    readers: dict[str, None] = field(default_factory=dict)
    normal: str = ""


class _Rows(NamedTuple):
    """A table's rows, its columns by role, those that are findings, and whether numbers may be written 12,5."""

    rows: Sequence[Line]
    roles: dict[str, str]
    of_labels: Sequence[str]
    decimal_comma: bool


def read_table(
    table: PathLike | Sequence[PathLike],
    image_column: str | None = None,
    patient_column: str | None = None,
    finding_column: str | None = None,
    label_column: str | None = None,
    label_columns: Sequence[str] | str | None = None,
    x: str | None = None,
    y: str | None = None,
    x2: str | None = None,
    y2: str | None = None,
    width: str | None = None,
    height: str | None = None,
    report_column: str | None = None,
    reader_column: str | None = None,
    split_column: str | None = None,
    view_column: str | None = None,
    sex_column: str | None = None,
    age_column: str | None = None,
    site_column: str | None = None,
    vendor_column: str | None = None,
    caption_column: str | None = None,
    unnamed: str = "unknown",
    one_image_a_patient: bool = False,
    title: str = "A table of boxes and labels",
) -> Reading:
    """Read a table whose columns are named, or guessed by their names and told.

    Args:
        table: the CSV file, or several, separated by commas: labels and reports in one, boxes in another.
        image_column: file names or paths; the suffix may be missing.
        patient_column: pseudonyms, by which training and test are kept apart.
        finding_column: a finding's name in each row; "No finding", "normal" and the like say that nothing was found.
        label_column: 1, 0 or -1 for that row's finding; without it, it is present.
        label_columns: columns that are findings, with 1, 0, -1 (uncertain) or nothing in a row for each image; None
            takes those that hold nothing else, "" none.
        x: column of the left edge of a box, in pixels of the stored image.
        y: column of the upper edge.
        x2: column of the right edge, exclusive.
        y2: column of the lower edge, exclusive.
        width: column of the width of a box, in place of x2.
        height: column of the height of a box, in place of y2.
        report_column: the report's text.
        reader_column: pseudonym of who drew or labelled the row.
        split_column: train, validation, test, or any other section.
        view_column: such as PA, AP, LATERAL.
        sex_column: F or M.
        age_column: years, or DICOM ages (058Y).
        site_column: where the image comes from.
        vendor_column: whose machine made it.
        caption_column: what a box shows, in words.
        unnamed: what a finding is that no row of an image names: "unknown", or "absent" where the readers looked for
            all of them; then the readers of an image count as having looked for every finding.
        one_image_a_patient: take each image for a patient of its own, where no column names them.
        title: of the data set, for reports.

    Returns:
        The images in the order of their first rows.

    Raises:
        ValueError: an option that cannot be meant.
        FileNotFoundError: no such table.
        SourceError: every fault of header and rows.
    """
    if unnamed not in UNNAMED:
        raise ValueError(f"Found unnamed {unnamed!r}; wanted {' or '.join(UNNAMED)}.")
    paths = _paths(table)
    tables = [TableFile(path) for path in paths]
    said = {
        **{"image": image_column, "patient": patient_column, "finding": finding_column, "label": label_column},
        **{"x": x, "y": y, "x2": x2, "y2": y2, "width": width, "height": height, "report": report_column},
        **{"reader": reader_column, "split": split_column, "view": view_column, "sex": sex_column, "age": age_column},
        **{"site": site_column, "vendor": vendor_column, "caption": caption_column},
    }
    columns = choose_columns(tables, said)
    notes = [note for one in tables for note in one.notes]
    told: list[tuple[tuple[int, int], Fault]] = []  # table and row
    findings: dict[str, None] = {}
    dropped: Counter[str] = Counter()
    names, rows_of, place_of = Digests(), list[_Rows](), (array("q"), array("q"))
    for place, (one, roles) in enumerate(zip(tables, columns, strict=True)):
        own = Faults()
        rows = Spool(one.rows(own))
        told += [((place, -1), fault) for fault in own.all]
        of_labels = find_label_columns(one, rows, roles, label_columns)
        rows_of.append(_Rows(rows, roles, of_labels, one.decimal_comma))
        said_of = [f"{role} = {name}" for role, name in roles.items()] + [f"finding {n} = labels" for n in of_labels]
        notes.append(f"{one.path.name}: columns {', '.join(said_of)}; any may be named by its option")
        findings |= dict.fromkeys(of_labels)
        first = Digests("\0".join(row.values()) for _, row in rows).firsts()
        for number, (where, row) in enumerate(rows):
            if not (name := row[roles["image"]]):
                fault = Fault(where, roles["image"], "nothing", "the image's file name")
                told.append(((place, number), fault))
                continue
            if first[number] != number:
                dropped["which repeat another in every cell"] += 1
                continue
            names.add(name)
            place_of[0].append(place)
            place_of[1].append(number)
            if "finding" in roles and _is_name(row[roles["finding"]]):
                findings[row[roles["finding"]]] = None
    faults, records, without = Faults(), Spool[Record](), 0
    somebody = ""  # the first of those without a patient
    first = names.firsts()
    for _, of_image in groupby(np.argsort(first, kind="stable"), lambda at: int(first[at])):
        image: _Image | None = None
        name = ""
        for at in of_image:
            place, number = place_of[0][at], place_of[1][at]
            (where, row), (_, roles, of_labels, decimal_comma) = rows_of[place].rows[number], rows_of[place]
            image, name = image or _Image(where), row[roles["image"]]
            own = Faults()
            _add_texts(image, row, roles, where, own)
            _add_labels(image, row, of_labels, where, own)
            _add_finding(image, row, roles, decimal_comma, where, own)
            told += [((place, number), fault) for fault in own.all]
        assert image is not None
        record = _record(name, image, findings, unnamed == "absent", one_image_a_patient, faults)
        records.append(record)
        without += not record.patient
        somebody = somebody or image.where * (not record.patient)
    faults.all[:0] = [fault for _, fault in sorted(told, key=itemgetter(0))]
    if without:
        found = f"none for {without} of {len(records)} images"
        wanted = "a pseudonym for each, so that nobody is in training and test: --patient_column NAME, or, where "
        wanted += "each image is of another patient, --one_image_a_patient"
        faults.add(somebody, "patient", found, wanted)
    if not findings:
        wanted = "a finding_column, or label columns with 1, 0 and -1: --finding_column NAME, --label_columns NAMES"
        faults.add(" and ".join(map(str, paths)), "findings", "none", wanted)
    faults.refuse()
    return Reading(title, tuple(findings), records, tuple(paths), dropped, notes)


def _paths(table: PathLike | Sequence[PathLike]) -> list[Path]:
    """One table or several; a text that is no file may be several, separated by commas."""
    if isinstance(table, str) and "," in table and not Path(table).is_file():
        table = [part.strip() for part in table.split(",")]
    return [Path(table)] if isinstance(table, str | os.PathLike) else [Path(part) for part in table]


def _add_texts(image: _Image, row: dict[str, str], roles: dict[str, str], where: str, faults: Faults) -> None:
    """What a row says of the image; rows of one image must not say different things."""
    for role in _TEXTS:
        value = row[roles[role]] if role in roles else ""
        if not value:
            continue
        known, first = image.texts.setdefault(role, (value, where))
        if known != value:
            faults.add(where, roles[role], f"another value than in {first}", "one for all rows of an image")


def _add_labels(image: _Image, row: dict[str, str], columns: Iterable[str], where: str, faults: Faults) -> None:
    """The labels of a row that has a column for each finding."""
    for finding in columns:
        try:
            label = label_of(row[finding])
        except ValueError as error:
            faults.add(where, finding, str(error), "1, 0, -1 (uncertain) or nothing")
            continue
        if label is not None:
            _add_label(image, finding, label, where, faults)


def _add_label(image: _Image, finding: str, label: int, where: str, faults: Faults, reader: str = "") -> None:
    known, first = image.labels.setdefault(finding, (label, where))
    if known != label and reader:  # any reader's 1 is 1; one who is unsure beside one who saw nothing leaves it open
        image.labels[finding] = (1 if 1 in (known, label) else UNCERTAIN, where)
    elif known != label:
        faults.add(where, finding, f"the label {label}, and {known} in {first}", "one label of a finding and image")


def _add_finding(
    image: _Image,
    row: dict[str, str],
    roles: dict[str, str],
    decimal_comma: bool,
    where: str,
    faults: Faults,
) -> None:
    """The finding of a row that names one, with its box if it has one."""
    if "finding" not in roles:
        return
    reader = row[roles["reader"]] if "reader" in roles else ""
    if reader:
        image.readers[reader] = None
    finding = row[roles["finding"]]
    label: int | None = 1
    if "label" in roles and (text := row[roles["label"]]):
        try:
            label = label_of(text)
        except ValueError as error:
            faults.add(where, roles["label"], str(error), "1, 0, -1 (uncertain) or nothing")
            return
    corners = corners_of(row, roles, decimal_comma, where, faults)
    if finding.lower() in NORMAL | MISSING:
        if corners:
            faults.add(where, roles["finding"], f"{finding or 'nothing'!r} and a box", "the finding's name, or no box")
        elif finding:
            image.normal = image.normal or where
        return
    if not _is_name(finding):
        wanted = "its name; where a column holds names, say --finding_column NAME"
        faults.add(where, roles["finding"], f"{finding}, a number", wanted)
        return
    if corners and label != 1:
        faults.add(where, finding, f"a box and the label {label}", "label 1, or no box")
    elif corners:
        caption = row[roles["caption"]] if "caption" in roles else ""
        image.boxes.append(Box(finding, corners, None, reader, caption, where))
    if label is not None:
        _add_label(image, finding, label, where, faults, reader)


def _is_name(finding: str) -> bool:
    """Whether it is a finding's name, no number and no word for nothing."""
    return finding.lower() not in NORMAL | MISSING and not finding.lstrip("+-").replace(".", "").isdigit()


def _record(
    name: str, image: _Image, findings: Iterable[str], absent: bool, each_a_patient: bool, faults: Faults
) -> Record:
    """The record; with what only all rows of the image show to be wrong."""
    texts = defaultdict(str, {role: value for role, (value, _) in image.texts.items()})
    drawn = dict.fromkeys(box.finding for box in image.boxes)
    labels = {finding: label for finding, (label, _) in image.labels.items() if label in (0, 1)}
    if positive := [finding for finding, label in labels.items() if label == 1] if image.normal else []:
        found = f"nothing found, though another row of {name} says {', '.join(positive)}"
        if not image.readers:  # of several readers, one may have found nothing
            faults.add(image.normal, "finding", found, "one of the two")
    if absent or image.normal:
        stated = image.labels.keys()  # one that is uncertain stays unknown
        labels |= {finding: 0 for finding in findings if finding not in stated}
    age = None
    try:
        age = age_of(texts["age"])
    except ValueError as error:
        faults.add(image.texts["age"][1], "age", str(error), "years, or a DICOM age such as 058Y")
    return Record(
        image=name,
        patient=texts["patient"] or (name if each_a_patient else ""),
        labels=labels,
        boxes=image.boxes,
        boxed=frozenset(drawn),
        readers=tuple(image.readers) if absent else (),
        report=texts["report"],
        split=section_of(texts["split"]),
        view=texts["view"],
        sex=sex_of(texts["sex"]),
        age=age,
        site=texts["site"],
        vendor=texts["vendor"],
        where=image.where,
    )
