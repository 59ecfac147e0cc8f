"""PadChest-GR: reports as lists of sentences, Spanish and English, each abnormal one with its boxes.

Castro et al. PadChest-GR: A Bilingual Chest X-ray Dataset for Grounded Radiology Report Generation. NEJM AI 2025,
arXiv:2411.05085. Given on request, under BIMCV's research use agreement. Two files, as described by those who have it:

- grounded_reports_20240819.json, a list of studies of one frontal image: `ImageID` and `findings`, each `sentence_en`,
  `sentence_es`, `abnormal`, and where it is abnormal `labels` (of PadChest's) and `boxes`, x0, y0, x1, y1 as shares of
  width and height. `extra_boxes` are taken for a second reader's: the paper says that a sentence may have two
  independent sets. They are counted and left out, as nobody says who drew which.
- master_table.csv, a row for each label of each study: `ImageID`, `PatientID`, `split` (by patient), `label`,
  `label_group`, and sex and age.

A sentence that is not abnormal ("no pleural effusion") stands in the report and makes no label: the files do not say
what it denies. The boxes of a finding are complete where every abnormal sentence that bears its label has boxes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bundle.data.datalist_entry import show
from bundle.data.sources.box_rows import Corners, corners_of_list
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import WHOLE, Box, Reading, Record
from bundle.data.sources.sections import USUAL
from bundle.data.sources.table_file import TableFile, find_file, json_list
from bundle.data.sources.values import age_of, section_of, sex_of

__all__ = ["read_padchest_gr"]

LANGUAGES = ("en", "es")
UNNAMED = ("unknown", "absent")
_EDGE = 0.05  # a box that leaves the image by more is no slip of the hand: its numbers are no shares


def read_padchest_gr(
    tables: str | os.PathLike[str], language: str = "en", unnamed: str = "unknown", groups: bool = False
) -> Reading:
    """Read PadChest-GR.

    Args:
        tables: folder of grounded_reports_20240819.json and master_table.csv, plain, .gz or .zip.
        language: of reports and captions, "en" or "es"; the English is a translation by machine. Labels are made of
            English reports only (`labels_from_reports`).
        unnamed: what a finding is that no abnormal sentence of an image bears: "unknown", or "absent" where the lists
            of findings are taken for complete, as the paper calls them.
        groups: name findings by the table's label_group, some two dozen, instead of its labels, about 150.

    Returns:
        A record for each image, in the order of the reports.

    Raises:
        ValueError: another word for language or unnamed.
        FileNotFoundError: no such file.
        SourceError: every fault of the files.
    """
    for name, found, wanted in (("language", language, LANGUAGES), ("unnamed", unnamed, UNNAMED)):
        if found not in wanted:
            raise ValueError(f"Found {name} {found!r}; wanted {' or '.join(wanted)}.")
    files = [find_file(tables, "grounded_reports_20240819.json"), find_file(tables, "master_table.csv")]
    table = TableFile(files[1])
    faults, count = Faults(), Counter[str]()
    known, group = _table(table, faults)
    records: dict[str, Record] = {}
    for number, study in enumerate(json_list(files[0], faults)):
        where = f"{files[0].name}[{number}]"
        image = study.get("ImageID") if isinstance(study, dict) else None
        if not isinstance(image, str) or not isinstance(study.get("findings"), list):
            faults.add(where, "ImageID, findings", "no such pair", "the image's file name and a list of findings")
        elif image in records:
            faults.add(where, "ImageID", f"an image that stands in {records[image].where}", "each image once")
        elif image not in known:
            faults.add(where, "ImageID", f"an image that {files[1].name} does not have", "files of one release")
        else:
            record = replace(known[image], where=where)
            names = group if groups else {}
            records[image] = _said(record, study["findings"], f"sentence_{language}", names, faults, count)
    faults.refuse()
    findings = tuple(sorted({finding for record in records.values() for finding in record.labels}))
    if unnamed == "absent":
        absent = dict.fromkeys(findings, 0)
        records = {image: replace(record, labels=absent | dict(record.labels)) for image, record in records.items()}
    notes = [*table.notes, *(f"{number:,} {what}" for what, number in count.items() if number)]
    if len(known) > len(records):
        notes.append(f"{len(known) - len(records):,} images of {files[1].name} have no report in {files[0].name}")
    return Reading("PadChest-GR", findings, [*records.values()], files, {}, notes)


def _table(table: TableFile, faults: Faults) -> tuple[dict[str, Record], dict[str, str]]:
    """Image -> what the table says of it, and label -> group."""
    table.need("ImageID", "PatientID", "split", "label", "label_group", may=["PatientSex_DICOM", "PatientAge"])
    known: dict[str, Record] = {}
    group: dict[str, str] = {}
    for where, row in table.rows(faults):
        image, patient, split = row["ImageID"], row["PatientID"], section_of(row["split"])
        if not (image and patient):
            faults.add(where, "ImageID, PatientID", "nothing", "the image's file name and the patient's pseudonym")
        if split not in USUAL:
            faults.add(where, "split", repr(row["split"]), "train, validation or test")
        try:
            age = age_of(row.get("PatientAge", ""))
        except ValueError as error:
            age = None
            faults.add(where, "PatientAge", str(error), "years, or nothing")
        sex = sex_of(row.get("PatientSex_DICOM", ""))
        record = Record(image, patient, split=split, sex=sex, age=age, site="PadChest", where=where)
        first = known.setdefault(image, record)
        if (first.patient, first.split) != (patient, split):
            wanted = "one patient and one section for all rows of an image"
            faults.add(where, "PatientID, split", f"another than in {first.where}", wanted)
        if row["label"] and row["label_group"]:
            group.setdefault(row["label"], row["label_group"])
    return known, group


def _said(
    record: Record, items: Sequence[Any], text: str, group: Mapping[str, str], faults: Faults, count: Counter[str]
) -> Record:
    """The record with the report, the labels and the boxes of its sentences, whose `text` is read."""
    sentences: list[str] = []
    boxes: dict[tuple[Any, ...], Box] = {}
    whole: dict[str, bool] = {}  # finding -> whether each of its sentences has boxes
    for number, item in enumerate(items):
        where = f"{record.where} findings[{number}]"
        if not isinstance(item, dict) or not isinstance(item.get("abnormal"), bool):
            found = show(item.get("abnormal")) if isinstance(item, dict) else "no object"
            faults.add(where, "abnormal", found, "true or false")
            continue
        sentence, labels, drawn, extra = parts = [item.get(key) for key in (text, "labels", "boxes", "extra_boxes")]
        lists = [part or [] for part in (labels, drawn, extra)]
        if not isinstance(sentence, str | None) or not all(isinstance(part, list) for part in lists):
            found = ", ".join(type(part).__name__ for part in parts)
            faults.add(where, f"{text}, labels, boxes, extra_boxes", found, "a text and three lists, or nothing")
            continue
        caption = " ".join((sentence or "").split())
        sentences += [caption] if caption else []
        names, places, others = lists
        if not all(isinstance(name, str) and name.strip() for name in names):
            faults.add(where, "labels", show(names), "names")
            continue
        count["extra boxes, taken for a second reader's, are left out"] += len(others)
        if not item["abnormal"]:
            count["boxes of sentences that are not abnormal are left out"] += len(places)
            continue
        count["abnormal sentences bear no label, and stand in the report alone"] += not names
        corners = [_shares(box, f"boxes[{place}]", where, faults) for place, box in enumerate(places)]
        for name in dict.fromkeys(group.get(name.strip(), name.strip()) for name in names):
            whole[name] = whole.get(name, True) and bool(places)
            for each in filter(None, corners):
                count["boxes repeat another in every respect, and are left out"] += (name, each, caption) in boxes
                boxes.setdefault((name, each, caption), Box(name, each, WHOLE, caption=caption, where=where))
    return replace(
        record,
        report=" ".join(sentences),
        labels=dict.fromkeys(whole, 1),
        boxes=[*boxes.values()],
        boxed=frozenset(name for name, each in whole.items() if each),
    )


def _shares(box: Any, field: str, where: str, faults: Faults) -> Corners | None:
    """The corners, unless their numbers are no shares of an image."""
    corners = corners_of_list(box, field, where, faults)
    if corners is not None and not -_EDGE <= min(corners) < max(corners) <= 1 + _EDGE:
        faults.add(where, field, f"{show(box)}, outside the image", "shares of its width and height, 0 to 1")
        return None
    return corners
