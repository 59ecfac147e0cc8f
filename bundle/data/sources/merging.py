"""Several readers' boxes and labels under one stated rule."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from bundle.data.repeated_boxes import BETWEEN_READERS
from bundle.data.sources.faults import SourceError
from bundle.data.sources.record import Box

__all__ = ["RULES", "Merged", "agreement_note", "merge_readers"]

RULES = ("any", "majority", "fusion")


@dataclass(frozen=True)
class Merged:
    """What the readers of an image say together.

    Attributes:
        labels: finding -> 1 or 0.
        boxes: under "any" all of them, with their readers; otherwise a box for each lesion, with the share of the
            readers who drew it as its `agreement`.
        boxed: findings whose boxes are complete, or that are absent.
        readers: under "any" all who looked; otherwise empty, as the boxes are nobody's own.
    """

    labels: Mapping[str, int]
    boxes: Sequence[Box]
    boxed: frozenset[str]
    readers: Sequence[str]


def merge_readers(boxes: Sequence[Box], readers: Sequence[str], findings: Sequence[str], rule: str) -> Merged:
    """One reference of several readers, all of whom looked for every finding.

    "any": a finding is present if one of them drew it, and all boxes are kept. "majority": it is present if more than
    half of them drew it anywhere, and a lesion is what more than half of them drew, by a chain of boxes of which two by
    different readers have an IoU of at least `BETWEEN_READERS`; its box is the mean of theirs. "fusion": the same, but
    lesions are the clusters of weighted box fusion (Solovyev, Wang, Gabruseva, Image and Vision Computing 107, 2021),
    every reader with weight 1 and every box with confidence 1: a box joins the cluster with whose mean it has the
    largest IoU, above `BETWEEN_READERS`, or starts one. A finding on which they agree, and on no
    lesion of it, is present without boxes, and not boxed.

    Args:
        boxes: of one image, each with its reader.
        readers: all who looked.
        findings: that they looked for.
        rule: one of `RULES`.

    Returns:
        Labels and boxes.

    Raises:
        SourceError: "fusion" without its library.
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
            kept += (_fused if rule == "fusion" else _lesions)(own, len(readers))
    with_boxes = {box.finding for box in kept}
    complete = frozenset(finding for finding, label in labels.items() if not label or finding in with_boxes)
    return Merged(labels, kept, complete, ())


def agreement_note(drawn: Sequence[Sequence[Box]], readers: Sequence[int], findings: Sequence[str]) -> str:
    """How far the readers of a data set agree, in words that stay when a consensus takes the place of their boxes.

    Args:
        drawn: of each image, all boxes, with their readers.
        readers: of each image, how many looked.
        findings: that they looked for.
    """
    said = {finding: Counter[str]() for finding in findings}
    for boxes, looked in zip(drawn, readers, strict=True):
        by = Counter(finding for finding, _ in {(box.finding, box.reader) for box in boxes})
        for finding, number in by.items():
            said[finding].update(one=1, most=2 * number > looked, all=number == looked)
    parts = (f"{finding} {n['one']:,}, {n['most']:,}, {n['all']:,}" for finding, n in said.items() if n)
    return f"Images in which one reader at least, more than half and all drew a finding: {'; '.join(parts)}"


def _lesions(boxes: Sequence[Box], readers: int) -> list[Box]:
    """The lesions of one finding that more than half of the readers drew."""
    corners = np.array([box.corners for box in boxes], float)
    names = np.array([box.reader for box in boxes])
    same = (_iou(corners) >= BETWEEN_READERS) & (names[:, None] != names)
    number = connected_components(same)[1]
    lesions = []
    for lesion in np.unique(number):
        places = np.flatnonzero(number == lesion)
        agreement = len(set(names[places])) / readers
        if agreement > 0.5:
            lesions.append(_lesion(boxes[places[0]], corners[places].mean(0), agreement))
    return lesions


def _fused(boxes: Sequence[Box], readers: int) -> list[Box]:
    """The same, of the clusters of weighted box fusion."""
    corners = np.array([box.corners for box in boxes], float)
    low, high = corners.min(0).reshape(2, 2).min(0), corners.max(0).reshape(2, 2).max(0)
    low, span = np.tile(low, 2), np.tile(high - low, 2)
    names = list(dict.fromkeys(box.reader for box in boxes))
    own = [((corners - low) / span)[[box.reader == name for box in boxes]] for name in names]
    own += [np.empty((0, 4))] * (readers - len(names))  # who drew nothing
    ones = [np.ones(len(each)) for each in own]
    # with this confidence a cluster's is the share of the readers who have a box in it
    fused, agreement, _ = _library().weighted_boxes_fusion(
        own, ones, ones, iou_thr=BETWEEN_READERS, conf_type="box_and_model_avg"
    )
    return [
        _lesion(boxes[0], np.asarray(box, float) * span + low, float(share))
        for box, share in zip(fused, agreement, strict=True)
        if share > 0.5
    ]


def _lesion(first: Box, corners: npt.NDArray[np.float64], agreement: float) -> Box:
    """A box that is nobody's own."""
    x0, y0, x1, y1 = corners.tolist()
    return replace(first, corners=(x0, y0, x1, y1), reader="", agreement=round(agreement, 4))


@cache
def _library() -> Any:
    """The module of ensemble-boxes that has the method: NumPy alone, where the package's own import compiles others."""
    package = importlib.util.find_spec("ensemble_boxes")
    if package is None or not package.submodule_search_locations:
        wanted = "python -m pip install --no-deps ensemble-boxes==1.0.9, or another rule"
        raise SourceError(f"--readers fusion: found no package ensemble-boxes; wanted {wanted}.")
    file = Path(package.submodule_search_locations[0]) / "ensemble_boxes_wbf.py"
    spec = importlib.util.spec_from_file_location("ensemble_boxes_wbf", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _iou(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, N) of N boxes; in numpy, as an image has few and a data set thousands of images."""
    inner = np.minimum(corners[:, None, 2:], corners[None, :, 2:]) - np.maximum(
        corners[:, None, :2], corners[None, :, :2]
    )
    both = inner.clip(0).prod(-1)
    area = (corners[:, 2:] - corners[:, :2]).prod(-1)
    return both / (area[:, None] + area[None] - both)
