"""RSNA Pneumonia Detection Challenge (2018): stage_2_train_labels.csv, a row for each box, or one of an image without.

Shih et al. Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of Possible
Pneumonia. Radiology: Artificial Intelligence 2019. The table's patientId names an image: the challenge does not say
which images are of one patient. Boxes are in pixels of its DICOM files of 1024 x 1024, and so are those of copies.
"""

from __future__ import annotations

import os
from collections import Counter

from bundle.data.sources.box_rows import corners_of
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.table_file import TableFile, find_file

__all__ = ["read_rsna"]

FINDING = "Pneumonia"
FRAME = (1024, 1024)
_ROLES = {role: role for role in ("x", "y", "width", "height")}


def read_rsna(tables: str | os.PathLike[str]) -> Reading:
    """Read the pneumonia challenge of RSNA.

    Label 1 is an image with boxes ("lung opacity" of pneumonia); 0 are both "normal" and "no lung opacity, not normal".

    Args:
        tables: stage_2_train_labels.csv, plain, .gz or .zip, or its folder.

    Returns:
        A record for each image, in the order of the table.

    Raises:
        FileNotFoundError: no such table.
        SourceError: every fault of header and rows.
    """
    path = find_file(tables, "stage_2_train_labels.csv", "kaggle_stage_2_train_labels.csv")
    table = TableFile(path)
    table.need("patientId", "Target", *_ROLES)
    faults, dropped = Faults(), Counter[str]()
    boxes: dict[str, list[Box]] = {}
    first: dict[str, tuple[str, str]] = {}  # image -> target and row
    seen: set[tuple[str, ...]] = set()
    for where, row in table.rows(faults):
        image, target = row["patientId"], row["Target"].removesuffix(".0")
        if (cells := tuple(row.values())) in seen:
            dropped["which repeat another in every cell"] += 1
            continue
        seen.add(cells)
        told = len(faults.all)
        corners = corners_of(row, _ROLES, table.decimal_comma, where, faults)
        if not image:
            faults.add(where, "patientId", "nothing", "the image's name")
        if target not in ("0", "1"):
            faults.add(where, "Target", repr(row["Target"]), "1 with a box, 0 without")
        elif (target == "1") != (corners is not None) and len(faults.all) == told:
            found = f"{target} {'without' if corners is None else 'with'} a box"
            faults.add(where, "Target", found, "1 with a box, 0 without")
        known, line = first.setdefault(image, (target, where))
        if known != target:
            faults.add(where, "Target", f"{target}, and {known} in {line}", "one value for all rows of an image")
        drawn = boxes.setdefault(image, [])
        if corners is not None:
            drawn.append(Box(FINDING, corners, FRAME, where=where))
    faults.refuse()
    complete = frozenset({FINDING})
    records = [
        Record(image, image, {FINDING: int(bool(drawn))}, drawn, complete, site="RSNA", where=first[image][1])
        for image, drawn in boxes.items()
    ]
    return Reading("RSNA Pneumonia Detection Challenge 2018", (FINDING,), records, (path,), dropped, table.notes)
