"""Who drew what: the boxes of each of several readers of an image, before they become one reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bundle.data.datalist_entry import Complaint, show
from bundle.reading.upright import Upright

NAME = "a reader's pseudonym, text without / | { }"


def reader_complaints(entry: dict[str, Any]) -> Iterator[Complaint]:
    """The faults of `readers`, and of the `reader` of each box.

    An image that names its readers says who looked for all findings: one of them who drew nothing saw nothing. So each
    of its boxes names one of them. Without `readers` a box may name its reader or not.

    Yields:
        (field, found, wanted).
    """
    readers = entry.get("readers")
    if readers is not None and not (isinstance(readers, list) and all(map(_is_name, readers))):
        yield "readers", show(readers), f"a list, each {NAME}"
        readers = None
    elif readers is not None and len(set(readers)) < len(readers):
        yield "readers", show(readers), "each reader once"
    boxes = entry.get("boxes")
    for index, box in enumerate(boxes if isinstance(boxes, list) else []):
        name = box.get("reader") if isinstance(box, dict) else None
        if name is not None and not _is_name(name):
            yield f"boxes[{index}].reader", show(name), NAME
        elif readers is not None and name not in readers:
            yield f"boxes[{index}].reader", show(name), f"one of the image's readers, {', '.join(readers) or 'none'}"


def boxes_by_reader(entry: dict[str, Any], findings: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """What each reader of an image drew.

    Args:
        entry: of a checked datalist.
        findings: the K findings asked for; boxes of others are left out.

    Returns:
        For each of the entry's `readers`, in order: `boxes` (N, 4) float32, in pixels of the picture turned upright
        where its orientation is known, and `box_finding` (N,) int64. Empty where the entry names no readers.
    """
    turn = Upright.of(entry["stored_orientation"]) if "stored_orientation" in entry else None
    drawn: dict[str, dict[str, np.ndarray]] = {}
    for name in entry.get("readers") or []:
        own = [box for box in entry["drawn"] if box["reader"] == name and box["finding"] in findings]
        boxes = np.asarray([box["box"] for box in own], np.float32).reshape(-1, 4)
        if turn is not None:
            boxes = turn.boxes(boxes, entry["stored_size"]).astype(np.float32)
        places = np.asarray([list(findings).index(box["finding"]) for box in own], np.int64)
        drawn[name] = {"boxes": boxes, "box_finding": places}
    return drawn


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not set("/|{}") & set(value)
