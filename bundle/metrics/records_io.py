"""Records on disk: three tables a person can open and one small header, read back to the last bit."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.atomic import atomic_path, write_json
from bundle.metrics.records import STATUS, CandidateRecords, Floats, ImageRecords, Integers, LesionRecords, Records
from bundle.metrics.records_check import check_records

_VERSION = 2
_AGAIN = "write the records again, by the evaluation that made them"
_TABLES = ("images", "lesions", "candidates")
_READ = (1, _VERSION)  # the first had no patch areas
_PIXEL = ("row_mm", "column_mm")
_BOX = ("x0", "y0", "x1", "y1")


def save_records(
    records: Records,
    folder: str | Path,
    image_names: Mapping[int, str] | None = None,
    made_for: Mapping[str, Any] | None = None,
) -> Path:
    """Write `records.json`, `images.csv`, `lesions.csv` and `candidates.csv`.

    Tables name findings in words and images by their index; `images.csv` has a row per image and finding and carries
    the name beside the index, and the size of its pixels in mm where that of any image is known. Unknown values are
    empty, a missed lesion's score is -inf. Each file is written under another name first and then renamed, the header
    last, so a run that is cut short leaves no half table that looks whole.

    Nothing here identifies a patient, and nothing may: `group` is a number, `image_names` are relative paths.

    Args:
        records: to write.
        folder: made if missing.
        image_names: from index to the image's path within its data folder.
        made_for: the data that they were made for (`bundle.made_for.made_for`); None does not say.

    Returns:
        The folder.

    Raises:
        ValueError: where an image name is an absolute path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = dict(image_names or {})
    absolute = [name for name in names.values() if Path(name).is_absolute()]
    if absolute:
        raise ValueError(f"image names must be relative to the data folder, got {absolute[0]!r}")
    images, lesions, candidates, findings = records.images, records.lesions, records.candidates, records.findings
    pixel = () if np.isnan(images.pixel_mm).all() else _PIXEL
    (folder / "records.json").unlink(missing_ok=True)  # the old header must not vouch for new tables
    _write_table(
        folder / "images.csv",
        (
            *("image", "name", "group", "finding", "label", "status", "patch_area", *pixel),
            *(f"score:{n}" for n in images.scores),
        ),
        (
            (
                index,
                names.get(index, ""),
                group,
                finding,
                _number(images.label[row, k]),
                STATUS[images.status[row, k]],
                _number(images.patch_area[row]),
                *map(_number, images.pixel_mm[row, : len(pixel)]),
                *(_number(scores[row, k]) for scores in images.scores.values()),
            )
            for row, (index, group) in enumerate(zip(images.index.tolist(), images.group.tolist(), strict=True))
            for k, finding in enumerate(findings)
        ),
    )
    _write_table(
        folder / "lesions.csv",
        ("image", "finding", "lesion", "score", *_BOX, "oracle", "cnr"),
        (
            (index, findings[k], lesion, repr(score), *map(repr, box), _number(oracle), _number(cnr))
            for index, k, lesion, score, box, oracle, cnr in _rows(
                lesions.index, lesions.finding, lesions.lesion, lesions.score, lesions.box, lesions.oracle, lesions.cnr
            )
        ),
    )
    _write_table(
        folder / "candidates.csv",
        ("image", "finding", "score", "peak_x", "peak_y", *_BOX, "hit_lesion"),
        (
            (index, findings[k], repr(score), *map(repr, peak), *map(repr, box), lesion)
            for index, k, score, peak, box, lesion in _rows(
                candidates.index,
                candidates.finding,
                candidates.score,
                candidates.peak,
                candidates.box,
                candidates.lesion,
            )
        ),
    )
    header = {
        "version": _VERSION,
        "findings": list(findings),
        "criterion": records.criterion,
        "images": len(images.index),
        "lesions": len(lesions.index),
        "candidates": len(candidates.index),
        **({} if made_for is None else {"made_for": dict(made_for)}),
    }
    write_json(folder / "records.json", header)
    return folder


def load_records(folder: str | Path) -> Records:
    """Read what `save_records` wrote.

    Args:
        folder: that holds `records.json`.

    Returns:
        Records equal to those saved. Those of version 1 know no patch areas: NaN, as sizes of pixels that
        no column holds.

    Raises:
        FileNotFoundError: where the header or a table is missing.
        ValueError: where the version is unknown, a table is not as long as the header says or names a finding that the
            header does not, the records contradict themselves (`bundle.metrics.records_check.check_records`), or the
            files are something else.
    """
    place = Path(folder)
    try:
        return _load(place)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{place} lacks {Path(error.filename).name}: {_AGAIN}") from error
    except ValueError as error:
        raise ValueError(f"{place} holds no whole records: {error}. {_AGAIN.capitalize()}") from error


def records_made_for(folder: str | Path) -> Any:
    """What `save_records` was told that the records were made for; None where it was not.

    Raises:
        FileNotFoundError: where there is no header.
        ValueError: where the header is something else.
    """
    try:
        return _header(Path(folder)).get("made_for")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{folder} lacks records.json: {_AGAIN}") from error
    except ValueError as error:
        raise ValueError(f"{folder}: {error}. {_AGAIN.capitalize()}") from error


def _header(folder: Path) -> dict[str, Any]:
    try:
        header = json.loads((folder / "records.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"records.json is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise ValueError("records.json is no header of records")
    return header


def _load(folder: Path) -> Records:
    header = _header(folder)
    if header.get("version") not in _READ:
        raise ValueError(f"records of version {header.get('version')}, but this code reads versions {_READ}")
    if missing := [name for name in ("findings", "criterion", *_TABLES) if name not in header]:
        raise ValueError(f"records.json lacks {', '.join(missing)}")
    findings = tuple(header["findings"])
    place = {finding: k for k, finding in enumerate(findings)}
    k = len(findings)
    image, lesion, candidate = (_Table(folder / f"{name}.csv") for name in _TABLES)
    for name, table, rows in zip(_TABLES, (image, lesion, candidate), (k, 1, 1), strict=True):
        found = len(table["image"])
        if found != header[name] * rows:
            raise ValueError(f"{name}.csv has {found} rows, but records.json says {header[name] * rows}")
        if strange := sorted(set(table["finding"]) - place.keys()):
            raise ValueError(f"{name}.csv names {strange}, but the findings of records.json are {list(findings)}")
    unknown = np.full(len(image["image"]), np.nan)
    pixel_mm = np.stack([image.floats(name) if name in image else unknown for name in _PIXEL], 1)
    scores = {name.removeprefix("score:"): image.floats(name) for name in image if name.startswith("score:")}
    records = Records(
        findings=findings,
        criterion=header["criterion"],
        images=ImageRecords(
            index=image.integers("image").reshape(-1, k)[:, 0],
            group=image.integers("group").reshape(-1, k)[:, 0],
            label=image.floats("label").reshape(-1, k),
            status=image.integers("status", STATUS.index).reshape(-1, k),
            patch_area=(unknown if header["version"] == 1 else image.floats("patch_area")).reshape(-1, k)[:, 0],
            pixel_mm=pixel_mm[::k],
            scores={name: values.reshape(-1, k) for name, values in scores.items()},
        ),
        lesions=LesionRecords(
            index=lesion.integers("image"),
            finding=lesion.integers("finding", place.__getitem__),
            lesion=lesion.integers("lesion"),
            score=lesion.floats("score"),
            box=np.stack([lesion.floats(name) for name in _BOX], 1),
            oracle=lesion.floats("oracle"),
            cnr=lesion.floats("cnr"),
        ),
        candidates=CandidateRecords(
            index=candidate.integers("image"),
            finding=candidate.integers("finding", place.__getitem__),
            score=candidate.floats("score"),
            peak=np.stack([candidate.floats(name) for name in ("peak_x", "peak_y")], 1),
            box=np.stack([candidate.floats(name) for name in _BOX], 1),
            lesion=candidate.integers("hit_lesion"),
        ),
    )
    check_records(records, dict(zip(records.images.index.tolist(), image["name"][::k], strict=True)))
    return records


class _Table(dict[str, list[str]]):
    """A table's columns, by name."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            with path.open(newline="", encoding="utf-8") as file:
                header, *rows = list(csv.reader(file)) or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{self.name} is no table ({error})") from error
        for line, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise ValueError(f"{self.name} has {len(row)} fields in line {line}, its header {len(header)}")
        super().__init__({name: [row[place] for row in rows] for place, name in enumerate(header)})

    def __missing__(self, name: str) -> list[str]:
        raise ValueError(f"{self.name} lacks the column {name}")

    def integers(self, name: str, number: Callable[[str], int] = int) -> Integers:
        return np.array(self._numbers(name, number), np.int64)

    def floats(self, name: str) -> Floats:
        return np.array(self._numbers(name, lambda text: float(text) if text else math.nan), np.float64)

    def _numbers(self, name: str, number: Callable[[str], Any]) -> list[Any]:
        values = []
        for line, text in enumerate(self[name], 2):
            try:
                values.append(number(text))
            except ValueError as error:
                raise ValueError(f"{self.name} has {text!r} as {name} in line {line}") from error
        return values


def _rows(*columns: Integers | Floats) -> Iterable[tuple[Any, ...]]:
    return zip(*(column.tolist() for column in columns), strict=True)


def _number(value: float) -> str:
    """A number as short as it can be and still be read back to the last bit; empty for NaN."""
    return "" if value != value else repr(float(value))


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
