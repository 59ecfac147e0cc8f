"""How many radiographs of five public lists are not assessed, by their headers: python -m scripts.benchmark_gate

The lists lie in the wheel of torchxrayvision, which is located and never imported: attributes and sizes, no pixels.
"""

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import itemgetter

import fire
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bundle.data.nih_tables import packaged_tables
from bundle.reading.frontal import odd_shape, stated_otherwise

Row = tuple[tuple[tuple[str, str], ...], tuple[int, int] | None]  # attributes, and (H, W) where the list has it
VIEWS = ("frontal", "lateral", "")  # the last is for all else, and for images of which nobody says
PADCHEST = {"PA": "frontal", "AP": "frontal", "AP_horizontal": "frontal", "L": "lateral"}  # else ribs, other, unknown
SEQUENCES = ("AnatomicRegionSequence", "ViewCodeSequence")


def main() -> None:
    """Print a table: of each list, how many images there are of each view, and how many of these are not assessed."""
    print("| list | frontal | not assessed | lateral | not assessed | other or unknown | not assessed |")
    print("|---" * 7 + "|")
    for name, images in lists().items():
        counts, refused = count(images)
        cells = [f"{number[view]:,}" for view in VIEWS for number in (counts, refused)]
        print(f"| {name} | {' | '.join(cells)} |")


def lists() -> dict[str, Iterator[tuple[str, Row]]]:
    """Name -> (view, row) of each image; the view is one of `VIEWS`."""
    return {"Open-i": open_i(), "NIH": nih(), "RSNA": rsna(), "PadChest": padchest(), "CheXpert": chexpert()}


def count(images: Iterator[tuple[str, Row]]) -> tuple[Counter[str], Counter[str]]:
    """How many there are of each view, and how many of these are not assessed."""
    different = Counter(images)  # of half a million headers a few thousand
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for (view, (attributes, size)), number in different.items():
        counts[view] += number
        if stated_otherwise(header(dict(attributes))) or (size is not None and odd_shape(size)):
            refused[view] += number
    return counts, refused


def header(attributes: Mapping[str, str]) -> Dataset:
    """A header with these attributes; "" is absent."""
    result = Dataset()
    with disable_value_validation():
        for keyword, value in attributes.items():
            if value and keyword in SEQUENCES:
                item = Dataset()
                item.CodeValue, item.CodingSchemeDesignator = value.split("/")
                setattr(result, keyword, Sequence([item]))
            elif value:
                setattr(result, keyword, value.split("\\"))
    return result


def open_i() -> Iterator[tuple[str, Row]]:
    """Indiana University's; of one image a study the view was told from the pixels, by clusters."""
    views = dict(rows("nlmcxr_tsne_pa", "imageid", "tsne-view"))
    keys = ("Modality", "Body Part Examined", "View Position", "Patient Orientation")
    sequences = ("Anatomic Region Sequence", "View Code Sequence")
    for name, *values, height, width in rows("nlmcxr_dicom_metadata", "imageid", *keys, *sequences, "Rows", "Columns"):
        *plain, orientation, region, view = values
        stated = (*plain, "\\".join(re.findall(r"'(\w+)'", orientation)), _code(region), _code(view))
        attributes = tuple(zip((key.replace(" ", "") for key in (*keys, *sequences)), stated, strict=True))
        of_view = {"PA": "frontal", "L": "lateral"}.get(views.get(name, ""), "")
        yield of_view, (attributes, (int(height), int(width)))


def nih() -> Iterator[tuple[str, Row]]:
    """ChestX-ray14, of frontal images only."""
    for view, height, width in rows("Data_Entry_2017_v2020", "View Position", "Height]", "OriginalImage[Width"):
        yield "frontal", ((("ViewPosition", view),), (int(height), int(width)))


def rsna() -> Iterator[tuple[str, Row]]:
    """The pneumonia challenge's headers, of NIH's images."""
    keys = ("Modality", "BodyPartExamined", "ViewPosition")
    for values in rows("kaggle_stage_2_train_images_dicom_headers", *keys):
        yield "frontal", (tuple(zip(keys, values, strict=True)), None)


def padchest() -> Iterator[tuple[str, Row]]:
    """San Juan's; the projection was told from reviewed headers, and by a network where these were silent."""
    columns = ("Projection", "Modality_DICOM", "ViewPosition_DICOM", "Rows_DICOM", "Columns_DICOM")
    for projection, modality, view, height, width in rows("PADCHEST_chest_x_ray_images_labels_160K_01.02.19", *columns):
        attributes = (("Modality", modality), ("ViewPosition", view))
        yield PADCHEST.get(projection, ""), (attributes, (int(float(height)), int(float(width))))


def chexpert() -> Iterator[tuple[str, Row]]:
    """Stanford's, which gives View Position for its frontal images alone."""
    for view, position in rows("chexpert_train", "Frontal/Lateral", "AP/PA"):
        yield view.lower(), ((("ViewPosition", position),), None)


def rows(name: str, *columns: str) -> Iterator[tuple[str, ...]]:
    """These columns of one of the package's tables."""
    with gzip.open(packaged_tables() / f"{name}.csv.gz") as file:
        table = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        first = next(table)
        wanted = itemgetter(*map(first.index, columns))
        yield from map(wanted, table)


def _code(printed: str) -> str:
    """Code and scheme of a sequence that pydicom has printed."""
    found = re.search(r"Code Value\s+SH: '([^']*)'\s+\S+ \S+ Coding Scheme Designator\s+SH: '([^']*)'", printed)
    return "/".join(found.groups()) if found else ""


if __name__ == "__main__":
    fire.Fire(main)
