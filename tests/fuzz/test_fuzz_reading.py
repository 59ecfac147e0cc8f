"""Whatever a file's bytes or a datalist's values are: it is read, or refused in words that name it."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.datalist import DatalistError, datalist_section
from bundle.reading import RadiographError, read_radiograph
from tests.corpus import pictures, radiographs, tables
from tests.data.datalist_document import FINDINGS
from tests.fuzz.profiles import examples

WHOLE = {
    **{f"{name}.dcm": radiographs.whole(syntax) for name, syntax in radiographs.SYNTAXES.items()},
    "a.png": pictures.png(pictures.NOISE),
    "a.jpg": pictures.jpeg(pictures.NOISE),
    "a.tif": pictures.saved(pictures.NOISE, "TIFF", compression="tiff_deflate"),
    "a.nii": pictures.nifti(),
    "a.mha": pictures.meta(),
}
# a place as a share of the file, the bytes that are put there, how many go for them
EDITS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=12), st.integers(0, 40)), min_size=1, max_size=4)


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # in which it says what it makes of a value


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@given(name=st.sampled_from(sorted(WHOLE)), edits=EDITS, early=st.booleans())
@examples(60)
def test_any_bytes_are_a_radiograph_or_refused(tmp_path: Path, name: str, edits: Any, early: bool) -> None:
    content = bytearray(WHOLE[name])
    for place, new, gone in edits:
        start = int(place * min(len(content), 700 if early else len(content)))  # headers lie early
        content[start : start + gone] = new
    path = tmp_path / name
    path.write_bytes(content)
    refused = None
    try:
        image, metadata = read_radiograph(path)
    except RadiographError as error:
        refused = error
    if refused:
        assert str(refused).startswith(f"{path}: ")
        assert refused.remedy
    else:
        assert image.dtype == np.float32
        assert image.shape == (1, *metadata["stored_size"])
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NUMBER = st.integers(-5, 70) | st.floats(allow_nan=True, allow_infinity=True)
BOX = st.fixed_dictionaries(
    {},
    optional={
        "finding": st.sampled_from([*FINDINGS, "Nodule"]) | JSON,
        "box": st.lists(NUMBER, min_size=3, max_size=5) | JSON,
        "reader": st.sampled_from(["R1", "R2"]) | JSON,
        "caption": JSON,
        "attributes": JSON,
    },
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["images/a.dcm", "images/b.dcm", "images", "", "none.dcm"]) | JSON,
        "patient_id": st.sampled_from(["1", " 1", "3"]) | JSON,
        "labels": st.dictionaries(st.sampled_from([*FINDINGS, "Nodule"]), st.integers(0, 2) | JSON, max_size=3) | JSON,
        "boxes": st.lists(BOX, max_size=2) | JSON,
        "boxed": st.lists(st.sampled_from(FINDINGS), max_size=2) | JSON,
        "readers": st.lists(st.sampled_from(["R1", "R2"]), max_size=2) | JSON,
        "age": NUMBER | JSON,
        **dict.fromkeys(("report", "summary", "qa", "sex", "view", "site", "vendor", "lungs"), JSON),
    },
)


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    return tables.datalist(tmp_path, tables.DOCUMENT)


@given(entry=ENTRY, more=st.none() | st.tuples(st.text(max_size=9) | st.sampled_from(["test", "findings"]), JSON))
@examples(120)
def test_any_entry_is_taken_or_a_fault(datalist: Path, entry: Any, more: Any) -> None:
    document: dict[str, Any] = copy.deepcopy(tables.DOCUMENT)
    document["test"][0].update(entry)
    if more:
        document[more[0]] = more[1]
    datalist.write_text(json.dumps(document))
    refused = None
    try:
        items = datalist_section(datalist, "test", FINDINGS)
    except DatalistError as error:
        refused = error
    if refused:
        assert refused.faults
        assert all(fault.where and fault.found and fault.wanted for fault in refused.faults)
        assert str(datalist) in str(refused)
    else:
        for item in items:
            assert np.isin(item["label"][~np.isnan(item["label"])], (0, 1)).all()
            x0, y0, x1, y1 = item["boxes"].T
            assert ((x0 >= 0) & (x0 < x1) & (x1 <= 60) & (y0 >= 0) & (y0 < y1) & (y1 <= 40)).all()
