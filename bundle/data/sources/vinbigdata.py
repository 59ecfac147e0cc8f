"""VinBigData Chest X-ray Abnormalities Detection and VinDr-CXR: a row for each box of each reader.

Nguyen et al. VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations. Scientific Data 2022. Of the
training images each was read by three of seventeen radiologists, who looked for all findings; the test images of
VinDr-CXR have one consensus and no readers. Boxes are in pixels of the stored DICOM; which images are of one patient
is not published.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

from bundle.data.datalist_entry import nearest
from bundle.data.sources.box_rows import corners_of
from bundle.data.sources.faults import Faults
from bundle.data.sources.merging import RULES, agreement_note, merge_readers
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.table_file import TableFile, find_file

__all__ = ["read_vinbigdata"]

CHALLENGE = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration"),
    *("Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis",),
)
"""The fourteen of the challenge."""
FINDINGS = (
    *CHALLENGE,
    *("Clavicle fracture", "Edema", "Emphysema", "Enlarged PA", "Lung cavity", "Lung cyst", "Mediastinal shift"),
    *("Rib fracture",),
)
"""The twenty-two of VinDr-CXR that have boxes."""
NO_FINDING = "no finding"
_ROLES = {"x": "x_min", "y": "y_min", "x2": "x_max", "y2": "y_max"}


def read_vinbigdata(tables: str | os.PathLike[str], readers: str = "any") -> Reading:
    """Read VinBigData's train.csv, or an annotation table of VinDr-CXR.

    Args:
        tables: train.csv, annotations_train.csv or annotations_test.csv, plain or .gz, or the folder of one.
        readers: how the three are merged: "any" keeps every reader's boxes (a finding that one of them drew is
            present); "majority" keeps what two of them drew; "fusion" does, by weighted box fusion
            (`bundle.data.sources.merging`).

    Returns:
        A record for each image, in the order of the table.

    Raises:
        ValueError: another rule.
        FileNotFoundError: no such table.
        SourceError: every fault of header and rows.
    """
    if readers not in RULES:
        raise ValueError(f"Found readers {readers!r}; wanted one of {', '.join(RULES)}.")
    path = find_file(tables, "train.csv", "annotations_train.csv", "annotations_test.csv", "vinbigdata-train.csv")
    table = TableFile(path)
    table.need("image_id", "class_name", *_ROLES.values())
    faults, dropped = Faults(), Counter[str]()
    known = {name.casefold(): name for name in FINDINGS}
    first: dict[str, str] = {}
    drawn: dict[str, list[Box]] = {}
    looked: dict[str, dict[str, None]] = {}
    seen: set[tuple[str, ...]] = set()
    for where, row in table.rows(faults):
        image, name, reader = row["image_id"], row["class_name"], row.get("rad_id", "")
        if (cells := tuple(row.values())) in seen:
            dropped["which repeat another in every cell"] += 1
            continue
        seen.add(cells)
        first.setdefault(image, where)
        looked.setdefault(image, {})[reader] = None
        boxes = drawn.setdefault(image, [])
        corners = corners_of(row, _ROLES, table.decimal_comma, where, faults)
        finding = known.get(name.casefold())
        if not image:
            faults.add(where, "image_id", "nothing", "the image's name")
        if name.casefold() == NO_FINDING:
            if corners is not None:
                faults.add(where, "class_name", f"{name} and a box", "a finding, or no box")
        elif finding is None:
            wanted = f"one of {', '.join(FINDINGS)}{nearest(name, FINDINGS)}"
            faults.add(where, "class_name", repr(name), wanted)
        elif corners is not None:
            boxes.append(Box(finding, corners, reader=reader, where=where))
        elif all(not row[column] for column in _ROLES.values()):
            faults.add(where, "x_min, y_min, x_max, y_max", "nothing", f"the box of {name}")
    faults.refuse()
    used = {box.finding for boxes in drawn.values() for box in boxes}
    findings = CHALLENGE if used <= set(CHALLENGE) else FINDINGS
    records = []
    for image, boxes in drawn.items():
        names = [name for name in looked[image] if name]
        record = Record(image, image, site="VinDr", where=first[image])
        merged = merge_readers(boxes, names, findings, readers if names else "any")
        records.append(
            replace(record, labels=merged.labels, boxes=merged.boxes, boxed=merged.boxed, readers=merged.readers)
        )
    notes = [*table.notes, f"Several readers: {readers}"]
    if several := [image for image in drawn if len(looked[image]) > 1]:
        notes.append(agreement_note([drawn[n] for n in several], [len(looked[n]) for n in several], findings))
    return Reading("VinBigData / VinDr-CXR", findings, records, (path,), dropped, notes)
