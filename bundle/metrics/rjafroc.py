"""Records of several methods as RJafroc reads them: one Excel file of one finding, for its analyses of many readers and
modalities, of which this project has none of its own.

Source: Chakraborty, "JAFROC FROC data format" in RJafroc's documentation (RJafrocQuickStart); R reads the file by
`DfReadDataFile(file, newExcelFileFormat = TRUE)`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from openpyxl import Workbook

from bundle.atomic import atomic_path
from bundle.metrics.records import Records, lesion_rows, of_finding
from bundle.metrics.records_check import check_same_truth

TRUTH, FP, TP = "TRUTH", "FP", "TP"
COLUMNS = {
    TRUTH: ("CaseID", "LesionID", "Weight", "ReaderID", "ModalityID", "Paradigm"),
    FP: ("ReaderID", "ModalityID", "CaseID", "FP_Rating"),
    TP: ("ReaderID", "ModalityID", "CaseID", "LesionID", "TP_Rating"),
}
READER = 1  # every method is the one reader's look through another modality
_LONGEST = 2**20 - 1  # rows of a sheet below its header


def write_rjafroc(records: Mapping[str, Records], finding: str, path: str | Path) -> None:
    """Write the FROC data of one finding: crossed (`FCTRL`), one reader, a modality a method.

    - A case is an image that counts for the finding, `CaseID` its index in the records; images of one patient are
      several cases, which RJafroc takes as independent.
    - `TRUTH`: a row a lesion, numbered from 1 within its image, of weights that sum to 1; a row with lesion 0 and
      weight 0 an image without.
    - `TP`: the score of each lesion that was hit; missed ones have no row. `FP`: the candidates that hit nothing.

    `ModalityID` counts from 1 in the order of `records`; the file's properties (description) say which is which.

    Args:
        records: of each method, by name; of the same images, truth and criterion.
        finding: of theirs.
        path: ends with .xlsx, as RJafroc wants it.

    Raises:
        ValueError: the path ends otherwise, a finding is not known, no image that counts has a lesion, the records
            cannot be compared, or a sheet would be longer than Excel's.
    """
    path, names = Path(path), list(records)
    if path.suffix != ".xlsx":
        raise ValueError(f"RJafroc reads files that end with .xlsx, got {path.name}")
    check_same_truth(records, names[0])
    first = records[names[0]]
    if finding not in first.findings:
        raise ValueError(f"{finding!r} is not among the findings of the records, {', '.join(first.findings)}")
    k = first.findings.index(finding)
    modalities = ", ".join(str(number) for number in range(1, len(names) + 1))
    rows: dict[str, list[tuple[float | str | None, ...]]] = {TRUTH: [], FP: [], TP: []}
    lesions = _places(first, k)
    if not lesions:
        raise ValueError(f"no image that counts has a lesion of {finding}: there is nothing to find")
    own: dict[int, list[int]] = {index: [] for index in first.images.index[of_finding(first, k).image].tolist()}
    for index, place in lesions:
        own[index].append(place)
    for index, places in own.items():
        said = [(index, number, 1 / len(places)) for number in range(1, len(places) + 1)] or [(index, 0, 0.0)]
        rows[TRUTH] += [(*row, str(READER), modalities, None) for row in said]
    for row, word in enumerate(("FROC", "FCTRL")[: len(rows[TRUTH])]):
        rows[TRUTH][row] = (*rows[TRUTH][row][:-1], word)
    for modality, mine in enumerate(records.values(), 1):
        data = of_finding(mine, k)
        wrong = zip(mine.images.index[data.fp_image].tolist(), data.fp_score.tolist(), strict=True)
        rows[FP] += [(READER, modality, *each) for each in wrong]
        # by place among the image's boxes: methods may hold their lesions in another order
        for (index, place), score in zip(_places(mine, k), data.lesion_score.tolist(), strict=True):
            if score > -np.inf:
                rows[TP].append((READER, modality, index, 1 + own[index].index(place), score))
    _write(rows, path, "; ".join(f"{i} = {name}" for i, name in enumerate(names, 1)), finding)


def _places(records: Records, finding: int) -> list[tuple[int, int]]:
    """Image, and place among its boxes, of the lesions of `of_finding`."""
    rows = lesion_rows(records, finding)
    return list(zip(records.lesions.index[rows].tolist(), records.lesions.lesion[rows].tolist(), strict=True))


def _write(rows: Mapping[str, list[tuple[float | str | None, ...]]], path: Path, methods: str, finding: str) -> None:
    book = Workbook(write_only=True)
    book.properties.title, book.properties.description = finding, f"ModalityID {methods}"
    for name, columns in COLUMNS.items():
        if len(rows[name]) > _LONGEST:
            raise ValueError(f"sheet {name} has {len(rows[name])} rows, Excel's at most {_LONGEST}: give fewer methods")
        sheet = book.create_sheet(name)
        for row in (columns, *rows[name]):
            sheet.append(row)
    with atomic_path(path) as temporary:
        book.save(temporary)
