"""SIIM-ACR Pneumothorax Segmentation (2019): train-rle.csv; each part of a mask becomes a box.

Masks are of 1024 x 1024 pixels, column by column. Runs are pairs of numbers: how far behind the end of the run before
a run starts, and how long it is. An image has several rows where several pneumothoraces were drawn.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import numpy.typing as npt
from skimage.measure import label, regionprops

from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.table_file import TableFile, find_file

__all__ = ["decode_runs", "read_siim"]

FINDING = "Pneumothorax"
SIDE = 1024
_NOTHING = "-1"


def read_siim(tables: str | os.PathLike[str]) -> Reading:
    """Read the pneumothorax challenge of SIIM and ACR.

    Args:
        tables: train-rle.csv, plain or .gz, or its folder.

    Returns:
        A record for each image, in the order of the table. The table names no patients.

    Raises:
        FileNotFoundError: no such table.
        SourceError: every fault of header and rows.
    """
    path = find_file(tables, "train-rle.csv", "stage_2_train.csv", "siim-pneumothorax-train-rle.csv")
    table = TableFile(path)
    table.need("ImageId", "EncodedPixels")
    faults, dropped = Faults(), Counter[str]()
    boxes: dict[str, list[Box]] = {}
    first: dict[str, tuple[bool, str]] = {}
    seen: set[tuple[str, str]] = set()
    for where, row in table.rows(faults):
        image, runs = row["ImageId"], row["EncodedPixels"]
        if not image:
            faults.add(where, "ImageId", "nothing", "the image's name")
        if (image, runs) in seen:
            dropped["which repeat another in every cell"] += 1
            continue
        seen.add((image, runs))
        positive = runs != _NOTHING
        known, line = first.setdefault(image, (positive, where))
        if known != positive:
            wanted = "-1 or masks in all rows of an image"
            faults.add(where, "EncodedPixels", f"{'a mask' if positive else '-1'}, unlike in {line}", wanted)
        drawn = boxes.setdefault(image, [])
        if positive:
            try:
                drawn += [Box(FINDING, corners, (SIDE, SIDE), where=where) for corners in _parts(decode_runs(runs))]
            except ValueError as error:
                wanted = f"pairs of whole numbers, gap and length, within {SIDE} x {SIDE} pixels, or -1"
                faults.add(where, "EncodedPixels", str(error), wanted)
    faults.refuse()
    complete = frozenset({FINDING})
    records = [
        Record(image, image, {FINDING: int(bool(drawn))}, drawn, complete, site="SIIM", where=first[image][1])
        for image, drawn in boxes.items()
    ]
    return Reading("SIIM-ACR Pneumothorax Segmentation 2019", (FINDING,), records, (path,), dropped, table.notes)


def decode_runs(text: str) -> npt.NDArray[np.bool_]:
    """The mask of a text of run lengths.

    Args:
        text: gap and length, gap and length, ..., in pixels down the columns, from left to right.

    Returns:
        (`SIDE`, `SIDE`), rows and columns.

    Raises:
        ValueError: it is no such text; the message is what was found.
    """
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError("something that is no whole number") from None
    if len(numbers) == 0 or len(numbers) % 2:
        raise ValueError(f"{len(numbers)} numbers")
    gaps, lengths = numbers.reshape(-1, 2).T
    if (gaps < 0).any() or (lengths <= 0).any():
        raise ValueError("a gap below 0, or a run without length")
    if (end := int(numbers.sum())) > SIDE * SIDE:
        raise ValueError(f"{end} pixels")
    mask = np.zeros(SIDE * SIDE, bool)
    mask[:end] = np.repeat(np.tile([False, True], len(gaps)), numbers)
    return mask.reshape(SIDE, SIDE).T


def _parts(mask: npt.NDArray[np.bool_]) -> list[tuple[float, float, float, float]]:
    """x0, y0, x1, y1 of each connected part, corners touching counted as connected."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    x, y = int(columns[0]), int(rows[0])
    inner = mask[y : rows[-1] + 1, x : columns[-1] + 1]
    corners = []
    for part in regionprops(label(inner, connectivity=2)):
        y0, x0, y1, x1 = part.bbox
        corners.append((float(x + x0), float(y + y0), float(x + x1), float(y + y1)))
    return corners
