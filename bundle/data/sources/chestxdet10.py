"""ChestX-Det10: train.json and test.json, boxes of ten findings on NIH images.

Liu et al. ChestX-Det10: Chest X-ray Dataset on Detection of Thoracic Abnormalities. 2020. A list of images, each with
the findings `syms` and as many `boxes`, x0, y0, x1, y1 in pixels of its 1024 x 1024 PNG. Which images are of one
patient, the files do not say.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bundle.data.datalist_entry import nearest, show
from bundle.data.sources.box_rows import corners_of_list
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.table_file import find_file, json_list

__all__ = ["read_chestxdet10"]

FINDINGS = (
    *("Atelectasis", "Calcification", "Consolidation", "Effusion", "Emphysema", "Fibrosis", "Fracture", "Mass"),
    *("Nodule", "Pneumothorax"),
)
FRAME = (1024, 1024)


def read_chestxdet10(tables: str | os.PathLike[str]) -> Reading:
    """Read ChestX-Det10. Every finding was looked for: one without a box is absent.

    Args:
        tables: folder of train.json and test.json, or one of them. With both, test.json is the test section.

    Returns:
        A record for each image, in the order of the files.

    Raises:
        FileNotFoundError: no such file.
        SourceError: every fault of the files.
    """
    files = [find_file(tables, "train.json")]
    if Path(tables).is_dir():
        files.append(find_file(tables, "test.json"))
    faults, records = Faults(), list[Record]()
    first: dict[str, str] = {}
    for path in files:
        split = "test" if path.name == "test.json" and len(files) > 1 else ""
        for number, item in enumerate(json_list(path, faults)):
            where = f"{path.name}[{number}]"
            name = item.get("file_name") if isinstance(item, dict) else None
            if not isinstance(name, str) or not name:
                faults.add(where, "file_name", show(name), "the image's file name")
                continue
            if name in first:
                faults.add(where, "file_name", f"{name}, as in {first[name]}", "each image once")
            first.setdefault(name, where)
            boxes = _boxes(item, where, faults)
            drawn = {box.finding for box in boxes}
            labels = {finding: int(finding in drawn) for finding in FINDINGS}
            records.append(Record(name, name, labels, boxes, frozenset(FINDINGS), split=split, site="NIH", where=where))
    faults.refuse()
    return Reading("ChestX-Det10", FINDINGS, records, files)


def _boxes(item: dict[str, Any], where: str, faults: Faults) -> list[Box]:
    names, corners = item.get("syms"), item.get("boxes")
    if not (isinstance(names, list) and isinstance(corners, list) and len(names) == len(corners)):
        faults.add(where, "syms, boxes", f"{show(names)} and {show(corners)}", "two lists of one length")
        return []
    boxes = []
    for number, (name, box) in enumerate(zip(names, corners, strict=True)):
        if name not in FINDINGS:
            wanted = f"one of {', '.join(FINDINGS)}{nearest(name, FINDINGS)}"
            faults.add(where, f"syms[{number}]", show(name), wanted)
        elif (found := corners_of_list(box, f"boxes[{number}]", where, faults)) is not None:
            boxes.append(Box(name, found, FRAME, where=where))
    return boxes
