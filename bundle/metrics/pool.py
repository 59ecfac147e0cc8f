"""The records of several evaluations as those of one: a cross-validation judged over all of its images."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bundle.atomic import write_json
from bundle.metrics.image_level import summarise_images
from bundle.metrics.records import Records
from bundle.metrics.records_io import load_records, records_made_for, save_records
from bundle.metrics.strata import by_size
from bundle.metrics.summary import summarise

Table = TypeVar("Table")


def pool_records(parts: Sequence[Records]) -> Records:
    """Put records one after the other.

    Parts number their images and groups from 0: those of a later part are moved beyond those of the parts before it, so
    no two images share an index, and no two patients a group. The parts must therefore have no patient in common, as
    the sections of a datalist have none.

    A curve over the pool sets one threshold for all parts. Where each part was scored by its own model, it holds these
    models to scores that mean the same: a model that scores higher throughout costs the pool sensitivity, though none
    of its own curve.

    Args:
        parts: of the same findings, criterion and image scores.

    Returns:
        The pool; its images stand in the order of the parts.

    Raises:
        ValueError: no parts, or parts that differ in what they must share; the message says which and how.
    """
    if not parts:
        raise ValueError("found no records to pool; wanted at least one evaluation's")
    first = parts[0]
    for number, part in enumerate(parts):
        for what, mine, theirs in (
            ("findings", part.findings, first.findings),
            ("the hit criterion", part.criterion, first.criterion),
            ("image scores", tuple(part.images.scores), tuple(first.images.scores)),
        ):
            if mine != theirs:
                raise ValueError(f"part {number}: found {what} {mine}, but part 0 has {theirs}; wanted the same")
    offsets = {
        key: np.cumsum([0, *(int(getattr(part.images, key).max(initial=-1)) + 1 for part in parts)]).tolist()
        for key in ("index", "group")
    }
    return Records(
        findings=first.findings,
        criterion=first.criterion,
        images=_joined([part.images for part in parts], offsets),
        lesions=_joined([part.lesions for part in parts], offsets),
        candidates=_joined([part.candidates for part in parts], offsets),
    )


def pool_folds(folder: str | Path, folds: int = 5, replicates: int = 1000, seed: int = 0) -> Path:
    """Summarise a cross-validation over all of its folds: every image once, by the model of its fold.

    Reads `fold_0/records` .. in `folder`, as `bundle.handlers.EvaluationReport` leaves them, and writes beside them
    `records/`, `metrics.json` and `notes.json`: the figures of `bundle.metrics.summarise`, those of
    `bundle.metrics.image_level.summarise_images` that need no plan (each fold has its own), those of
    `bundle.metrics.strata.by_size`, and `pool/folds`, `pool/images`, `pool/lesions` and `pool/patients`, the
    denominators.

    Args:
        folder: of the folds' evaluations.
        folds: how many there must be.
        replicates: R of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The path of `metrics.json`.

    Raises:
        FileNotFoundError: a fold has no records; the message names every such fold.
        ValueError: folds that were not evaluated alike, are of several datalists or of one section twice.
    """
    folder = Path(folder)
    places = [folder / f"fold_{fold}" / "records" for fold in range(folds)]
    if missing := [place.parent.name for place in places if not (place / "records.json").is_file()]:
        raise FileNotFoundError(
            f"{folder}: found no records of {', '.join(missing)}; wanted those of {folds} folds. Evaluate these first"
        )
    data = _pooled_data(folder, [records_made_for(place) for place in places])
    records = pool_records([load_records(place) for place in places])
    metrics, notes = summarise(records, replicates, seed)
    for more, more_notes in (summarise_images(records, {}, replicates, seed), by_size(records, replicates, seed)):
        metrics, notes = metrics | more, more_notes | notes
    counts = {
        "pool/folds": folds,
        "pool/images": len(records.images.index),
        "pool/lesions": len(records.lesions.index),
        "pool/patients": len(np.unique(records.images.group)),
    }
    notes["pool"] = (
        f"{counts['pool/images']} images of {counts['pool/patients']} patients with {counts['pool/lesions']} lesions, "
        f"pooled over {folds} folds; one threshold for the scores of {folds} models"
    )
    (folder / "metrics.json").unlink(missing_ok=True)  # the old figures must not vouch for new records
    save_records(records, folder / "records", made_for=data)
    write_json(folder / "notes.json", notes)
    write_json(folder / "metrics.json", {**metrics, **counts})
    return folder / "metrics.json"


def _pooled_data(folder: Path, parts: Sequence[Any]) -> dict[str, Any] | None:
    """What all folds together were made for; None where one does not say."""
    said = [part for part in parts if isinstance(part, Mapping)]
    datalists = {part["datalist"]: f"fold_{fold}" for fold, part in enumerate(parts) if isinstance(part, Mapping)}
    if len(datalists) > 1:
        raise ValueError(
            f"{folder}: found folds of several datalists, such as {sorted(datalists.values())}; wanted one"
        )
    sections = [section for part in said for section in part["section"]]
    if twice := sorted({section for section in sections if sections.count(section) > 1}):
        raise ValueError(f"{folder}: found the sections {twice} in more than one fold; wanted every image once")
    return {**said[0], "section": sections} if len(said) == len(parts) else None


def _joined(tables: Sequence[Table], offsets: Mapping[str, Sequence[int]]) -> Table:
    """The rows of all tables, those of `index` and `group` moved by the offsets of their part."""
    columns: dict[str, Any] = {}
    for field in fields(tables[0]):  # type: ignore[arg-type]
        values = [getattr(table, field.name) for table in tables]
        if isinstance(values[0], Mapping):
            columns[field.name] = {key: np.concatenate([value[key] for value in values]) for key in values[0]}
            continue
        if field.name in offsets:
            moves = offsets[field.name][: len(values)]  # the last one is the end
            values = [value + move for value, move in zip(values, moves, strict=True)]
        columns[field.name] = np.concatenate(values)
    return type(tables[0])(**columns)
