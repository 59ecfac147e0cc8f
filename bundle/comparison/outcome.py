"""What a comparison found, in memory and on disk."""

import json
from pathlib import Path
from typing import NamedTuple

from bundle.atomic import write_json
from bundle.metrics.table import Metrics, Notes

_METRICS, _ABOUT = "comparison.json", "comparison_notes.json"


class Outcome(NamedTuple):
    """What `Comparison.evaluate` found.

    Attributes:
        metrics: figures by key.
        notes: why a figure is not a number, and how intervals were made.
        methods: name -> `supervision` and `setting` in words, and `folder` of its records.
        reference: the method that the others are held against.
    """

    metrics: Metrics
    notes: Notes
    methods: dict[str, dict[str, str]]
    reference: str


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Write `comparison.json`, the figures, and `comparison_notes.json`, all else."""
    write_json(folder / _METRICS, outcome.metrics)
    about = {"reference": outcome.reference, "methods": outcome.methods, "notes": outcome.notes}
    write_json(folder / _ABOUT, about)


def read_outcome(folder: Path) -> Outcome | None:
    """What `write_outcome` left in a folder; None where it left nothing."""
    if not (folder / _METRICS).is_file() or not (folder / _ABOUT).is_file():
        return None
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    metrics = json.loads((folder / _METRICS).read_text(encoding="utf-8"))
    return Outcome(metrics, about["notes"], about["methods"], about["reference"])
