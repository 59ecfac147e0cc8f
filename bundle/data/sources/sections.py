"""Which section each image goes to: the source's own, or by the hash of its patient."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np

from bundle.data.datalist_entry import patient_name
from bundle.data.folds import hash_place, sections_by_place
from bundle.data.sources.faults import Faults
from bundle.data.sources.spool import Digests, Numbers

__all__ = ["USUAL", "Sections"]

USUAL = ("training", "validation", "test")


class Sections:
    """The sections of records that come one after another, of which 24 bytes each are kept.

    A record with a `split` goes there. The others are divided by the SHA-256 of their patients into training,
    validation and test; of validation and test those that the source fixes are not cut anew.

    Args:
        validation: share of the patients that are divided.
        test: share of the patients that are divided.
        seed: another one gives another division.
    """

    def __init__(self, validation: float, test: float, seed: int) -> None:
        self.seed, self._asked = seed, {"validation": validation, "test": test}
        self._patients, self._places = Digests(), array("d")
        self._splits: dict[str, int] = {"": 0}
        self._split = array("q")

    def add(self, patient: str, split: str) -> None:
        """One more, of whom and where the source puts it; an empty split where it does not."""
        name = patient_name(patient)
        self._patients.add(name)
        self._places.append(hash_place(name, self.seed))
        self._split.append(self._splits.setdefault(split, len(self._splits)))

    def numbers(self, where: Callable[[int], str], faults: Faults) -> dict[str, Numbers]:
        """The records' numbers, by section.

        Args:
            where: a record stands, by its number.
            faults: a patient in two sections is added, once for each further section.

        Returns:
            Section -> numbers of its records, in their order.

        Raises:
            ValueError: shares that are negative or leave nothing.
        """
        split, places = np.array(self._split, np.int64), np.array(self._places)
        fixed, free = set(self._splits) - {""}, split == 0
        shares = {name: 0.0 if name in fixed else share for name, share in self._asked.items()}
        shares = {"training": 1 - sum(shares.values()), **shares}
        wanted = [*USUAL, *sorted(fixed - set(USUAL))] if free.any() or fixed & set(USUAL) else sorted(fixed)
        section = np.array([wanted.index(name) if name else -1 for name in self._splits])[split]
        if free.any():
            section[free] = sections_by_place(places[free], shares)
        first = self._patients.firsts()
        told: set[tuple[int, int]] = set()
        for number in np.flatnonzero(section != section[first]).tolist():
            own, of_first = int(section[number]), int(first[number])
            if (of_first, own) not in told:
                told.add((of_first, own))
                found = f"{wanted[own]}, and the same patient in {wanted[section[of_first]]} ({where(of_first)})"
                faults.add(where(number), "section", found, "each patient in one section only")
        return {name: np.flatnonzero(section == place) for place, name in enumerate(wanted)}
