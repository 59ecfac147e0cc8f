"""A datalist as a COCO file, for annotation tools and detectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.atomic import write_json
from bundle.data.datalist import Datalist, load_datalist
from bundle.data.datalist_check import parse_document

__all__ = ["export_coco"]

PathLike = str | os.PathLike[str]


def export_coco(
    datalist: PathLike, output: PathLike, section: str | Sequence[str] | None = None, images: PathLike | None = None
) -> Path:
    """Writes sections of a datalist as COCO: every box as it was drawn, several readers' too.

    What COCO has no place for stands beside it: of an image `patient_id`, `section`, `labels`, `boxed` and `readers`,
    of a box its `reader` and `caption`. `bundle.data.sources.coco.read_coco` reads all of it back.

    Args:
        datalist: the JSON file.
        output: the COCO file.
        section: one or several; None takes all.
        images: the images' folder, from which COCO's file names count; None is the datalist's folder.

    Returns:
        The COCO file's path.

    Raises:
        DatalistError: a datalist with faults, or no such section.
    """
    path = Path(datalist)
    document, _ = parse_document(path)
    every = [key for key, value in document.items() if key != "findings" and _is_section(value)]
    asked = every if section is None else [section] if isinstance(section, str) else list(section)
    if absent := [name for name in asked if name not in every]:
        raise ValueError(f"{path}: found the sections {', '.join(every)}; wanted {', '.join(absent)}.")
    loaded = load_datalist(path, asked, base_dir=images)
    base = (path.parent if images is None else Path(images)).absolute()
    write_json(output, _document(loaded, asked, base))
    return Path(output)


def _is_section(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _document(datalist: Datalist, sections: Sequence[str], base: Path) -> dict[str, Any]:
    numbers = {finding: number for number, finding in enumerate(datalist.findings, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for section in sections:
        for entry in datalist[section]:
            height, width = entry["stored_size"]
            more = {"labels": entry["labels"], "boxed": entry["boxed"], "readers": entry.get("readers") or []}
            image = {
                "id": len(images) + 1,
                "file_name": Path(os.path.relpath(entry["image"], base)).as_posix(),
                "width": width,
                "height": height,
                "patient_id": entry["patient_id"],
                "section": section,
            }
            images.append(image | more)
            for box in entry["drawn"]:
                x0, y0, x1, y1 = box["box"]
                annotation = {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": numbers[box["finding"]],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
                annotations.append(annotation | {key: box[key] for key in ("reader", "caption") if box.get(key)})
    categories = [{"id": number, "name": finding} for finding, number in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
