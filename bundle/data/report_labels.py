"""Labels from the text of reports: what they affirm, deny, and are unsure of.

Terms are found, and each one's negation and uncertainty told by the words around it in its sentence, by nlplite (MIT).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bundle.data.sources.record import Reading, Record
from bundle.data.sources.spool import Spool

__all__ = ["TERMS", "labelled", "report_labels"]

TERMS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectasis", "atelectases", "atelectatic", "volume loss", "collapse"),
    "Cardiomegaly": (
        *("cardiomegaly", "enlarged heart", "heart is enlarged", "heart is mildly enlarged", "heart mildly enlarged"),
        *("heart is moderately enlarged", "heart size is enlarged", "heart size is mildly enlarged"),
        *("enlarged cardiac silhouette", "cardiac silhouette is enlarged", "cardiac silhouette is mildly enlarged"),
        *("cardiac silhouette enlarged", "enlarged cardiomediastinal silhouette", "cardiac enlargement"),
        "heart enlargement",
    ),
    "Effusion": (
        *("effusion", "effusions", "pleural fluid", "costophrenic blunting", "blunting of the costophrenic"),
        "hydropneumothorax",
    ),
    "Infiltration": ("infiltrate", "infiltrates", "infiltration"),
    "Mass": ("mass", "masses"),
    "Nodule": (*("nodule", "nodules", "nodular density", "nodular densities", "nodular opacity", "nodular opacities"),),
    "Pneumonia": ("pneumonia", "pneumonias"),
    "Pneumothorax": ("pneumothorax", "pneumothoraces", "hydropneumothorax"),
}
"""Finding, as NIH calls it, -> what reports call it."""
YES, NO, UNSURE = "Y", "N", "U"  # nlplite's
MENTIONED, ALL = "mentioned", "all"


def report_labels(text: str, terms: Mapping[str, Sequence[str]] | None = None) -> dict[str, int | None]:
    """What a report says of each finding that it mentions.

    Args:
        text: of the report.
        terms: finding -> its terms; None is `TERMS`.

    Returns:
        Finding -> 1 where any term is affirmed; else None where any is uncertain; else 0. A finding that is not
        mentioned is not there.
    """
    from nlplite import convert_text_to_codes  # for those who label

    dictionary = [(term, finding) for finding, own in (terms or TERMS).items() for term in own]
    said: dict[str, set[str]] = {}
    for code, *_ in convert_text_to_codes(text, dictionary, negation_check=True, unique=False):
        finding, _, status = str(code).rpartition(":")
        said.setdefault(finding, set()).add(status)
    return {finding: 1 if YES in found else None if UNSURE in found else 0 for finding, found in said.items()}


def labelled(reading: Reading, unmentioned: str, terms: Mapping[str, Sequence[str]] | None = None) -> Reading:
    """A source whose images are labelled by their reports too; labels and boxes that it has stay as they are.

    Args:
        reading: of a source.
        unmentioned: "mentioned": what a report does not mention is unknown; "all": it is absent. What it is unsure of
            is unknown.
        terms: as for `report_labels`.

    Returns:
        The reading, with the terms' findings after its own.

    Raises:
        ValueError: another `unmentioned`, or a source without a report.
    """
    if unmentioned not in (MENTIONED, ALL):
        raise ValueError(f"Found labels_from_reports {unmentioned!r}; wanted {MENTIONED} or {ALL}.")
    if not any(record.report for record in reading.records):
        raise ValueError(f"{reading.title} has no report, from which labels were to be made.")
    findings = terms or TERMS
    records = Spool(_labelled(record, unmentioned, findings) for record in reading.records)
    new = sum(len(after.labels) - len(before.labels) for before, after in zip(reading.records, records, strict=True))
    note = f"{new:,} labels are of reports, by terms, negation and uncertainty (docs/data.md says how well)"
    return dataclasses.replace(
        reading,
        findings=tuple(dict.fromkeys([*reading.findings, *findings])),
        records=records,
        notes=[*reading.notes, note],
    )


def _labelled(record: Record, unmentioned: str, terms: Mapping[str, Sequence[str]]) -> Record:
    if not record.report:
        return record
    said = report_labels(record.report, terms)
    if unmentioned == ALL:
        said = {**dict.fromkeys(terms, 0), **said}
    boxed = {box.finding for box in record.boxes}
    more = {name: label for name, label in said.items() if label is not None and name not in boxed}
    return dataclasses.replace(record, labels={**more, **record.labels})
