"""MS-CXR: phrases of MIMIC-CXR's reports, and the boxes that radiologists drew for each.

Boecking et al. Making the Most of Text Semantics to Improve Biomedical Vision-Language Processing. ECCV 2022. Under
PhysioNet's Credentialed Health Data License; the images are MIMIC-CXR's. A row is a box: its finding, its phrase, and
x, y, w, h in pixels of an image of the stated size. A phrase may have several boxes, an image several phrases. The
JSON is COCO's, with `label_text` and `split` at the annotations and `path` at the images; the CSV says the same.

1,162 pairs of image and phrase were chosen so that each of eight findings has about as many. What no phrase of an
image names was not looked for: it is unknown, never absent. The boxes of a finding count as complete on the images
that have a phrase of it, and nowhere else: the phrase was taken because it describes the finding, and as many boxes as
it needs were drawn. That the report speaks of the finding once more, elsewhere, nobody excludes: what lies outside the
boxes is a weaker "not here" than in a data set made for detection.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from bundle.data.datalist_entry import nearest, show
from bundle.data.sources.box_rows import corners_of
from bundle.data.sources.coco import coco_parts
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.report_sections import reports_folder, study_report
from bundle.data.sources.table_file import Line, TableFile, file_text, find_file
from bundle.data.sources.values import section_of

__all__ = ["read_ms_cxr"]

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Lung Opacity", "Pleural Effusion", "Pneumonia"),
    *("Pneumothorax",),
)
SPLITS = ("train", "val", "test")
_NAMES = [f"MS_CXR_Local_Alignment_v{version}.{kind}" for version in ("1.1.0", "1.0.0") for kind in ("csv", "json")]
_ROLES = {"x": "x", "y": "y", "width": "w", "height": "h"}
_COLUMNS = ("dicom_id", "category_name", "label_text", "path", *_ROLES.values(), "image_width", "image_height")
_PATH = re.compile(r"(?:files/)?(p\d\d/p(\d{8})/s\d+)/([\w-]+)\.\w+")


def read_ms_cxr(tables: str | os.PathLike[str], reports: str | os.PathLike[str] | None = None) -> Reading:
    """Read MS-CXR, and MIMIC-CXR's reports where they are there.

    Args:
        tables: MS_CXR_Local_Alignment_v1.1.0.csv or .json, or its folder; 1.0.0 has no sections.
        reports: folder of MIMIC-CXR's unpacked reports, or its files folder; None leaves reports out.

    Returns:
        A record for each image, in the order of the table.

    Raises:
        FileNotFoundError: no such table, or no folder of reports.
        SourceError: every fault of header and rows.
    """
    path = find_file(tables, *_NAMES)
    place = None if reports is None else reports_folder(reports)
    faults, dropped, notes = Faults(), Counter[str](), list[str]()
    known: dict[str, Record] = {}
    drawn: dict[str, list[Box]] = {}
    seen: set[tuple[str, ...]] = set()
    for where, row in _rows(path, faults, notes):
        if (cells := tuple(row.values())) in seen:
            dropped["which repeat another in every cell"] += 1
            continue
        seen.add(cells)
        finding, phrase, split = row["category_name"], row["label_text"], row.get("split", "")
        parts = _PATH.fullmatch(row["path"])
        if parts is None or parts[3] != row["dicom_id"]:
            wanted = "files/p10/p10000032/s50414267/ and the dicom_id, with its suffix"
            faults.add(where, "path, dicom_id", "a path of another shape, or of another image", wanted)
            continue
        if finding not in FINDINGS:
            wanted = f"one of {', '.join(FINDINGS)}{nearest(finding, FINDINGS)}"
            faults.add(where, "category_name", repr(finding), wanted)
        if not phrase:
            faults.add(where, "label_text", "nothing", "the phrase of the box")
        if split not in SPLITS and "split" in row:
            faults.add(where, "split", repr(split), f"one of {', '.join(SPLITS)}")
        size = row["image_width"], row["image_height"]
        if not all(side.isdecimal() and int(side) for side in size):
            faults.add(where, "image_width, image_height", " x ".join(map(repr, size)), "two numbers of pixels above 0")
            continue
        study, patient, image = parts.groups()
        section = section_of(split)
        if image not in known:
            report = "" if place is None else study_report(place, study)
            name = f"{study}/{image}.jpg"
            known[image] = Record(name, patient, report=report, split=section, site="MIMIC", where=where)
        elif (first := known[image]).split != section and split in SPLITS:
            faults.add(where, "split", f"{split}, unlike in {first.where}", "one section for all rows of an image")
        told = len(faults.all)
        if (corners := corners_of(row, _ROLES, False, where, faults)) is not None:
            frame = int(size[0]), int(size[1])
            drawn.setdefault(image, []).append(Box(finding, corners, frame, caption=phrase, where=where))
        elif len(faults.all) == told:
            faults.add(where, "x, y, w, h", "nothing", "the box of the phrase")
    faults.refuse()
    records = []
    for image, record in known.items():
        named = {box.finding for box in drawn[image]}
        labels = {finding: 1 for finding in FINDINGS if finding in named}
        records.append(replace(record, labels=labels, boxes=drawn[image], boxed=frozenset(named)))
    phrases = {(image, box.finding, box.caption) for image, boxes in drawn.items() for box in boxes}
    notes.append(f"{len(phrases):,} phrases; what no phrase of an image names is unknown")
    return Reading("MS-CXR", FINDINGS, records, (path,), dropped, notes)


def _rows(path: Path, faults: Faults, notes: list[str]) -> Iterator[Line]:
    """The boxes, each by the CSV's columns, of which `split` may be missing."""
    if ".json" not in path.suffixes:
        table = TableFile(path)
        table.need(*_COLUMNS, may=["split"])
        notes += table.notes
        yield from table.rows(faults)
        return
    text, read = file_text(path)
    notes += read
    names, images, annotations = coco_parts(path, text, faults)
    faults.refuse()
    name_of = {str(number): name for number, name in names.items()}
    image_of = {str(image["id"]): image for image in images}
    for number, annotation in enumerate(annotations):
        where = f"{path.name} annotations[{number}]"
        image = image_of.get(str(annotation.get("image_id")))
        box = annotation.get("bbox")
        if image is None:
            faults.add(where, "image_id", show(annotation.get("image_id")), "the id of one of the images")
        elif not (isinstance(box, list) and len(box) == 4):
            faults.add(where, "bbox", show(box), "[x, y, width, height]")
        else:
            cells = {
                "dicom_id": PurePosixPath(image["file_name"]).stem,
                "category_name": name_of.get(str(annotation.get("category_id"))),
                "label_text": annotation.get("label_text"),
                "path": image.get("path"),
                **dict(zip(_ROLES.values(), box, strict=True)),
                "image_width": image.get("width"),
                "image_height": image.get("height"),
                **({"split": annotation["split"]} if "split" in annotation else {}),
            }
            yield where, {name: "" if value is None else str(value).strip() for name, value in cells.items()}
