"""NIH ChestX-ray14 as a datalist, from NIH's own tables and the folder of the images.

What the labels mean. NIH's labels are mined from reports by text processing, and no report is published. A finding that
is listed for an image is 1, one of the fourteen that is not listed is 0. A box makes its finding 1. On an image of the
box table, the findings that it has boxes of are `boxed`, that is complete: at most one box of a finding was drawn on an
image, and what the readers left out nobody can know. Its other positive findings are positive without boxes, and so are
all those of the other images: they train the image scores, and FROC leaves them out.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.datalist_text import write_datalist
from bundle.data.folds import split_by_hash
from bundle.data.nih_benchmark import FINGERPRINT, FOLDS, Sections, benchmark_sections, fingerprint
from bundle.data.nih_tables import (
    BOX_SIDE,
    BOX_TABLE,
    FINDINGS,
    IMAGE_TABLE,
    NIHBox,
    NIHImage,
    find_table,
    packaged_tables,
    read_boxes,
    read_images,
    read_names,
)
from bundle.fingerprint import file_sha256
from bundle.reading.radiograph import stored_size

__all__ = ["find_images", "prepare_nih", "scale_box"]

PathLike = str | os.PathLike[str]
SPLITS = ("patient", "official")
REQUIRED = ("all", "boxed")
TRAIN_LIST, TEST_LIST = "train_val_list.txt", "test_list.txt"
_PRINTED = 5
_LOG = logging.getLogger(__name__)


def prepare_nih(
    images: PathLike,
    output: PathLike,
    tables: PathLike | None = None,
    split: str | None = None,
    benchmark: bool = False,
    require: str = "all",
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Path:
    """Write the datalist of NIH ChestX-ray14.

    Its images are named relative to the folder `images`: where the datalist lies elsewhere, whoever reads it is told
    that folder (`base_dir` of `bundle.data.datalist.datalist_section`, `image_dir` in the configs).

    Args:
        images: folder of the PNG files; its sub-folders, such as the download's images_001/images, are searched.
        output: the JSON file to write.
        tables: folder of `Data_Entry_2017*.csv` and `BBox_List_2017.csv`, plain or .gz; None takes those that
            torchxrayvision carries, with which the benchmark is defined.
        split: "official" takes `test_list.txt` of the tables' folder as test and divides `train_val_list.txt` into
            training and validation; "patient", the default, divides all. Both by the hash of the patient's number.
        benchmark: instead of the whole, the 880 images with boxes and 880 without findings in five folds, sections
            `fold_0` .. `fold_4` (`bundle.data.nih_benchmark.benchmark_sections`).
        require: "all" wants every image; "boxed" those with boxes, and leaves out what else is missing.
        validation: share of the patients; of those of `train_val_list.txt` in the official split.
        test: share of the patients in the split by patient.
        seed: of the split by patient, and of validation.

    Returns:
        The datalist's path.

    Raises:
        ValueError: arguments that cannot be meant, or tables with faults, all named.
        FileNotFoundError: missing images (how many, and the first few) or tables.
        RadiographError: an image with boxes that cannot be read.
        ModuleNotFoundError: torchxrayvision is not installed, and `tables` is None.
    """
    _check_arguments(split, benchmark, require)
    folder, place = Path(images), packaged_tables() if tables is None else Path(tables)
    files = [find_table(place, IMAGE_TABLE), find_table(place, BOX_TABLE)]
    rows, boxes = read_images(files[0]), read_boxes(files[1])
    boxes_of = _by_image(rows, boxes, files)
    if benchmark:
        sections = benchmark_sections(rows, boxes)
    elif split == "official":
        sections = _official(rows, place, validation, seed)
    else:
        shares = {"training": 1 - validation - test, "validation": validation, "test": test}
        sections = _by_patient(rows, shares, seed)
    every = [image.name for section in sections.values() for image in section]
    paths = find_images(folder, every)
    needed = [name for name in every if require == "all" or name in boxes_of]
    if absent := sorted(set(needed) - paths.keys()):
        raise FileNotFoundError(_missing(folder, absent, len(needed), benchmark))
    missing = set(every) - paths.keys()
    sections = {key: [image for image in part if image.name not in missing] for key, part in sections.items()}

    placed, clipped = _place_boxes(folder, paths, boxes_of)
    mark = fingerprint(sections)
    counts = {key: _count(part, boxes_of) for key, part in sections.items()}
    counts["all"] = _count([image for part in sections.values() for image in part], boxes_of)
    document: dict[str, Any] = {
        "description": _description(counts, benchmark),
        "source": {
            "tables": {file.name: file_sha256(file) for file in files},
            "split": f"benchmark, {FOLDS} folds by patient" if benchmark else f"{split or 'patient'}, seed {seed}",
            "fingerprint": mark,
            "counts": counts,
            "clipped_boxes": clipped,
            "images_left_out": len(missing),
        },
        "findings": list(FINDINGS),
    }
    if benchmark:
        document["no_finding_sample"] = sorted(name for name in every if name not in boxes_of)
    for key, part in sections.items():
        document[key] = [_entry(image, paths[image.name], placed.get(image.name, [])) for image in part]
    write_datalist(output, document)
    _tell(Path(output), folder, document, sections, benchmark)
    return Path(output)


def find_images(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Where the images lie in a folder and its sub-folders.

    Args:
        folder: to search; links to folders are not followed.
        names: of the files.

    Returns:
        Name -> path relative to the folder, with forward slashes, for those that are there.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a name stands in two places.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder; wanted that of NIH's images")
    wanted = set(names)
    found: dict[str, str] = {}
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in wanted.intersection(files):
            path = (Path(place) / name).relative_to(folder).as_posix()
            if name in found:
                raise ValueError(f"{folder}: found {found[name]} and {path}; wanted each image once: name one's folder")
            found[name] = path
    return found


def scale_box(box: NIHBox, size: tuple[int, int]) -> tuple[list[float], bool]:
    """A box in pixels of the stored image, clipped to it.

    Args:
        box: in the frame of NIH's 1024 x 1024 images.
        size: (H, W) of the stored image: 1024 x 1024, or a smaller copy of it.

    Returns:
        [x0, y0, x1, y1] to four decimals, and whether it was clipped.

    Raises:
        ValueError: the image is not square, and so no copy at another size; or nothing of the box is inside.
    """
    height, width = size
    if height != width:
        raise ValueError(f"{box.image}: found {width} x {height} pixels; wanted {BOX_SIDE} x {BOX_SIDE} or a copy")
    corners = (np.asarray(box.corners) * (width / BOX_SIDE)).round(4)
    inside = corners.clip(0, width)
    if not (inside[2:] > inside[:2]).all():
        raise ValueError(f"{box.image}: found a box of {box.finding} outside the image, {corners.tolist()}")
    return inside.tolist(), bool((inside != corners).any())


def _check_arguments(split: str | None, benchmark: bool, require: str) -> None:
    if split not in (None, *SPLITS):
        raise ValueError(f"Found split {split!r}; wanted {' or '.join(SPLITS)}.")
    if require not in REQUIRED:
        raise ValueError(f"Found require {require!r}; wanted {' or '.join(REQUIRED)}.")
    if benchmark and (split is not None or require != "all"):
        raise ValueError("The benchmark has its own folds and needs all of its images: leave split and require out.")


def _by_image(rows: Sequence[NIHImage], boxes: Sequence[NIHBox], files: Sequence[Path]) -> dict[str, list[NIHBox]]:
    """The boxes of each image that has any."""
    known = {image.name for image in rows}
    if strange := sorted({box.image for box in boxes} - known):
        raise ValueError(
            f"{files[1]}: found boxes of {len(strange)} images that {files[0].name} does not have ("
            f"{', '.join(strange[:_PRINTED])}); wanted both tables of one release"
        )
    result: defaultdict[str, list[NIHBox]] = defaultdict(list)
    for box in boxes:
        result[box.image].append(box)
    return dict(result)


def _by_patient(rows: Sequence[NIHImage], shares: Mapping[str, float], seed: int) -> Sections:
    """All images, split by the hash of their patients."""
    section = split_by_hash([image.patient_id for image in rows], shares, seed)
    sections: Sections = {key: [] for key in shares}
    for image in rows:
        sections[section[image.patient_id]].append(image)
    return sections


def _official(rows: Sequence[NIHImage], place: Path, validation: float, seed: int) -> Sections:
    """NIH's own split; validation is cut from its training part by patient."""
    lists = {name: set(read_names(place / name)) for name in (TRAIN_LIST, TEST_LIST)}
    names = {image.name for image in rows}
    stray = [*sorted(names - lists[TRAIN_LIST] - lists[TEST_LIST]), *sorted(lists[TRAIN_LIST] & lists[TEST_LIST])]
    if stray:
        raise ValueError(
            f"{place}: {len(stray)} images are in neither or in both of {TRAIN_LIST} and {TEST_LIST} ("
            f"{', '.join(stray[:_PRINTED])}); wanted each in one of them"
        )
    train = [image for image in rows if image.name in lists[TRAIN_LIST]]
    sections = _by_patient(train, {"training": 1 - validation, "validation": validation}, seed)
    return {**sections, "test": [image for image in rows if image.name in lists[TEST_LIST]]}


def _place_boxes(
    folder: Path, paths: Mapping[str, str], boxes_of: Mapping[str, Sequence[NIHBox]]
) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """The datalist's boxes of each image that is there, and how many had to be clipped."""
    placed: dict[str, list[dict[str, Any]]] = {}
    clipped = 0
    for name in sorted(paths.keys() & boxes_of.keys()):
        size = stored_size(folder / paths[name])
        placed[name] = []
        for box in boxes_of[name]:
            corners, was_clipped = scale_box(box, size)
            placed[name].append({"finding": box.finding, "box": corners})
            clipped += was_clipped
    return placed, clipped


def _entry(image: NIHImage, path: str, boxes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The datalist's entry of an image; what is unknown is left out."""
    boxed = list(dict.fromkeys(box["finding"] for box in boxes))
    entry: dict[str, Any] = {
        "image": path,
        "patient_id": image.patient_id,
        "labels": {finding: int(finding in image.labels or finding in boxed) for finding in FINDINGS},
        "sex": image.sex,
        "age": image.age,
        "view": image.view,
        "site": "NIH",
        "boxes": list(boxes),
        "boxed": boxed,
    }
    return {key: value for key, value in entry.items() if value not in (None, "", [])}


def _count(images: Sequence[NIHImage], boxes_of: Mapping[str, Sequence[NIHBox]]) -> dict[str, Any]:
    """What a section holds."""
    boxes = [box for image in images for box in boxes_of.get(image.name, ())]
    findings = Counter(box.finding for box in boxes)
    return {
        "images": len(images),
        "patients": len({image.patient_id for image in images}),
        "boxed_images": len({box.image for box in boxes}),
        "boxes": len(boxes),
        "boxes_of": {finding: findings[finding] for finding in FINDINGS if findings[finding]},
    }


def _description(counts: Mapping[str, Mapping[str, Any]], benchmark: bool) -> str:
    """For the report, which shows it."""
    every = counts["all"]
    what = f"benchmark of {FOLDS} folds by patient" if benchmark else "prepared from its tables"
    return (
        f"NIH ChestX-ray14 (Wang et al. 2017), {what}: {every['images']} frontal radiographs of {every['patients']} "
        f"patients, {every['boxes']} boxes on {every['boxed_images']} images. Labels are text-mined from reports."
    )


def _missing(folder: Path, missing: Sequence[str], needed: int, benchmark: bool) -> str:
    """The message for images that are not there."""
    more = ", ..." if len(missing) > _PRINTED else ""
    mend = "" if benchmark else ", or require boxed to leave out what has no boxes and is not there"
    return (
        f"{folder}: found {needed - len(missing)} of {needed} images; missing are "
        f"{', '.join(missing[:_PRINTED])}{more}. "
        f"Wanted NIH's download, unpacked; its sub-folders are searched{mend}"
    )


def _tell(output: Path, folder: Path, document: Mapping[str, Any], sections: Sections, benchmark: bool) -> None:
    """Log the counts."""
    source = document["source"]
    for key, count in source["counts"].items():
        of = ", ".join(f"{finding} {number}" for finding, number in count["boxes_of"].items())
        _LOG.info(
            f"{key}: {count['images']} images of {count['patients']} patients; {count['boxes']} boxes on "
            f"{count['boxed_images']} images" + (f" ({of})" if of else "")
        )
    ageless = sum(image.age is None for part in sections.values() for image in part)
    _LOG.info(
        f"{source['clipped_boxes']} boxes clipped to their image, {ageless} ages unknown, "
        f"{source['images_left_out']} missing images left out."
    )
    if benchmark and source["fingerprint"] == FINGERPRINT:
        _LOG.info(f"This is the benchmark of docs/benchmark_nih.md, fingerprint {FINGERPRINT[:12]}.")
    elif benchmark:
        _LOG.warning(
            f"Not the benchmark of docs/benchmark_nih.md: found fingerprint {source['fingerprint'][:12]}, wanted "
            f"{FINGERPRINT[:12]}. Other tables, or another scikit-learn; numbers are not comparable."
        )
    _LOG.info(f"{output}: images are named relative to {folder}, to be given as --image_dir.")
