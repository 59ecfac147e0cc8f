"""CheXzero's preparation: images in one array of an HDF5 file, and a CSV with a row for each, in the same order.

Tiu et al. Expert-level detection of pathologies from unannotated chest X-ray images via self-supervised learning.
Nature Biomedical Engineering 2022. What the rows say differs: `filename` and `impression` (MIMIC-CXR for training),
`Path` alone, or `Study` and a column for each finding (CheXpert's test images). The images stay where they are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bundle.data.sources.faults import Faults
from bundle.data.sources.label_columns import find_label_columns
from bundle.data.sources.record import Reading, Record
from bundle.data.sources.spool import Spool
from bundle.data.sources.table_file import TableFile
from bundle.data.sources.values import label_of
from bundle.reading.decode_worker import DecodingError
from bundle.reading.decoder import hdf5_array

__all__ = ["read_chexzero"]

_PLACES, _REPORTS = ("Path", "filename", "Study"), ("impression", "report")
_PATIENT = re.compile(r"(?:^|/)(?:patient|p)(\d{4,})(?=/|_|$)")  # of CheXpert and of MIMIC-CXR, not p10


def read_chexzero(
    table: str | os.PathLike[str],
    h5: str | os.PathLike[str],
    array: str = "cxr",
    patient_column: str | None = None,
    report_column: str | None = None,
    label_columns: str | None = None,
    one_image_a_patient: bool = False,
) -> Reading:
    """Read a CSV whose rows are those of an array in an HDF5 file.

    Args:
        table: the CSV.
        h5: the HDF5 file, in the folder of the images.
        array: its array of images, (N, H, W).
        patient_column: pseudonyms; None takes the patient from the path of the image (patient00012, p10000032).
        report_column: the report's text; None takes `impression` or `report`, where there is one.
        label_columns: columns that are findings; None takes those that hold nothing but labels.
        one_image_a_patient: take each image for a patient of its own, where nothing names them.

    Returns:
        A record for each row.

    Raises:
        FileNotFoundError: no such table or file.
        SourceError: an array of another length, and every other fault.
    """
    file, rows_of = Path(h5), TableFile(table)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: found no such file; wanted CheXzero's HDF5 file")
    faults = Faults()
    roles = {
        "place": rows_of.column(*_PLACES),
        "patient": rows_of.column(patient_column) if patient_column else None,
        "report": rows_of.column(*([report_column] if report_column else _REPORTS)),
    }
    for role, asked in (("patient", patient_column), ("report", report_column)):
        if asked and roles[role] is None:
            faults.add(str(rows_of.path), f"--{role}_column {asked}", rows_of.shown_header(), "one of these columns")
    rows = Spool(rows_of.rows(faults))
    findings = find_label_columns(rows_of, rows, {key: name for key, name in roles.items() if name}, label_columns)
    try:
        shape, _ = hdf5_array(file, array)
        if not shape or shape[0] != len(rows):
            found = f"{shape[0] if shape else 'no'} images, and {rows_of.path.name} has {len(rows)} rows"
            faults.add(str(file), array, found, "an image for each row, in the same order: files of one preparation")
    except DecodingError as error:
        faults.add(str(file), array, str(error), "the array of the images: --array NAME")
    records, nobody = Spool[Record](), 0
    for number, (where, row) in enumerate(rows):
        image = f"{file.name}/{array}/{number}"
        found_patient = _PATIENT.search(row[roles["place"]]) if roles["place"] else None
        patient = row[roles["patient"]] if roles["patient"] else found_patient[1] if found_patient else ""
        nobody += not patient
        labels = {}
        for finding in findings:
            try:
                label = label_of(row[finding])
            except ValueError as error:
                faults.add(where, finding, str(error), "1, 0, -1 (uncertain) or nothing")
                continue
            if label in (0, 1):
                labels[finding] = int(label)
        report = row[roles["report"]] if roles["report"] else ""
        records.append(Record(image, patient or image, labels, report=report, where=where))
    if nobody and not one_image_a_patient:
        wanted = "patients, so that nobody is in training and test: --patient_column NAME, or --one_image_a_patient"
        faults.add(str(rows_of.path), "patient", f"none for {nobody} of {len(rows)} rows", wanted)
    faults.refuse()
    told = ", ".join(f"{role} = {name}" for role, name in roles.items() if name)
    notes = [*rows_of.notes, f"{rows_of.path.name}: columns {told or 'none'}; findings {', '.join(findings) or 'none'}"]
    return Reading("CheXzero's preparation", tuple(findings), records, (rows_of.path,), {}, notes)
