"""What a comparison found, in memory and on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bundle.atomic import write_json
from bundle.metrics.table import Metrics, Notes

_METRICS, _ABOUT = "comparison.json", "comparison_notes.json"
LEFT_OUT = "left_out/"
"""Begins the keys of notes that say why a method is left out; the method's name ends them."""


class Outcome(NamedTuple):
    """What `Comparison.evaluate` found.

    Attributes:
        metrics: figures by key.
        notes: why a figure is not a number or a method not there, and how intervals were made.
        methods: name -> `supervision` and `setting` in words, and `folder` of its records.
        reference: the method that the others are held against.
        made_for: the data that all were judged on (`bundle.made_for.made_for`); None does not say.
    """

    metrics: Metrics
    notes: Notes
    methods: dict[str, dict[str, str]]
    reference: str
    made_for: Mapping[str, Any] | None = None


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Write `comparison.json`, the figures, and `comparison_notes.json`, all else."""
    write_json(folder / _METRICS, outcome.metrics)
    about: dict[str, Any] = {"reference": outcome.reference, "methods": outcome.methods, "notes": outcome.notes}
    about["made_for"] = None if outcome.made_for is None else dict(outcome.made_for)
    write_json(folder / _ABOUT, about)


def read_outcome(folder: Path) -> Outcome | None:
    """What `write_outcome` left in a folder; None where it left nothing."""
    if not (folder / _METRICS).is_file() or not (folder / _ABOUT).is_file():
        return None
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    metrics = json.loads((folder / _METRICS).read_text(encoding="utf-8"))
    return Outcome(metrics, about["notes"], about["methods"], about["reference"], about.get("made_for"))
