"""CheXpert: train.csv, and valid.csv where it is there, labels of fourteen observations.

Irvin et al. CheXpert: A large chest radiograph dataset with uncertainty labels and expert comparison. AAAI 2019.
Labels of train.csv are mined from reports: 1, 0, -1 (uncertain) and nothing; those of valid.csv are radiologists'.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bundle.data.datalist_fault import Fault
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Reading, Record
from bundle.data.sources.spool import Digests, Spool
from bundle.data.sources.table_file import TableFile, find_file
from bundle.data.sources.values import UNCERTAIN, age_of, label_of, sex_of

__all__ = ["FINDINGS", "NO_FINDING", "labels_of", "read_chexpert"]

NO_FINDING = "No Finding"
FINDINGS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    *("Support Devices",),
)
"""The thirteen beside "No Finding"."""
DEVICES = "Support Devices"
UNCERTAIN_AS = ("unknown", "absent", "present")


def read_chexpert(tables: str | os.PathLike[str], uncertain: str = "unknown") -> Reading:
    """Read CheXpert.

    Args:
        tables: folder of train.csv (and valid.csv, which becomes the test section), plain or .gz, or one of the files.
        uncertain: what the label -1 becomes: "unknown", "absent" or "present".

    Returns:
        A record for each image, in the order of the tables.

    Raises:
        ValueError: another word for uncertain.
        FileNotFoundError: no such table.
        SourceError: every fault of header and rows.
    """
    if uncertain not in UNCERTAIN_AS:
        raise ValueError(f"Found uncertain {uncertain!r}; wanted {', '.join(UNCERTAIN_AS)}.")
    files = [find_file(tables, "train.csv", "chexpert_train.csv")]
    if Path(tables).is_dir() and (valid := Path(tables) / "valid.csv").is_file():
        files.append(valid)
    faults, notes, records = Faults(), list[str](), Spool[Record]()
    count: Counter[str] = Counter()
    paths, wheres = Digests(), Spool[str]()
    for path in files:
        table = TableFile(path)
        notes += table.notes
        table.need("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
        split = "test" if path.name.startswith("valid") and len(files) > 1 else ""
        for where, row in table.rows(faults):
            parts = PurePosixPath(row["Path"]).parts
            paths.add(row["Path"])
            wheres.append(where)
            if len(parts) < 4 or not parts[-3].startswith("patient"):
                wanted = "a path such as CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"
                faults.add(where, "Path", repr(row["Path"]), wanted)
                continue
            age = None
            try:
                age = age_of(row["Age"])
            except ValueError as error:
                faults.add(where, "Age", str(error), "years")
            records.append(
                Record(
                    image="/".join(parts[-4:]),
                    patient=parts[-3],
                    labels=labels_of(row, uncertain, where, faults, count),
                    split=split,
                    view=row["AP/PA"] if row["Frontal/Lateral"].lower() == "frontal" else "LATERAL",
                    sex=sex_of(row["Sex"]),
                    age=age,
                    site="CheXpert",
                    where=where,
                )
            )
    faults.all[:0] = [
        Fault(wheres[number], "Path", f"the image of {wheres[first]}", "each image once")
        for number, first in paths.repeated()
    ]
    faults.refuse()
    if count["-1"]:
        notes.append(f"{count['-1']:,} labels are -1 (uncertain) and become {uncertain}")
    return Reading("CheXpert", FINDINGS, records, files, {}, notes)


def labels_of(
    row: Mapping[str, str], uncertain: str, where: str, faults: Faults, count: Counter[str]
) -> dict[str, int]:
    """The labels of a row of CheXpert's labeller, also as MIMIC-CXR-JPG has them.

    Where "No Finding" is 1, every finding that has no label is absent but for support devices, which it does not speak
    of. Otherwise one without a label was not mentioned, and is unknown.

    Args:
        row: column -> value.
        uncertain: one of `UNCERTAIN_AS`.
        where: file and row.
        faults: a label that is none is added.
        count: labels of -1 are counted under that name.

    Returns:
        Finding -> 1 or 0.
    """
    said: dict[str, int | None] = {}
    for finding in (NO_FINDING, *FINDINGS):
        try:
            said[finding] = label_of(row.get(finding, ""))
        except ValueError as error:
            faults.add(where, finding, str(error), "1, 0, -1 (uncertain) or nothing")
    none = said.pop(NO_FINDING, None) == 1
    labels: dict[str, int] = {}
    for finding, label in said.items():
        if label is None and none and finding != DEVICES:
            labels[finding] = 0
        elif label == UNCERTAIN:
            count["-1"] += 1
            if uncertain != "unknown":
                labels[finding] = int(uncertain == "present")
        elif label is not None:
            labels[finding] = label
    return labels
