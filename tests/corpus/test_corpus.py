"""At least 300 bad inputs, each refused in words that name the file or the key, with nothing half-written."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from pathlib import Path

import pytest

from bundle.reading import read_radiograph
from tests.corpus import pictures, radiographs, settings, tables
from tests.corpus.bad import Bad, refused

KINDS = {
    "DICOM files cut": radiographs.cuts,
    "DICOM headers": radiographs.headers,
    "compressed pixels": radiographs.streams,
    "PNG, JPEG, TIFF, NIfTI, MetaImage and other files": pictures.plain,
    "HDF5 files": pictures.hdf5s,
    "settings of reading, and folders": pictures.readings,
    "datalists": tables.datalists,
    "tables for prepare_datalist": tables.sources,
    "predictions to judge": tables.predictions,
    "checkpoints": settings.checkpoints,
    "plan.json": settings.plans,
    "records of an evaluation": settings.reports,
    "masks and notes for the label server": settings.masks,
    "overrides of a configuration": settings.overrides,
    "sections of it": settings.sections,
}
CORPUS = {kind: list(made()) for kind, made in KINDS.items()}
RELIABILITY = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("bad", [bad for made in CORPUS.values() for bad in made], ids=lambda bad: bad.name)
def test_a_bad_input_is_refused_in_words_for_people(tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: Bad) -> None:
    caplog.set_level(logging.CRITICAL)
    refused(bad, tmp_path)


def test_there_are_as_many_as_the_docs_say() -> None:
    names = [bad.name for made in CORPUS.values() for bad in made]
    assert len(set(names)) == len(names) >= 300
    assert len(CORPUS["DICOM files cut"]) >= 50
    said = ", ".join(f"{len(made)} {kind}" for kind, made in CORPUS.items())
    (row,) = re.findall(r"^\| bad inputs: (.+) \| (\d+) \|", RELIABILITY.read_text(encoding="utf-8"), re.MULTILINE)
    assert row == (said, str(len(names)))


def test_what_is_harmless_is_read(tmp_path: Path) -> None:
    """A cut that takes no pixel, and damage that no decoder looks at: as the whole file is."""
    for name, syntax in radiographs.CODECS.items():
        for kind, content in {"whole": radiographs.whole(syntax), "cut": radiographs.whole(syntax)[:-8]}.items():
            (tmp_path / f"{name} {kind}.dcm").write_bytes(content)
        wanted, found = (read_radiograph(tmp_path / f"{name} {kind}.dcm")[0] for kind in ("whole", "cut"))
        assert (found == wanted).all(), name
    (tmp_path / "a.dcm").write_bytes(radiographs.with_damage(radiographs.CODECS["RLE"], "its first byte"))
    assert (read_radiograph(tmp_path / "a.dcm")[0] == wanted).all()


def test_a_damaged_length_puts_no_patient_into_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An element that is read swallows those that are not, and their values with it."""
    content = radiographs.whole()
    element = content.index(b"\x08\x00\x16\x00UI", 132)
    long = content[: element + 6] + b"\xc8\0" + content[element + 8 :]
    assert b"Secret^Name" in long[element + 8 : element + 208]
    (tmp_path / "a.dcm").write_bytes(long)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with contextlib.suppress(ValueError):
            read_radiograph(tmp_path / "a.dcm")
    assert "secret" not in (caplog.text + "".join(str(each.message) for each in caught)).lower()
