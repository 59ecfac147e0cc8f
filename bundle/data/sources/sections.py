"""Which section each image goes to: the source's own, or by the hash of its patient."""

from __future__ import annotations

from collections.abc import Sequence

from bundle.data.datalist_entry import patient_name
from bundle.data.folds import split_by_hash
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Record

__all__ = ["USUAL", "sections_of"]

USUAL = ("training", "validation", "test")


def sections_of(
    records: Sequence[Record], validation: float, test: float, seed: int, faults: Faults
) -> dict[str, list[int]]:
    """The records' places, by section.

    A record with a `split` goes there. The others are divided by the SHA-256 of their patients into training,
    validation and test; of validation and test those that the source fixes are not cut anew.

    Args:
        records: of all images.
        validation: share of the patients that are divided.
        test: share of the patients that are divided.
        seed: another one gives another division.
        faults: a patient in two sections is added, once for each further section.

    Returns:
        Section -> numbers of its records, in their order.

    Raises:
        ValueError: shares that are negative or leave nothing.
    """
    fixed = {record.split for record in records if record.split}
    asked = {"validation": validation, "test": test}
    shares = {name: 0.0 if name in fixed else share for name, share in asked.items()}
    shares = {"training": 1 - sum(shares.values()), **shares}
    free = [patient_name(record.patient) for record in records if not record.split]
    of_patient = split_by_hash(free, shares, seed) if free else {}
    wanted = [*USUAL, *sorted(fixed - set(USUAL))] if free or fixed & set(USUAL) else sorted(fixed)
    sections: dict[str, list[int]] = {name: [] for name in wanted}
    first: dict[str, Record] = {}
    told: set[tuple[str, str]] = set()
    for number, record in enumerate(records):
        patient = patient_name(record.patient)
        section = record.split or of_patient[patient]
        sections[section].append(number)
        other = first.setdefault(patient, record)
        own = other.split or of_patient[patient]
        if own != section and (patient, section) not in told:
            told.add((patient, section))
            found = f"{section}, and the same patient in {own} ({other.where or other.image})"
            faults.add(record.where or record.image, "section", found, "each patient in one section only")
    return sections
