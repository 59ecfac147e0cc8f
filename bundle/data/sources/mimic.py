"""MIMIC-CXR-JPG: images of studies, labels of CheXpert's labeller, the official split; reports of MIMIC-CXR.

Johnson et al. MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs. 2019. Three tables:
metadata (an image each), chexpert or negbio (a study each) and split (an image each). A study's labels and report
stand at each of its images.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from bundle.data.sources.chexpert import FINDINGS, UNCERTAIN_AS, labels_of
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Reading, Record
from bundle.data.sources.report_sections import reports_folder, study_report
from bundle.data.sources.spool import Digests, Spool
from bundle.data.sources.table_file import TableFile, find_file
from bundle.data.sources.values import section_of

__all__ = ["read_mimic"]

LABELLERS = ("chexpert", "negbio")
SPLITS = ("train", "validate", "test")
_PREFIX = "mimic-cxr-2."  # the version follows


def read_mimic(
    tables: str | os.PathLike[str],
    reports: str | os.PathLike[str] | None = None,
    labeller: str = "chexpert",
    uncertain: str = "unknown",
) -> Reading:
    """Read MIMIC-CXR-JPG, and MIMIC-CXR's reports where they are there.

    Args:
        tables: folder of mimic-cxr-2.0.0-metadata.csv.gz, -chexpert.csv.gz and -split.csv.gz.
        reports: folder of the unpacked reports, which holds files/p10/p10000032/s50414267.txt and so on, or its files
            folder; None leaves reports out. Findings and impression of each are taken.
        labeller: "chexpert" or "negbio".
        uncertain: what the label -1 becomes: "unknown", "absent" or "present".

    Returns:
        A record for each image, in the order of the metadata.

    Raises:
        ValueError: another word for labeller or uncertain.
        FileNotFoundError: no such table, or no folder of reports.
        SourceError: every fault of headers and rows.
    """
    for name, found, wanted in (("labeller", labeller, LABELLERS), ("uncertain", uncertain, UNCERTAIN_AS)):
        if found not in wanted:
            raise ValueError(f"Found {name} {found!r}; wanted {', '.join(wanted)}.")
    folder = Path(tables)
    files = [_table(folder, part) for part in ("metadata", labeller, "split")]
    metadata, labels, splits = map(TableFile, files)
    metadata.need("dicom_id", "subject_id", "study_id", "ViewPosition")
    labels.need("subject_id", "study_id", *FINDINGS)
    splits.need("dicom_id", "split")
    faults, count = Faults(), Counter[str]()
    studies, of_study = Digests(), Spool[tuple[str, dict[str, int]]]()
    for where, row in labels.rows(faults):
        studies.add(row["study_id"])
        of_study.append((where, labels_of(row, uncertain, where, faults, count)))
    for number, _ in studies.repeated():
        faults.add(of_study[number][0], "study_id", "a study that stands above", "each study once")
    split_images, of_image = Digests(), Spool[str]()
    for where, row in splits.rows(faults):
        if row["split"] not in SPLITS:
            faults.add(where, "split", repr(row["split"]), f"one of {', '.join(SPLITS)}")
        split_images.add(row["dicom_id"])
        of_image.append(row["split"])
    place = None if reports is None else reports_folder(reports)
    records, images, wheres = Spool[Record](), Digests(), Spool[str]()
    read, without = Digests(), Digests()  # studies, and those without a report
    text, last = "", ""
    for where, row in metadata.rows(faults):
        image, patient, study = row["dicom_id"], row["subject_id"], row["study_id"]
        images.add(image)
        wheres.append(where)
        if not (split := split_images.places(image)):
            faults.add(where, "dicom_id", f"an image that {files[2].name} does not have", "tables of one release")
        if not (patient.isdigit() and study.isdigit()):
            faults.add(where, "subject_id, study_id", "something that is no number", "the numbers of the release")
            continue
        below = f"p{patient[:2]}/p{patient}/s{study}"
        if place is not None and study != last:  # the images of a study mostly follow each other
            text, last = study_report(place, below), study
            read.add(study)
            if not text:
                without.add(study)
        labelled = studies.places(study)
        records.append(
            Record(
                image=f"{below}/{image}.jpg",
                patient=patient,
                labels=of_study[labelled[-1]][1] if labelled else {},
                report=text,
                split=section_of(of_image[split[-1]]) if split else "",
                view=row["ViewPosition"],
                site="MIMIC",
                where=where,
            )
        )
    for number, _ in images.repeated():
        faults.add(wheres[number], "dicom_id", "an image that stands above", "each image once")
    faults.refuse()
    notes = [*metadata.notes, *labels.notes, *splits.notes]
    if count["-1"]:
        notes.append(f"{count['-1']:,} labels are -1 (uncertain) and become {uncertain}")
    unlabelled = sum(not record.labels for record in records)
    notes.append(f"{unlabelled:,} images have no label: their report was not labelled, or says nothing certain")
    if place is not None:
        found = f"{without.distinct():,} of {read.distinct():,} studies"
        notes.append(f"{found} have no report with findings or impression")
    return Reading("MIMIC-CXR-JPG", FINDINGS, records, files, {}, notes)


def _table(folder: Path, part: str) -> Path:
    """The newest table of this part, whatever its version."""
    found = sorted(path for path in folder.glob(f"{_PREFIX}*-{part}.csv*") if path.name.endswith((".csv", ".csv.gz")))
    return found[-1] if found else find_file(folder, f"{_PREFIX}0.0-{part}.csv")
