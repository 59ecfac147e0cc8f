"""A cohort: the images that an archive finds, de-identified, in a folder with a table of them."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydicom import dcmread
from tqdm import tqdm

from bundle.atomic import atomic_path, write_file
from bundle.data.cohort.archive import Archive
from bundle.data.cohort.deidentify import NotFitError, deidentified
from bundle.data.cohort.pseudonyms import Pseudonyms
from bundle.data.sources.faults import SourceError

__all__ = ["TABLE", "fetch_cohort", "rename_table"]

PathLike = str | os.PathLike[str]
_LOG = logging.getLogger(__name__)
TABLE = "images.csv"
_COLUMNS = {"patient_id": "PatientID", "view": "ViewPosition", "sex": "PatientSex", "age": "PatientAge"}


def fetch_cohort(
    archive: Archive, filters: Mapping[str, str], output: PathLike, key: PathLike, characteristics: bool = False
) -> Path:
    """Fetches what is not there yet. An image is written whole and without its patient, or not at all.

    Args:
        archive: where images are.
        filters: what it is asked for.
        output: folder of the cohort; the next run with the same key goes on in it.
        key: file of the key (`Pseudonyms`), outside of the folder.
        characteristics: keep sex and age.

    Returns:
        The table: image, patient_id, view, sex, age.

    Raises:
        SourceError: the key is none or lies in the folder, the archive does not answer, or nothing is left.
    """
    folder = Path(output)
    if folder.resolve() in Path(key).resolve().parents:
        raise SourceError(f"--key {key}: it lies in the cohort, whose names it would give away; wanted another folder")
    folder.mkdir(parents=True, exist_ok=True)
    pseudonyms = Pseudonyms(key)
    left_out: Counter[str] = Counter()
    unstated = here = 0
    for image in tqdm(archive.find(filters), desc="Images", unit="image", disable=None):
        path = folder / f"{pseudonyms.uid(image.instance)}.dcm"
        if path.is_file():
            here += 1
            continue
        try:
            clean = deidentified(archive.get(image), pseudonyms, characteristics)
        except NotFitError as error:
            left_out[str(error)] += 1
            continue
        unstated += "BurnedInAnnotation" not in clean
        with atomic_path(path) as temporary:
            clean.save_as(temporary, enforce_file_format=True)
    for reason, number in left_out.items():
        _LOG.info(f"Left out: {number:,} images: {reason}")
    if here:
        _LOG.info(f"{here:,} images were there.")
    if unstated:
        _LOG.warning(
            f"{unstated:,} images do not say whether text is burned into their pixels (Burned In Annotation): look at "
            "them before you pass them on. No text is looked for in pixels."
        )
    return _write_table(folder)


def rename_table(table: PathLike, output: PathLike, key: PathLike, image_column: str, keep: Sequence[str]) -> Path:
    """Writes a table of labels whose images are called as in the cohort; no other column stays than is named.

    Args:
        table: CSV with a row for each image, box or finding.
        output: the CSV to write, with the columns `image` and those of `keep`.
        key: of the cohort.
        image_column: SOP Instance UIDs.
        keep: columns to keep as they are: who names one answers for what stands in it.

    Returns:
        The output.

    Raises:
        SourceError: there is no such key, or no such column.
    """
    if not Path(key).is_file():
        raise SourceError(f"--key {key}: there is no such file; wanted the key that the cohort was fetched with")
    pseudonyms, text = Pseudonyms(key), io.StringIO()
    with Path(table).open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in (image_column, *keep) if name not in (rows.fieldnames or ())]:
            raise SourceError(f"{table}: no column {missing[0]}; it has {', '.join(rows.fieldnames or ())}")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", *keep])
        writer.writerows([f"{pseudonyms.uid(row[image_column])}.dcm", *(row[name] for name in keep)] for row in rows)
    write_file(output, text.getvalue())
    return Path(output)


def _write_table(folder: Path) -> Path:
    """The table of all images in the folder."""
    text, patients = io.StringIO(), set()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *_COLUMNS])
    files = sorted(folder.glob("*.dcm"))
    for file in files:
        header = dcmread(file, stop_before_pixels=True)
        patients.add(str(header.PatientID))
        writer.writerow([file.name, *(str(header.get(name, "") or "") for name in _COLUMNS.values())])
    if not files:
        raise SourceError(f"{folder}: no image was left; wanted filters and an archive that find some")
    write_file(folder / TABLE, text.getvalue())
    _LOG.info(f"{folder / TABLE}: {len(files):,} images of {len(patients):,} patients.")
    return folder / TABLE
