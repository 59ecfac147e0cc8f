"""One lesion that was boxed more than once, as where several readers drew: one box of it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.data.box_utils import box_iou
from scipy.sparse.csgraph import connected_components

SAME_LESION = 0.75
"""IoU from which on two boxes of one finding in one image are of one lesion; of lesions side by side it is near 0."""
BETWEEN_READERS = 0.5
"""The same of boxes by two readers that have names: they draw one lesion tighter or wider, one reader draws it once."""


@dataclass
class Repeats:
    """How many repeated boxes `without_repeats` found.

    Attributes:
        lesions: that had more than one box.
        boxes: that are no longer there.
        differing: lesions whose boxes have captions or attributes that say different things.
    """

    lesions: int = 0
    boxes: int = 0
    differing: int = 0

    def __str__(self) -> str:
        """For a log."""
        text = (
            f"Several boxes of one lesion (one finding, IoU at least {SAME_LESION}, between two named readers "
            f"{BETWEEN_READERS}), as readers draw them: each lesion counts once, with their mean. "
            f"Lesions: {self.lesions}; boxes merged into another: {self.boxes}."
        )
        kept = f" Captions or attributes differ in {self.differing} of them: the first box's are kept."
        return text + kept * bool(self.differing)


def without_repeats(boxes: Sequence[dict[str, Any]], found: Repeats) -> list[dict[str, Any]]:
    """The boxes of one image, those of one lesion merged.

    Two boxes of one finding are of one lesion if their IoU is at least `SAME_LESION`, or `BETWEEN_READERS` where each
    names another reader, or if a chain of such pairs leads from one to the other. The merged box takes the first one's
    place; its corners are the means of theirs. Its caption, each of its attributes and all else is what the first box
    that says it says.

    Args:
        boxes: of a datalist's entry, checked.
        found: is added to.

    Returns:
        Boxes as a datalist has them.
    """
    finding = [box["finding"] for box in boxes]
    if len(set(finding)) == len(finding):
        return list(boxes)
    corners, names = np.array([box["box"] for box in boxes], dtype=float), np.array(finding)
    drew = [box.get("reader") for box in boxes]
    others = np.array([[mine != other and None not in (mine, other) for other in drew] for mine in drew])
    enough = np.where(others, BETWEEN_READERS, SAME_LESION)
    alike = (box_iou(corners, corners) >= enough) & (names[:, None] == names)
    lesions: dict[int, list[dict[str, Any]]] = {}  # in the order of their first boxes
    for box, lesion in zip(boxes, connected_components(alike)[1].tolist(), strict=True):
        lesions.setdefault(lesion, []).append(box)
    return [_merged(drawn, found) if len(drawn) > 1 else drawn[0] for drawn in lesions.values()]


def _merged(drawn: Sequence[dict[str, Any]], found: Repeats) -> dict[str, Any]:
    """One box for those of one lesion."""
    captions = [{"caption": box["caption"]} for box in drawn if box.get("caption")]
    attributes = [_stated(box.get("attributes") or {}) for box in drawn]
    found.lesions += 1
    found.boxes += len(drawn) - 1
    found.differing += _differ(captions) or _differ(attributes)
    result = _first_said([_stated(box) for box in drawn])
    result["box"] = np.mean([box["box"] for box in drawn], axis=0).tolist()
    if said := _first_said(attributes):
        result["attributes"] = said
    return result


def _stated(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "")}


def _first_said(statements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each key the first value."""
    return {key: value for statement in reversed(statements) for key, value in statement.items()}


def _differ(statements: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a key has two values."""
    said = _first_said(statements)
    return any(value != said[key] for statement in statements for key, value in statement.items())
