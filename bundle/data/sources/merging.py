"""Several readers' boxes and labels under one stated rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from bundle.data.repeated_boxes import BETWEEN_READERS
from bundle.data.sources.record import Box

__all__ = ["RULES", "Merged", "merge_readers"]

RULES = ("any", "majority")


@dataclass(frozen=True)
class Merged:
    """What the readers of an image say together.

    Attributes:
        labels: finding -> 1 or 0.
        boxes: under "any" all of them, with their readers; under "majority" a box for each lesion.
        boxed: findings whose boxes are complete, or that are absent.
        readers: under "any" all who looked; empty under "majority", whose boxes are nobody's own.
    """

    labels: Mapping[str, int]
    boxes: Sequence[Box]
    boxed: frozenset[str]
    readers: Sequence[str]


def merge_readers(boxes: Sequence[Box], readers: Sequence[str], findings: Sequence[str], rule: str) -> Merged:
    """One reference of several readers, all of whom looked for every finding.

    "any": a finding is present if one of them drew it, and all boxes are kept. "majority": it is present if more than
    half of them drew it anywhere, and a lesion is what more than half of them drew, by a chain of boxes of which two by
    different readers have an IoU of at least `BETWEEN_READERS`; its box is the mean of theirs. A finding on which they
    agree, and on no lesion of it, is present without boxes, and not boxed.

    Args:
        boxes: of one image, each with its reader.
        readers: all who looked.
        findings: that they looked for.
        rule: one of `RULES`.

    Returns:
        Labels and boxes.
    """
    if rule == "any":
        drawn = {box.finding for box in boxes}
        labels = {finding: int(finding in drawn) for finding in findings}
        return Merged(labels, boxes, frozenset(findings), readers)
    labels, kept = {}, list[Box]()
    for finding in findings:
        own = [box for box in boxes if box.finding == finding]
        labels[finding] = int(2 * len({box.reader for box in own}) > len(readers))
        if labels[finding]:
            kept += _lesions(own, len(readers))
    with_boxes = {box.finding for box in kept}
    complete = frozenset(finding for finding, label in labels.items() if not label or finding in with_boxes)
    return Merged(labels, kept, complete, ())


def _lesions(boxes: Sequence[Box], readers: int) -> list[Box]:
    """The lesions of one finding that more than half of the readers drew."""
    corners = np.array([box.corners for box in boxes], float)
    names = np.array([box.reader for box in boxes])
    same = (_iou(corners) >= BETWEEN_READERS) & (names[:, None] != names)
    number = connected_components(same)[1]
    lesions = []
    for lesion in np.unique(number):
        places = np.flatnonzero(number == lesion)
        if 2 * len(set(names[places])) > readers:
            x0, y0, x1, y1 = corners[places].mean(0).tolist()
            lesions.append(replace(boxes[places[0]], corners=(x0, y0, x1, y1), reader=""))
    return lesions


def _iou(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, N) of N boxes; in numpy, as an image has few and a data set thousands of images."""
    inner = np.minimum(corners[:, None, 2:], corners[None, :, 2:]) - np.maximum(
        corners[:, None, :2], corners[None, :, :2]
    )
    both = inner.clip(0).prod(-1)
    area = (corners[:, 2:] - corners[:, :2]).prod(-1)
    return both / (area[:, None] + area[None] - both)
