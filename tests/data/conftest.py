"""The datalist of `datalist_document`, as fixtures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.datalist_document import FINDINGS, Document, Write, write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with four images of 40 rows and 60 columns."""
    for name in "abcd":
        write_image(tmp_path / "data" / "images" / f"{name}.dcm")
    return tmp_path / "data"


@pytest.fixture
def document() -> Document:
    """A datalist without faults."""
    return {
        "findings": FINDINGS,
        "description": "two patients to learn from",
        "training": [
            {
                "image": "images/a.dcm",
                "patient_id": "p1",
                "report": "Left effusion.",
                "labels": {"Effusion": 1, "Mass": 0.0},
                "boxes": [
                    {"finding": "Effusion", "box": [0, 0, 60, 40], "attributes": {"cnr": 3.5}, "caption": "left"},
                    {"finding": "Atelectasis", "box": [1.5, 2, 3, 4]},
                ],
                "boxed": ["Effusion"],
                "summary": "Effusion.",
                "qa": [{"question": "Effusion?", "answer": "yes"}],
                "sex": "F",
                "age": 61,
                "view": "PA",
                "site": "north",
                "vendor": "one",
                "of our own": [1, 2],
            },
            {"image": "images/b.dcm", "patient_id": "p1"},
        ],
        "validation": [{"image": "images/c.dcm", "patient_id": 2, "labels": {"Mass": 1}, "sex": None, "age": None}],
        "test": [{"image": "images/d.dcm", "patient_id": "3", "labels": {}, "boxes": [], "boxed": []}],
    }


@pytest.fixture
def write(folder: Path) -> Write:
    """A function that writes a document, or text, as the folder's datalist."""

    def to_file(document: Any) -> Path:
        path = folder / "datalist.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return path

    return to_file
