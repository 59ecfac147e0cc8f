"""The public benchmark on NIH ChestX-ray14: which images, and in which fold; derived from the tables by fixed rules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from bundle.data.folds import assign_folds, hash_order
from bundle.data.nih_tables import NO_FINDING, NIHBox, NIHImage

FOLDS = 5
FINGERPRINT = "485a6da8e160299b6839f78ee3cc8842c5a9e61fcb337220db4b4134551828fe"
"""Of the benchmark from `Data_Entry_2017_v2020.csv` and `BBox_List_2017.csv`; the tests pin it."""

Sections = dict[str, list[NIHImage]]


def benchmark_sections(images: Sequence[NIHImage], boxes: Sequence[NIHBox]) -> Sections:
    """The benchmark's images in its folds.

    1. Every image that has a box.
    2. As many images labelled "No Finding", each of another patient, none of them a patient of (1): in the order of the
       SHA-256 of their names, every image whose patient has not been taken, until there are enough.
    3. Five folds by patient, balanced by the number of boxes of each finding and of images without
       (`bundle.data.folds.assign_folds`).

    Args:
        images: rows of the label table.
        boxes: rows of the box table, all of images in the label table.

    Returns:
        `fold_0` .. `fold_4`, each by name of the image.

    Raises:
        ValueError: too few images without a finding, or too few patients for the folds.
    """
    with_boxes = {box.image for box in boxes}
    chosen = [image for image in images if image.name in with_boxes]
    normal = draw_normal(images, {image.patient_id for image in chosen}, len(chosen))
    patient = {image.name: image.patient_id for image in chosen}
    members = [(patient[box.image], box.finding) for box in boxes]
    members += [(image.patient_id, NO_FINDING) for image in normal]
    fold = assign_folds([group for group, _ in members], [finding for _, finding in members], FOLDS)
    sections: Sections = {f"fold_{n}": [] for n in range(FOLDS)}
    for image in sorted([*chosen, *normal], key=lambda image: image.name):
        sections[f"fold_{fold[image.patient_id]}"].append(image)
    return sections


def draw_normal(images: Sequence[NIHImage], without: set[str], count: int) -> list[NIHImage]:
    """Images labelled "No Finding", one a patient, by the SHA-256 of their names.

    Args:
        images: rows of the label table.
        without: patients to leave out.
        count: how many.

    Returns:
        The images, in the order in which they were drawn.

    Raises:
        ValueError: there are fewer.
    """
    drawn: dict[str, NIHImage] = {}
    for image in sorted((image for image in images if not image.labels), key=lambda image: hash_order(image.name)):
        if len(drawn) == count:
            break
        if image.patient_id not in without:
            drawn.setdefault(image.patient_id, image)
    if len(drawn) < count:
        raise ValueError(
            f"Found {len(drawn)} patients with an image labelled {NO_FINDING} and none with a box; wanted {count}, as "
            f"many as there are images with boxes."
        )
    return list(drawn.values())


def fingerprint(sections: Mapping[str, Sequence[NIHImage]]) -> str:
    """SHA-256 of the sorted lines "<section> <image>": two people with the same one have the same split.

    Args:
        sections: of a datalist.
    """
    lines = sorted(f"{section} {image.name}" for section, images in sections.items() for image in images)
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()
