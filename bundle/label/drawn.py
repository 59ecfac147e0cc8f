"""What people drew on radiographs, as entries of a datalist: a segment's extent is a box."""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from bundle.data.datalist_check import parse_document
from bundle.fingerprint import file_sha256
from bundle.label.masks import NOTED
from bundle.reading.decode_worker import DecodingError
from bundle.reading.decoder import ItkHeader, itk_header, itk_pixels
from bundle.reading.dicom_header import MAX_PIXELS
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.radiograph import look_at_header, read_radiograph
from bundle.results.findings_file import viewer_affine

PathLike = str | os.PathLike[str]

MAX_PARTS, MAX_SEGMENTS = 1000, 100  # of a mask: people draw a handful; each part is a box, each segment a pass over it

_KINDS = {".nii.gz": "Nifti", ".nii": "Nifti", ".nrrd": "Nrrd", ".mha": "Meta", ".png": "PNG"}
# headers that name no other file
_LOCAL = re.compile(rb"(?is)(?:(?!ElementDataFile).)*ElementDataFile[\s=:]+LOCAL\s")
_ATTACHED = re.compile(rb"(?is)NRRD(?:(?!\r?\n\r?\n|data\s*file).)*\r?\n\r?\n")


class DrawnError(ValueError):
    """A drawn label cannot be used; the message says what is wanted."""


def segment_findings(info: Mapping[str, Any], findings: Sequence[str]) -> dict[int, str]:
    """Which value of a mask is which finding.

    Args:
        info: notes saved with the mask: `label_info`, [{"name", "idx"}], as 3D Slicer sends it. Without it, values are
            those that the server paints: 1 for the first finding.
        findings: in the network's order; upper and lower case are alike.

    Raises:
        DrawnError: a segment is not called as a finding.
    """
    named = info.get("label_info")
    if not named:
        return {k + 1: name for k, name in enumerate(findings)}
    if not isinstance(named, list):
        example = json.dumps([{"name": findings[0], "idx": 1}])
        raise DrawnError(f"label_info must be a list, such as {example}")
    if len(named) > MAX_SEGMENTS:
        raise DrawnError(f"label_info lists {len(named)} segments; wanted at most {MAX_SEGMENTS}")
    known = {name.casefold(): name for name in findings}
    chosen: dict[int, str] = {}
    for place, segment in enumerate(named, start=1):
        name = str(segment.get("name", "")) if isinstance(segment, Mapping) else ""
        if name.casefold() not in known:
            raise DrawnError(f"a segment is called {name[:40]!r}; segments must be called {', '.join(findings)}")
        value = segment.get("idx") or place
        if isinstance(value, bool) or not isinstance(value, int) or value in chosen:
            raise DrawnError(f"idx of {name} is {str(value)[:20]!r}; wanted a number of its own, the mask's value")
        chosen[value] = known[name.casefold()]
    return chosen


def check_submitted(info: Mapping[str, Any], radiograph: str | Path, mask: str | Path) -> None:
    """Refuse a label of which it is not known what it says, or on what.

    Args:
        info: notes saved with the mask.
        radiograph: the file of the name that it was drawn on.
        mask: the mask's file.

    Raises:
        DrawnError: the notes are lost or of another mask, or the radiograph's file is away or another one than when the
            label was submitted.
    """
    if not info.get("label_info"):
        raise DrawnError("no label_info says which value of the mask is which finding; submit the label anew")
    if NOTED in info and info[NOTED] != file_sha256(mask):
        raise DrawnError("the mask is not the one that its notes were written for; submit the label anew")
    if not Path(radiograph).is_file():
        raise DrawnError("the radiograph is away; bring its file back, or delete the label")
    noted = info.get("image_sha256")
    if noted and noted != file_sha256(radiograph):
        raise DrawnError("the file has changed since it was drawn on; bring the old one back, or draw and submit anew")


def segment_boxes(
    mask: PathLike, radiograph: str | Path, names: Mapping[int, str], options: ReadingOptions = DEFAULT_OPTIONS
) -> list[dict[str, Any]]:
    """Boxes around what is drawn: one for each connected part of each segment.

    The mask is placed on the radiograph by the geometry of both, so it may have other pixels, or cover a part. A mask
    without geometry (PNG) must have the radiograph's size.

    Args:
        mask: .nii.gz, .nii, .nrrd, .mha or .png.
        radiograph: what it was drawn on.
        names: from `segment_findings`.
        options: with which the radiograph is read.

    Returns:
        [{"finding", "box"}], boxes in stored pixels, cut to the image.

    Raises:
        DrawnError: the mask does not fit, has too many parts, or the radiograph is, by its header, no frontal chest
            radiograph.
    """
    if not_frontal := look_at_header(radiograph, options).not_assessed:  # training would refuse it
        raise DrawnError(f"the radiograph is not assessed: {not_frontal}; delete the label, or draw on a frontal chest")
    _, meta = read_radiograph(radiograph, options)
    height, width = meta["stored_size"]
    header, array = _read_mask(Path(mask))
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or header.channels != 1:
        raise DrawnError(f"the mask has the shape {array.shape}; wanted one slice, one value a pixel")
    if len(header.shape) == 3:
        lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
        stored_from_mask = np.linalg.inv(viewer_affine(radiograph, meta)) @ lps_to_ras @ header.affine
    elif array.shape == (height, width):
        stored_from_mask = np.eye(4)
    else:
        raise DrawnError(f"the mask has {array.shape[::-1]} pixels and no geometry; wanted {(width, height)}")
    values = np.unique(array[array != 0])
    if np.isin(values, list(names), invert=True).any():
        strange = [f"{value:g}" for value in values if value not in names][:5]
        known = f"{sorted(names)}, which are {', '.join(names.values())}"
        raise DrawnError(f"the mask has other values than {known}: {', '.join(strange)}; draw with those alone")
    boxes, count = [], 0
    for value, finding in ((value, finding) for value, finding in names.items() if value in values):
        parts, more = label(array == value, connectivity=2, return_num=True)
        count += more
        if count > MAX_PARTS:  # before each of them is looked at, which takes long
            raise DrawnError(
                f"the mask has {count} connected parts or more; wanted at most {MAX_PARTS}: remove the specks"
            )
        for part in regionprops(parts):
            y0, x0, y1, x1 = part.bbox
            # a pixel's centre is a whole number in the affines, its edges lie half a pixel away
            corners = stored_from_mask @ [[x0 - 0.5, x1 - 0.5], [y0 - 0.5, y1 - 0.5], [0, 0], [1, 1]] + 0.5
            low, high = corners[:2].min(1).clip(0), corners[:2].max(1).clip(max=(width, height))
            if (high - low).min() < 1:
                continue  # less than a pixel: outside the image, or a slip of the brush
            boxes.append({"finding": finding, "box": [round(float(v), 2) for v in (*low, *high)]})
    return boxes


def drawn_entry(
    radiograph: str | Path,
    mask: PathLike,
    info: Mapping[str, Any],
    findings: Sequence[str],
    known: Mapping[str, Any],
    options: ReadingOptions = DEFAULT_OPTIONS,
) -> dict[str, Any]:
    """A datalist entry of what was drawn on one radiograph, relative to the root of the file system.

    A drawn finding is present and its boxes are complete. One that is not drawn stays as the datalist knows it, else
    unknown: who draws one finding has not said that there is no other. `absent` in the notes says so.

    Args:
        radiograph: its file.
        mask: what was drawn.
        info: notes saved with it: `label_info`, and `absent`, a list of findings.
        findings: in the network's order.
        known: the entry of the studies' own datalist, or nothing: report, patient, labels and boxes.
        options: as for `segment_boxes`.

    Raises:
        DrawnError: the label cannot be used.
    """
    boxes = segment_boxes(mask, radiograph, segment_findings(info, findings), options)
    drawn = {box["finding"] for box in boxes}
    absent = info.get("absent") or []
    if not isinstance(absent, list):
        raise DrawnError(f"absent is {str(absent)[:40]!r}; wanted a list of findings")
    absent = {str(name) for name in absent} - drawn
    if strange := absent - set(findings):
        raise DrawnError(f"absent names {sorted(strange)}; wanted some of {', '.join(findings)}")
    said = drawn | absent
    file = Path(radiograph).resolve()
    kept = [box for box in known.get("boxes") or () if box["finding"] not in said]
    labels = {name: value for name, value in (known.get("labels") or {}).items() if name not in said}
    complete = [name for name in known.get("boxed") or () if name not in said]
    return {
        "image": file.relative_to("/").as_posix(),
        "patient_id": known.get("patient_id") or file.as_posix(),
        "report": known.get("report") or "",
        "labels": {**labels, **dict.fromkeys(sorted(drawn), 1), **dict.fromkeys(sorted(absent), 0)},
        "boxes": [*kept, *boxes],
        "boxed": [*complete, *sorted(said)],
    }


def known_entries(studies: Path | None) -> dict[Path, dict[str, Any]]:
    """The entries of the studies folder's datalist.json, if there is one, by their images' real paths."""
    file = None if studies is None else studies / "datalist.json"
    if file is None or not file.is_file():
        return {}
    document, _ = parse_document(file)
    sections = (value for value in document.values() if isinstance(value, list))
    entries = (entry for section in sections for entry in section if isinstance(entry, dict) and "image" in entry)
    return {(file.parent / entry["image"]).resolve(): entry for entry in entries}


def _read_mask(mask: Path) -> tuple[ItkHeader, NDArray[Any]]:
    """A mask's header and values; the header is looked at first, because a small file can claim to be any size."""
    kind = next((kind for suffix, kind in _KINDS.items() if mask.name.lower().endswith(suffix)), "")
    if not kind:
        raise DrawnError(f"the mask cannot be read as an image; wanted {', '.join(_KINDS)}")
    with mask.open("rb") as stream:
        head = stream.read(1 << 16)
    if (kind == "Meta" and not _LOCAL.match(head)) or (kind == "Nrrd" and not _ATTACHED.match(head)):
        raise DrawnError("the mask takes its values from another file; wanted all in one")
    try:
        header = itk_header(mask, kind)
        pixels = math.prod(header.shape)
        if pixels > MAX_PIXELS:
            raise DrawnError(f"the mask has {pixels} pixels; wanted at most {MAX_PIXELS}")
        return header, itk_pixels(mask, kind, header)
    except DecodingError as error:
        raise DrawnError("the mask cannot be read as an image: draw and submit it anew") from error
