"""Open-i, the Indiana University collection: reports read in place out of their archive, MeSH tags as labels.

Demner-Fushman et al. Preparing a collection of radiology examinations for distribution and retrieval. JAMIA 2016. Each
report is of another patient and names its images. Experts tagged the reports with MeSH terms and others: what is
tagged is present, what is not is absent.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from bundle.data.nih_tables import packaged_tables
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Reading, Record
from bundle.data.sources.table_file import TableFile

__all__ = ["TAGS", "read_openi", "tagged"]

TAGS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("Pulmonary Atelectasis",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Effusion": ("Pleural Effusion",),
    "Infiltration": ("Infiltrate",),
    "Mass": ("Mass",),
    "Nodule": ("Nodule",),
    "Pneumonia": ("Pneumonia",),
    "Pneumothorax": ("Pneumothorax", "Hydropneumothorax", "Hemopneumothorax"),
    "Consolidation": ("Consolidation",),
    "Edema": ("Pulmonary Edema",),
    "Emphysema": ("Emphysema", "Pulmonary Emphysema", "Bullous Emphysema"),
    "Fibrosis": ("Pulmonary Fibrosis", "Fibrosis"),
    "Hernia": ("Hernia, Hiatal", "Hernia, Diaphragmatic"),
}
"""Finding, as NIH calls it, -> the first terms of the tags that say it."""
UNINDEXED = ("No Indexing", "Technical Quality of Image Unsatisfactory")
SECTIONS = ("FINDINGS", "IMPRESSION")
_PACKAGED = "NLMCXR_reports.tgz"


def read_openi(tables: str | os.PathLike[str] | None = None, views: str | os.PathLike[str] | None = None) -> Reading:
    """Read Open-i's reports.

    Args:
        tables: NLMCXR_reports.tgz, or the folder of its unpacked XML files; None takes the archive that torchxrayvision
            carries.
        views: a table of the images' views, columns imageid or filename, and view, projection or tsne-view. Without it
            a lateral PNG is not told from a frontal one: the reports do not say which image is which.

    Returns:
        A record for each image, in the order of the reports.

    Raises:
        FileNotFoundError: no such file.
        ModuleNotFoundError: torchxrayvision is not installed, and `tables` is None.
        SourceError: every fault of the reports.
    """
    path = packaged_tables() / _PACKAGED if tables is None else Path(tables)
    if path.is_dir() and (path / _PACKAGED).is_file():
        path = path / _PACKAGED
    faults = Faults()
    view_of = {} if views is None else _views(Path(views), faults)
    records: list[Record] = []
    reports = imageless = unindexed = 0
    first: dict[str, str] = {}
    for where, data in _files(path, faults):
        try:
            root = ElementTree.fromstring(data)
        except ElementTree.ParseError as error:
            faults.add(where, "XML", str(error), "a whole file; download the reports again")
            continue
        uid = root.find("uId")
        images = [image.get("id", "") for image in root.iter("parentImage")]
        if uid is None or not uid.get("id"):
            faults.add(where, "uId", "nothing", "the report's number, which stands for its patient")
            continue
        reports += 1
        imageless += not images
        labels = tagged(root)
        unindexed += not labels
        for image in images:
            if not image or image in first:
                found = f"the image of {first[image]}" if image else "an image without a name"
                faults.add(where, "parentImage", found, "each image once, by its id")
            first.setdefault(image, where)
            records.append(
                Record(
                    image=f"{image}.dcm",
                    patient=uid.get("id", ""),
                    labels=labels,
                    report=_report(root),
                    view=view_of.get(image, ""),
                    site="Open-i",
                    where=where,
                )
            )
    if not reports and not faults.all:
        faults.add(str(path), "reports", "no XML file", "Open-i's reports, NLMCXR_reports.tgz")
    faults.refuse()
    untagged = f"{unindexed:,} without tags, whose labels are unknown"
    notes = [f"{reports:,} reports, {imageless:,} of them without an image, {untagged}"]
    if views is not None:
        notes.append(f"{sum(bool(record.view) for record in records):,} of {len(records):,} images have a view")
    return Reading("Open-i (Indiana University)", tuple(TAGS), records, [path] if path.is_file() else [], {}, notes)


def tagged(report: ElementTree.Element) -> dict[str, int]:
    """Labels by the MeSH tags of a report: finding -> 1 or 0; empty where it has none, or was not indexed."""
    terms = {(tag.text or "").split("/")[0].strip() for tag in report.iter("major")} - {""}
    if not terms or terms & set(UNINDEXED):
        return {}
    return {finding: int(bool(terms.intersection(of))) for finding, of in TAGS.items()}


def _report(report: ElementTree.Element) -> str:
    texts = {part.get("Label"): " ".join((part.text or "").split()) for part in report.iter("AbstractText")}
    return " ".join(f"{section.title()}: {texts[section]}" for section in SECTIONS if texts.get(section))


def _files(path: Path, faults: Faults) -> Iterator[tuple[str, bytes]]:
    """Name and content of each report, out of an archive or a folder."""
    if path.is_dir():
        for file in sorted(path.rglob("*.xml")):
            yield file.name, file.read_bytes()
        return
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: found no such file; wanted Open-i's {_PACKAGED}, or the folder of its XML files"
        )
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".xml") and (content := archive.extractfile(member)) is not None:
                    yield member.name, content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        faults.add(str(path), "archive", str(error), "a whole archive; download it again")


def _views(path: Path, faults: Faults) -> dict[str, str]:
    """Image -> view."""
    table = TableFile(path)
    image, view = table.column("imageid", "filename", "image"), table.column("view", "projection", "tsne-view")
    if image is None or view is None:
        faults.add(str(path), "header", table.shown_header(), "columns imageid (or filename) and view (or projection)")
        faults.refuse()
        return {}
    words = {"frontal": "FRONTAL", "l": "LATERAL"}
    rows = {row[image]: row[view] for _, row in table.rows(faults)}
    return {_name(name): words.get(word.lower(), word.upper()) for name, word in rows.items()}


def _name(file: str) -> str:
    """CXR1_1_IM-0001-3001 of CXR1_1_IM-0001-3001.dcm, and of 1_IM-0001-3001.dcm.png."""
    plain = file.removesuffix(".png").removesuffix(".dcm")
    return plain if plain.startswith("CXR") else f"CXR{plain}"
