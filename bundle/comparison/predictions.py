"""What another model says of a section's images, as files: its maps or boxes become candidates and image scores.

A folder holds, of every image, a map file; or `boxes.csv`, of all of them. `scores.csv` may stand beside either.

- **Maps**: `<image>.npy`, `<image>.nii.gz` or `<image>.nii`, <image> being the datalist's path without its suffix, or
  the file name alone where no two are alike. (K, h, w), a map a finding in the order of `findings`, over the whole
  stored picture, rows downwards, 0..1. A NIfTI file holds the same with its axes reversed, (w, h, K).
- **boxes.csv**: `image`, `finding`, `score` (0..1), `x0`, `y0`, `x1`, `y1` in stored pixels, as a datalist has boxes. A
  box is a candidate, its peak the box's centre. An image without a row has no candidate.
- **scores.csv**: `image`, then a column a finding, 0..1, a row an image. Without it an image's score is its best
  candidate's, 0 where it has none.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bundle.comparison.observe import Truth
from bundle.metrics.candidates import COLUMNS, extract_candidates
from bundle.reading.upright import Upright

BOXES, SCORES = "boxes.csv", "scores.csv"
SUFFIXES = (".npy", ".nii.gz", ".nii")
_CORNERS = ("x0", "y0", "x1", "y1")
_PRINTED = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MapReading:
    """How candidates are made of maps.

    Attributes:
        side: cells of a map's longer side; a finer map becomes means over cells, as patches have them.
        highest: the maps' highest possible value, by which they are divided. FROC looks at the order of one finding's
            scores alone, so this decides nothing but which cells reach the floor.
        floor: see `bundle.metrics.candidates.extract_candidates_batch`, like the next two.
        box_fraction: see there.
        max_candidates: see there.
    """

    side: int = 64
    highest: float = 1.0
    floor: float = 0.02
    box_fraction: float = 0.5
    max_candidates: int | None = 20


def read_predictions(
    folder: Path,
    items: Sequence[Mapping[str, Any]],
    truths: Sequence[Truth],
    names: Sequence[str],
    findings: Sequence[str],
    elsewhere: Sequence[str] = (),
    maps: MapReading | None = None,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Candidates and image scores of every image, in the frame of the truths: upright pixels.

    Args:
        folder: of the files, see above.
        items: I of the section.
        truths: of each item `stored_size` (H, W) of the upright picture, and `orientation`, which brought it upright.
        names: of each item, as the datalist has them.
        findings: K, in the order of the maps.
        elsewhere: names of the datalist's other images, of which rows of the tables are passed over.
        maps: how candidates are made of maps.

    Returns:
        Of each image an (M, 8) table (`bundle.metrics.candidates.COLUMNS`), and (K,) scores.

    Raises:
        ValueError: faults of the files, all of a kind at once.
        FileNotFoundError: the folder, or maps of some images, are not there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: give the one with {BOXES} or the maps.")
    place = _places(names)
    table = folder / BOXES
    if table.is_file():
        if maps is not None:
            raise ValueError(f"{table} is there: settings of maps would have no effect; leave them out.")
        candidates = _from_boxes(table, place, truths, findings, _places(elsewhere))
    else:
        files = _map_files(folder, names, place)
        how = maps or MapReading()
        candidates = [_from_map(file, truth, findings, how) for file, truth in zip(files, truths, strict=True)]
    if (folder / SCORES).is_file():
        return candidates, _from_scores(folder / SCORES, place, len(items), findings, _places(elsewhere))
    return candidates, [_best(table, len(findings)) for table in candidates]


def _places(names: Sequence[str]) -> dict[str, int]:
    """Place by name, with and without folders and suffix; short forms only where they are one image's."""
    forms: dict[str, set[int]] = {}
    for number, name in enumerate(names):
        path = Path(name)
        for form in (name, path.name, str(path.with_suffix("")), path.stem):
            forms.setdefault(form, set()).add(number)
    return {form: next(iter(numbers)) for form, numbers in forms.items() if len(numbers) == 1}


def _map_files(folder: Path, names: Sequence[str], place: Mapping[str, int]) -> list[Path]:
    files, missing = [], []
    for number, name in enumerate(names):
        whole = str(Path(name).with_suffix(""))
        stems = [stem for stem in (whole, Path(name).stem) if place.get(stem) == number]
        found = [folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]
        found = [file for file in found if file.is_file()]
        files += found[:1]
        missing += [] if found else [name]
    if missing:
        raise FileNotFoundError(
            f"{folder} has neither {BOXES} nor a map (.npy, .nii.gz, .nii) of {len(missing)} of {len(names)} images: "
            f"{_some(missing)}. A map is named like its image, by the datalist's path or the file name alone."
        )
    return files


def _from_map(file: Path, truth: Truth, findings: Sequence[str], how: MapReading) -> torch.Tensor:
    values = _read_map(file)
    if values.ndim != 3 or len(values) != len(findings) or 0 in values.shape:
        order = "(w, h, K)" if file.suffix != ".npy" else "(K, h, w)"
        raise ValueError(
            f"{file}: found an array of {(*values.shape[::-1],) if file.suffix != '.npy' else (*values.shape,)}; "
            f"wanted {order} with K = {len(findings)}, a map for each of {', '.join(findings)}, in this order."
        )
    values = values / how.highest
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        found = f"{values.min() * how.highest:g} to {values.max() * how.highest:g}"
        raise ValueError(
            f"{file}: found values from {found}; wanted finite numbers from 0 to {how.highest:g}. Of maps of another "
            "range, give the highest value as `highest`."
        )
    upright = np.ascontiguousarray(Upright.of(truth["orientation"]).apply(values))
    grid = torch.from_numpy(upright)
    if max(grid.shape[-2:]) > how.side:
        shrink = how.side / max(grid.shape[-2:])
        rows, columns = (max(1, round(n * shrink)) for n in grid.shape[-2:])
        grid = F.adaptive_avg_pool2d(grid, (rows, columns))
    (height, width), (rows, columns) = (int(n) for n in truth["stored_size"]), grid.shape[-2:]
    to_stored = np.diag([width / columns, height / rows, 1.0])
    settings = (how.floor, 0.0, how.box_fraction, how.max_candidates)
    return extract_candidates(grid, to_stored, (height, width), *settings)


def _read_map(file: Path) -> Floats:
    """(K, h, w)."""
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
            if values.dtype.kind not in "biuf":
                raise ValueError(f"it holds {values.dtype}")
            return np.asarray(values, np.float64)
        return np.asarray(nibabel.load(file).get_fdata(), np.float64).T
    except (ValueError, OSError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise ValueError(f"{file} cannot be read as a map of numbers ({error}); write it again.") from error


def _from_boxes(
    table: Path, place: Mapping[str, int], truths: Sequence[Truth], findings: Sequence[str], passed: Mapping[str, int]
) -> list[torch.Tensor]:
    rows: list[list[list[float]]] = [[] for _ in truths]

    def take(row: Mapping[str, str], where: int) -> Iterator[str]:
        if row["finding"] not in findings:
            yield f"finding {row['finding']!r}; wanted one of {', '.join(findings)}"
        numbers = [_number(row[key]) for key in ("score", *_CORNERS)]
        if not 0 <= numbers[0] <= 1:
            yield f"score {row['score']!r}; wanted a number from 0 to 1"
        height, width = (int(n) for n in truths[where]["stored_size"])
        turn = Upright.of(truths[where]["orientation"])
        stored = (width, height) if turn.transposed else (height, width)
        x0, y0, x1, y1 = numbers[1:]
        if not (0 <= x0 < x1 <= stored[1] and 0 <= y0 < y1 <= stored[0]):
            found = ", ".join(row[key] for key in _CORNERS)
            yield f"box {found}; wanted x0 < x1, y0 < y1 within the {stored[1]} x {stored[0]} stored pixels"
            return
        if row["finding"] in findings:
            box = turn.boxes(numbers[1:], stored)
            centre = (box[:2] + box[2:]) / 2
            rows[where].append([findings.index(row["finding"]), numbers[0], *centre, *box])

    _read_table(table, ("image", "finding", "score", *_CORNERS), place, passed, take)
    empty = np.empty((0, len(COLUMNS)))
    return [torch.from_numpy(np.array(sorted(each), np.float64) if each else empty) for each in rows]


def _from_scores(
    table: Path, place: Mapping[str, int], images: int, findings: Sequence[str], passed: Mapping[str, int]
) -> list[torch.Tensor]:
    scores = np.full((images, len(findings)), np.nan)

    def take(row: Mapping[str, str], where: int) -> Iterator[str]:
        if not np.isnan(scores[where]).all():
            yield "a second row of this image; wanted one"
        scores[where] = [_number(row[finding]) for finding in findings]
        if not ((scores[where] >= 0) & (scores[where] <= 1)).all():
            yield f"scores {', '.join(row[finding] for finding in findings)}; wanted numbers from 0 to 1"

    _read_table(table, ("image", *findings), place, passed, take)
    if lacking := int(np.isnan(scores).all(1).sum()):
        raise ValueError(f"{table} has no row of {lacking} of {images} images; wanted one for each.")
    return list(torch.from_numpy(scores))


def _read_table(
    table: Path,
    columns: Sequence[str],
    place: Mapping[str, int],
    passed: Mapping[str, int],
    take: Callable[[Mapping[str, str], int], Iterator[str]],
) -> None:
    """Hand over the rows of the section's images; `take` yields what is wrong with one. No row at all is no fault."""
    faults, taken, line = [], 0, 1
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{table}: found bytes that are no UTF-8 at {error.start}; save it as CSV in UTF-8."
        ) from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if absent := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{table} lacks the columns {absent}; found {reader.fieldnames}, wanted {list(columns)}.")
        for line, row in enumerate(reader, 2):
            if None in row.values() or None in row:
                faults.append(
                    f"line {line}: found not as many fields as columns; wanted {len(reader.fieldnames or ())}"
                )
            elif (where := place.get(row["image"])) is not None:
                faults += [f"line {line}: found {fault}" for fault in take(row, where)]
                taken += 1
            elif row["image"] not in passed:
                faults.append(f"line {line}: found image {row['image']!r}; wanted one of the datalist")
    except csv.Error as error:
        raise ValueError(f"{table}, after line {line}: found {error}; wanted CSV, a row a line.") from error
    if faults:
        raise ValueError(f"{table} has {len(faults)} faults:\n  " + "\n  ".join(faults[:50]))
    if line > 1 and not taken:
        raise ValueError(f"{table} has no row of an image of this section; wanted their paths as in the datalist.")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _best(table: torch.Tensor, findings: int) -> torch.Tensor:
    """(K,) the best candidate's score of each finding; 0 without one."""
    best = torch.zeros(findings, dtype=torch.float64)
    return best.scatter_reduce(0, table[:, 0].long(), table[:, 1], "amax")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _PRINTED} more" if len(names) > _PRINTED else ""
    return ", ".join(names[:_PRINTED]) + more
