"""A checked datalist as an Arrow table beside it, which starts in seconds what would check half a million images anew.

A row an entry: its section and patient, its image's path below the data folder, size in bytes and time of change, and
the entry itself, normalised, as JSON. A start looks at it in mapped memory, whose pages all processes of a machine
share; afterwards an entry is read and made of its row when it is asked for, and none stays. A table is used only for
the datalist, data folder and reading options that it was made for, and while no image has another size or time of
change.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bundle.atomic import atomic_path
from bundle.data.datalist_text import table_of
from bundle.data.entries import Entries, columns_of
from bundle.fingerprint import file_sha256
from bundle.reading.hdf5_file import file_of
from bundle.reading.options import ReadingOptions

logger = logging.getLogger(__name__)

FORMAT = 1
_ABOUT = b"about"
_AT_ONCE = 2**9  # rows that are Python's objects at a time
_SCHEMA = pa.schema(
    [
        ("section", pa.dictionary(pa.int32(), pa.string())),
        ("patient", pa.string()),
        ("image", pa.string()),
        ("bytes", pa.int64()),
        ("changed_ns", pa.int64()),
        ("reported", pa.bool_()),
        ("entry", pa.large_binary()),
    ]
)


def write_table(
    datalist: Path,
    document: Mapping[str, Any],
    findings: Sequence[str],
    sections: Mapping[str, Sequence[Mapping[str, Any]]],
    base: Path,
    reading: ReadingOptions,
) -> Path:
    """Writes the table of a datalist that has been checked, images too.

    Args:
        datalist: its file.
        document: it, parsed.
        findings: its findings.
        sections: its normalised entries (`bundle.data.datalist_check.check_document`).
        base: the data folder.
        reading: with which the images were looked at.

    Returns:
        The table's path.

    Raises:
        OSError: an image is gone since, or the table cannot be written.
    """
    stamp = datalist.stat()
    about = {
        "format": FORMAT,
        "datalist": {"bytes": stamp.st_size, "changed_ns": stamp.st_mtime_ns, "sha256": file_sha256(datalist)},
        "base": os.fspath(base),
        "reading": _as_json(reading),
        "findings": list(findings),
        "sections": list(sections),
        "description": str(document.get("description") or ""),
    }
    schema = _SCHEMA.with_metadata({_ABOUT: json.dumps(about).encode()})
    rows = [_row(section, entry, base) for section, entries in sections.items() for entry in entries]
    table = pa.Table.from_pylist(rows, schema=schema)
    path = table_of(datalist)
    with atomic_path(path) as temporary, pa.ipc.new_file(os.fspath(temporary), schema) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)
    return path


def open_table(
    datalist: Path, base: Path, findings: Iterable[str], needing: Sequence[str], reading: ReadingOptions | None
) -> tuple[list[str], dict[str, Entries]] | None:
    """The findings and sections of a datalist by its table; None where it has none that holds.

    Why a table does not hold is logged as a warning: the datalist is then checked as if there were none.

    Args:
        datalist: its file.
        base: the data folder, absolute.
        findings: those that the datalist must have.
        needing: the sections whose entries need a report.
        reading: with which the images will be read; None does not look at them.
    """
    about = table_about(datalist)
    if about is None:
        return None
    path = table_of(datalist)
    columns = columns_of(path)
    why = _other(about, base, findings, reading) or _unreported(columns, needing)
    if why is None and reading is not None:
        why = _changed(columns, base)
    if why is not None:
        _pass_over(path, why)
        return None
    logger.info("%s: %d entries by the table of its check, %s.", datalist, len(columns["image"]), path.name)
    section = columns["section"].indices.to_numpy()
    names = columns["section"].dictionary.to_pylist()
    rows = {name: np.flatnonzero(section == number) for number, name in enumerate(names)}
    nothing = np.zeros(0, np.int64)
    return about["findings"], {name: Entries(path, base, rows.get(name, nothing)) for name in about["sections"]}


def table_about(datalist: Path) -> dict[str, Any] | None:
    """What a datalist's table says of it: `findings`, `sections`, `description`; None where it has no valid one.

    Args:
        datalist: its file; the images are not looked at.
    """
    path = table_of(datalist)
    if not path.is_file() or not datalist.is_file():
        return None
    try:
        with pa.memory_map(os.fspath(path)) as file:
            about: dict[str, Any] = json.loads((pa.ipc.open_file(file).schema.metadata or {})[_ABOUT])
        if about["format"] == FORMAT and _same_file(datalist, about["datalist"]):
            return about
        why = "it is of another version" if about["format"] != FORMAT else "the datalist has changed since"
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        why = f"it is no such table ({type(error).__name__})"
    _pass_over(path, why)
    return None


def _same_file(datalist: Path, stated: Mapping[str, Any]) -> bool:
    """Whether the file is as it was; one that was copied has another time and the same content."""
    stamp = datalist.stat()
    if stamp.st_size != stated["bytes"]:
        return False
    return bool(stamp.st_mtime_ns == stated["changed_ns"] or file_sha256(datalist) == stated["sha256"])


def _row(section: str, entry: Mapping[str, Any], base: Path) -> dict[str, Any]:
    image = Path(entry["image"])
    stamp = file_of(image).stat()
    left_out = {"image", "drawn"} if entry["drawn"] == entry["boxes"] else {"image"}
    return {
        "section": section,
        "patient": entry["patient_id"],
        "image": os.fspath(image.relative_to(base)),
        "bytes": stamp.st_size,
        "changed_ns": stamp.st_mtime_ns,
        "reported": bool((entry.get("report") or "").strip()),
        "entry": json.dumps({key: value for key, value in entry.items() if key not in left_out}).encode(),
    }


def _as_json(reading: ReadingOptions) -> Any:
    """The options, but for where pixels are decoded, which changes nothing that is said of an image."""
    return json.loads(json.dumps({name: value for name, value in asdict(reading).items() if name != "isolated"}))


def _other(about: Mapping[str, Any], base: Path, findings: Iterable[str], reading: ReadingOptions | None) -> str | None:
    """What the table was made for that is now otherwise."""
    if about["base"] != os.fspath(base):
        return f"it is of images in {about['base']}"
    if reading is not None and about["reading"] != _as_json(reading):
        return f"it was made with other reading options, {about['reading']}"
    unknown = [name for name in findings if name not in about["findings"]]
    return f"the datalist has no finding {unknown[0]}" if unknown else None


def _changed(columns: Mapping[str, Any], base: Path) -> str | None:
    """An image that is not as it was."""
    prefix = os.fspath(base) + os.sep
    inside = cache(lambda folder: file_of(Path(folder) / "0").stat())  # an array's rows are in one file
    names = ("image", "bytes", "changed_ns")
    for start in range(0, len(columns["image"]), _AT_ONCE):
        for image, *known in zip(*(columns[name].slice(start, _AT_ONCE).to_pylist() for name in names), strict=True):
            try:
                stamp = _stamp(prefix + image, inside)
            except OSError:
                return f"an image is gone or cannot be reached: {image}"
            if [stamp.st_size, stamp.st_mtime_ns] != known:
                return f"an image has changed since: {image}"
    return None


def _stamp(image: str, inside: Callable[[str], os.stat_result]) -> os.stat_result:
    """Of the file that an image is in. Half a million Paths would take as long as all the rest."""
    try:
        return os.stat(image)  # noqa: PTH116
    except NotADirectoryError:
        return inside(image.rpartition("/")[0])


def _unreported(columns: Mapping[str, Any], needing: Sequence[str]) -> str | None:
    """A section of these that has an entry without a report."""
    section, reported = columns["section"].indices.to_numpy(), columns["reported"].to_numpy(zero_copy_only=False)
    for number, name in enumerate(columns["section"].dictionary.to_pylist()):
        if name in needing and not reported[section == number].all():
            return f"some entries of {name} have no report"
    return None


def _pass_over(path: Path, why: str) -> None:
    logger.warning("%s is passed over: %s. The datalist is checked anew; see scripts.check_datalist.", path, why)
