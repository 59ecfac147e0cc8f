"""Findings of a source under other names, or some of them: what makes two data sets speak of the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bundle.data.datalist_entry import nearest
from bundle.data.sources.faults import Faults
from bundle.data.sources.record import Reading, Record
from bundle.data.sources.spool import Spool

__all__ = ["with_findings"]


def with_findings(reading: Reading, rename: Mapping[str, str] | None, keep: Sequence[str] | None) -> Reading:
    """A reading that calls its findings otherwise, and knows some of them only.

    Where several get one name, it is present where any of them is, absent where all are, otherwise unknown; its boxes
    are complete where those of each are.

    Args:
        reading: of a source.
        rename: its name -> the new one; None or empty leaves all names.
        keep: the findings to keep, by their new names, in the order that the datalist shall have; None keeps all.

    Returns:
        The reading.

    Raises:
        SourceError: a name that the source does not have.
    """
    new = {name: (rename or {}).get(name, name) for name in reading.findings}
    order = tuple(dict.fromkeys(new.values())) if keep is None else tuple(keep)
    faults = Faults()
    for option, names, known in (("rename", rename or {}, reading.findings), ("findings", order, [*new.values()])):
        for name in names:
            if name not in known:
                faults.add(f"--{option}", name, "a finding that the source does not have", _known(name, known))
    faults.refuse()
    if all(old == name for old, name in new.items()) and order == tuple(reading.findings):
        return reading
    parts = {name: [old for old in reading.findings if new[old] == name] for name in order}
    of = {old: name for name, old_names in parts.items() for old in old_names}
    records = Spool(_renamed(record, parts, of) for record in reading.records)
    return dataclasses.replace(reading, findings=order, records=records)


def _renamed(record: Record, parts: Mapping[str, Sequence[str]], of: Mapping[str, str]) -> Record:
    labels: dict[str, int] = {}
    boxed: set[str] = set()
    for name, old_names in parts.items():
        said = [record.labels.get(old) for old in old_names]
        if 1 in said or all(label == 0 for label in said):
            labels[name] = int(1 in said)
        has_box = any(of.get(box.finding) == name for box in record.boxes)
        complete = all(old in record.boxed or record.labels.get(old) == 0 for old in old_names)
        if complete and (has_box or labels.get(name) == 0):
            boxed.add(name)
    boxes = [dataclasses.replace(box, finding=of[box.finding]) for box in record.boxes if box.finding in of]
    return dataclasses.replace(record, labels=labels, boxes=boxes, boxed=frozenset(boxed))


def _known(name: str, known: Sequence[str]) -> str:
    return f"one of {', '.join(known)}{nearest(name, known)}"
