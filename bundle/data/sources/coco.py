"""COCO: a JSON of images, categories and boxes, as annotation tools write it.

Lin et al. Microsoft COCO: Common Objects in Context. ECCV 2014. A box is x, y, width, height in pixels of the image of
the stated size. COCO has no patients: `patient_id` of an image is read, as `bundle.data.sources.coco_export` writes
it.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from bundle.data.datalist_entry import is_number, show
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.table_file import file_text
from bundle.data.sources.values import section_of

__all__ = ["coco_parts", "read_coco"]


def read_coco(
    tables: str | os.PathLike[str],
    exhaustive: bool = False,
    one_image_a_patient: bool = False,
    title: str = "COCO annotations",
) -> Reading:
    """Read a COCO file.

    Args:
        tables: the JSON file.
        exhaustive: whether every category was looked for on every image, as COCO's rules want: then one without a box
            is absent. Otherwise it is unknown.
        one_image_a_patient: take each image for a patient of its own, where images have no `patient_id`.
        title: of the data set, for reports.

    Returns:
        A record for each image, in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        SourceError: every fault of the file.
    """
    path = Path(tables)
    text, notes = file_text(path)
    faults, dropped = Faults(), Counter[str]()
    names, images, annotations = coco_parts(path, text, faults)
    faults.refuse()
    boxes: defaultdict[Any, list[Box]] = defaultdict(list)
    known = {image["id"]: image for image in images}
    seen: set[tuple[Any, ...]] = set()
    for number, annotation in enumerate(annotations):
        where = f"{path.name} annotations[{number}]"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if image not in known:
            faults.add(where, "image_id", show(image), "the id of one of the images")
        if category not in names:
            faults.add(where, "category_id", show(category), "the id of one of the categories")
        if annotation.get("iscrowd"):
            dropped["which box a crowd (iscrowd)"] += 1
            continue
        box = annotation.get("bbox")
        if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and min(box[2:]) > 0):
            faults.add(where, "bbox", show(box), "[x, y, width, height], width and height above 0")
            continue
        if image not in known or category not in names:
            continue
        x, y, width, height = box
        reader = str(annotation.get("reader") or "")
        if (key := (image, category, reader, *box)) in seen:
            dropped["which repeat another box"] += 1
            continue
        seen.add(key)
        corners = (x, y, x + width, y + height)
        caption = str(annotation.get("caption") or "")
        boxes[image].append(Box(names[category], corners, _frame(known[image]), reader, caption, where))
    findings = tuple(names.values())
    records = []
    for number, image in enumerate(images):
        where = f"{path.name} images[{number}]"
        drawn = boxes[image["id"]]
        present = dict.fromkeys(box.finding for box in drawn)
        patient = str(image.get("patient_id") or (image["file_name"] if one_image_a_patient else "")).strip()
        if not patient:
            wanted = "a pseudonym as patient_id, or --one_image_a_patient where each image is of another patient"
            faults.add(where, "patient_id", "nothing", wanted)
        labels = {finding: int(finding in present) for finding in findings if exhaustive or finding in present}
        boxed, readers, stated = frozenset(present), (), image.get("labels")
        if isinstance(stated, dict):  # of our own export, which knows what COCO does not
            labels = {finding: label for finding, label in stated.items() if finding in findings and label in (0, 1)}
            boxed = frozenset(image.get("boxed") or ())
            readers = tuple(image.get("readers") or ())
        split = section_of(str(image.get("section") or ""))
        records.append(Record(image["file_name"], patient, labels, drawn, boxed, readers, split=split, where=where))
    faults.refuse()
    return Reading(title, findings, records, (path,), dropped, notes)


def _frame(image: dict[str, Any]) -> tuple[int, int] | None:
    """(W, H) that the boxes are counted in, where the file says it."""
    width, height = image.get("width"), image.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
        return None
    return width, height


def coco_parts(
    path: Path, text: str, faults: Faults
) -> tuple[dict[Any, str], list[dict[str, Any]], list[dict[str, Any]]]:
    """What a COCO file is made of.

    Args:
        path: the file, for messages.
        text: its content.
        faults: no JSON, no such lists, names and ids that are missing or not unique are added.

    Returns:
        Category id -> name, the images, and the annotations.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        faults.add(str(path), "JSON", f"{error.msg} at line {error.lineno}", "a COCO file")
        return {}, [], []
    parts: dict[str, list[dict[str, Any]]] = {}
    for key in ("categories", "images", "annotations"):
        value = document.get(key) if isinstance(document, dict) else None
        if not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
            faults.add(str(path), key, "no list of objects", "images, annotations and categories, as COCO has them")
            value = []
        parts[key] = value
    names: dict[Any, str] = {}
    for number, category in enumerate(parts["categories"]):
        name = category.get("name")
        if not (isinstance(name, str) and name.strip()) or name in names.values() or category.get("id") in names:
            found = f"{show(name)}, id {show(category.get('id'))}"
            faults.add(f"{path.name} categories[{number}]", "name, id", found, "a name and an id, each once")
        else:
            names[category.get("id")] = name
    ids: set[Any] = set()
    for number, image in enumerate(parts["images"]):
        where = f"{path.name} images[{number}]"
        if not (isinstance(image.get("file_name"), str) and image["file_name"]):
            faults.add(where, "file_name", show(image.get("file_name")), "the image's file name")
        if not isinstance(image.get("id"), int | str) or image["id"] in ids:
            faults.add(where, "id", show(image.get("id")), "a number or text, each once")
        else:
            ids.add(image["id"])
    return names, parts["images"], parts["annotations"]
