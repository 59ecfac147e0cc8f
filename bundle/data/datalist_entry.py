"""One entry of a datalist: the faults of its fields, and the arrays that training uses."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

Complaint = tuple[str, str, str]  # field, found, wanted

TEXT_FIELDS = ("report", "summary", "sex", "view", "site", "vendor")
ATTRIBUTE_TEXTS = ("side", "zone", "lobe", "size", "density", "shape")


def entry_complaints(
    entry: dict[str, Any], findings: Collection[str] | None, size: tuple[int, int] | None, *, needs_report: bool
) -> Iterator[Complaint]:
    """The faults of an entry's own fields; the image file itself and other entries are not looked at.

    Args:
        entry: as it stands in the file.
        findings: the names that labels and boxes may use; None, where the file has no usable list, looks at neither.
        size: (H, W) of the stored image, or None to leave out whether boxes lie inside it.
        needs_report: whether an absent or empty report is a fault.

    Yields:
        (field, found, wanted).
    """
    patient = entry.get("patient_id")
    if patient is None or patient_name(patient) == "":
        yield "patient_id", "nothing", "the patient's pseudonym, by which splits are kept apart"
    elif isinstance(patient, bool) or not isinstance(patient, (str, int)):
        yield "patient_id", f"a value of type {type(patient).__name__}", "text or a whole number"
    for field in TEXT_FIELDS:
        value = entry.get(field)
        if value is not None and not isinstance(value, str):
            yield field, show(value), "text, or no such key"
    report = entry.get("report")
    if needs_report and (report is None or (isinstance(report, str) and not report.strip())):
        yield "report", "no text", "a report, because reports are trained on"
    age = entry.get("age")
    if age is not None and not (is_number(age) and 0 <= age <= 150):
        yield "age", show(age), "a number of years, 0 to 150"
    yield from _question_complaints(entry.get("qa"))
    if entry.get("lungs") is not None:
        yield from _corner_complaints(entry["lungs"], "lungs", size)
    if findings is not None:
        yield from _finding_complaints(entry, findings, size)


def _question_complaints(questions: Any) -> Iterator[Complaint]:
    """The faults of `qa`."""
    if questions is None:
        return
    if not isinstance(questions, list):
        yield "qa", show(questions), "a list of objects with question and answer"
        return
    for index, pair in enumerate(questions):
        if not isinstance(pair, dict):
            yield f"qa[{index}]", show(pair), "an object with question and answer"
            continue
        for key in ("question", "answer"):
            if not (isinstance(pair.get(key), str) and pair[key].strip()):
                yield f"qa[{index}].{key}", show(pair.get(key)), "text"
        if pair.get("type") is not None and not isinstance(pair["type"], str):
            yield f"qa[{index}].type", show(pair["type"]), "text, or no such key"


def _finding_complaints(
    entry: dict[str, Any], findings: Collection[str], size: tuple[int, int] | None
) -> Iterator[Complaint]:
    """The faults of `labels`, `boxes` and `boxed`, alone and against each other."""
    labels, boxes, boxed = (entry.get(key) for key in ("labels", "boxes", "boxed"))
    if labels is not None and not isinstance(labels, dict):
        yield "labels", show(labels), "an object of finding: 0 or 1"
        labels = None
    if boxes is not None and not isinstance(boxes, list):
        yield "boxes", show(boxes), "a list of objects with finding and box"
        boxes = None
    if boxed is not None and not isinstance(boxed, list):
        yield "boxed", show(boxed), "a list of findings"
        boxed = None

    labels = labels or {}
    for name, label in labels.items():
        if name not in findings:
            yield f"labels.{name}", *_unknown(name, findings)
        elif not (is_number(label) and label in (0, 1)):
            yield f"labels.{name}", show(label), "0 or 1 (leave the finding out where it is unknown)"

    with_boxes = set()
    for index, box in enumerate(boxes or []):
        field = f"boxes[{index}]"
        if not isinstance(box, dict):
            yield field, show(box), "an object with finding and box"
            continue
        name = box.get("finding")
        if name not in findings if isinstance(name, str) else True:
            yield f"{field}.finding", *_unknown(name, findings)
        else:
            with_boxes.add(name)
            if is_number(labels.get(name)) and labels[name] == 0:
                yield field, f"a box of {name}, whose label is 0", "label 1, or no box"
        yield from _box_complaints(box, field, size)

    for index, name in enumerate(boxed or []):
        if not isinstance(name, str) or name not in findings:
            yield f"boxed[{index}]", *_unknown(name, findings)
        elif name not in with_boxes and labels.get(name) != 0:
            state = "label 1" if labels.get(name) == 1 else "no label"
            yield f"boxed[{index}]", f"{name} with {state} and no box", "its boxes, or label 0, or not in boxed"


def _box_complaints(box: dict[str, Any], field: str, size: tuple[int, int] | None) -> Iterator[Complaint]:
    """The faults of one box: coordinates, and what may go with them."""
    yield from _corner_complaints(box.get("box"), f"{field}.box", size)
    caption, attributes = box.get("caption"), box.get("attributes")
    if caption is not None and not isinstance(caption, str):
        yield f"{field}.caption", show(caption), "text"
    if attributes is not None and not isinstance(attributes, dict):
        yield f"{field}.attributes", show(attributes), "an object"
        return
    for name, value in (attributes or {}).items():
        if name in ATTRIBUTE_TEXTS and value is not None and not isinstance(value, str):
            yield f"{field}.attributes.{name}", show(value), "text"
        elif name == "cnr" and value is not None and not is_number(value):
            yield f"{field}.attributes.cnr", show(value), "a number"
        elif name == "size_mm" and value is not None and not (is_number(value) and value > 0):
            yield f"{field}.attributes.size_mm", show(value), "a number above 0"


def _corner_complaints(corners: Any, field: str, size: tuple[int, int] | None) -> Iterator[Complaint]:
    """The faults of the corners of a box."""
    if not (isinstance(corners, list) and len(corners) == 4 and all(is_number(corner) for corner in corners)):
        yield field, show(corners), "[x0, y0, x1, y1], four numbers"
        return
    x0, y0, x1, y1 = corners
    if not (x0 < x1 and y0 < y1):
        yield field, f"{show(corners)}, an empty box", "x0 < x1 and y0 < y1"
    elif min(x0, y0) < 0 or (size is not None and (x1 > size[1] or y1 > size[0])):
        inside = f"the image of {size[1]} x {size[0]} (columns x rows)" if size is not None else "the image, from 0"
        yield field, f"{show(corners)}, which leaves the image", f"a box inside {inside}"


def encode_entry(entry: dict[str, Any], findings: Sequence[str]) -> dict[str, Any]:
    """The arrays that stand for an entry's labels and boxes; the entry has been checked.

    A finding with boxes and no label counts as present. Boxes of findings that are not asked for are left out.

    Args:
        entry: an entry of a checked datalist.
        findings: the K findings asked for, in their order.

    Returns:
        - `label`: float32 (K,), 1 present, 0 absent, NaN unknown.
        - `boxes`: float32 (N, 4), x0, y0, x1, y1 in pixels of the stored image, x right, y down, x1 and y1 exclusive.
        - `box_finding`: int64 (N,), each box's finding.
        - `box_cnr`: float32 (N,), each box's contrast-to-noise ratio (`attributes.cnr`), NaN where it has none.
        - `boxed`: bool (K,), whether the boxes of a finding are complete: it is in the entry's `boxed`, or its label
          is 0 (complete, and none).
    """
    place = {name: index for index, name in enumerate(findings)}
    label = np.full(len(findings), np.nan, dtype=np.float32)
    boxes = [box for box in entry.get("boxes") or [] if box["finding"] in place]
    for box in boxes:
        label[place[box["finding"]]] = 1.0
    for name, value in (entry.get("labels") or {}).items():
        if name in place:
            label[place[name]] = float(value)
    boxed = label == 0
    for name in entry.get("boxed") or []:
        if name in place:
            boxed[place[name]] = True
    contrasts = [(box.get("attributes") or {}).get("cnr") for box in boxes]
    return {
        "label": label,
        "boxes": np.asarray([box["box"] for box in boxes], dtype=np.float32).reshape(-1, 4),
        "box_finding": np.asarray([place[box["finding"]] for box in boxes], dtype=np.int64),
        "box_cnr": np.asarray([math.nan if cnr is None else cnr for cnr in contrasts], dtype=np.float32),
        "boxed": boxed,
    }


def patient_name(patient_id: Any) -> str:
    """Who an entry's `patient_id` is: its text without white space around it, with which DICOM pads to even length."""
    return str(patient_id).strip()


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def show(value: Any) -> str:
    """A value for a message, cut to a line's worth."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: Any, known: Collection[str]) -> str:
    """` (did you mean ...?)`, or nothing where no known name is near."""
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), list(lower), n=1)
    return f" (did you mean {lower[close[0]]}?)" if close else ""


def _unknown(name: Any, findings: Collection[str]) -> tuple[str, str]:
    """Found and wanted for a name that is not among the findings."""
    return show(name), f"one of the findings {', '.join(findings)}{nearest(name, findings)}"
