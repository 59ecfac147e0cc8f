"""A good datalist, and the arrays of its entries."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bundle.data import datalist_check
from bundle.data.datalist import (
    DatalistError,
    datalist_findings,
    datalist_section,
    encode_entry,
    load_datalist,
)
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import Layout
from tests.data.datalist_document import FINDINGS, faults_of, write_image


def test_a_good_datalist(folder, document, write):
    datalist = load_datalist(write(document))
    assert datalist.findings == FINDINGS
    assert list(datalist.sections) == ["training", "validation", "test"]
    first = datalist["training"][0]
    assert first["image"] == str(folder / "images" / "a.dcm")
    assert first["labels"] == {"Effusion": 1, "Mass": 0}
    assert first["stored_size"] == (40, 60)
    assert first["of our own"] == [1, 2]
    assert datalist["validation"][0]["patient_id"] == "2"
    assert [datalist["training"][1][key] for key in ("labels", "boxes", "boxed")] == [{}, [], []]


def test_a_section_as_items_of_a_dataset(folder, document, write):
    document["training"][1]["patient_id"] = "p1 "  # as DICOM pads it
    path = write(document)
    items = datalist_section(path, "training", keep=["summary"])
    assert [item["index"] for item in items] == [0, 1]
    assert [item["group"] for item in items] == [0, 0]  # two images of one patient
    first, second = items
    assert first.keys() == second.keys()
    assert first["image"] == str(folder / "images" / "a.dcm")
    assert (first["patient_id"], first["report"], first["summary"]) == ("p1", "Left effusion.", "Effusion.")
    assert first["info"] == {"sex": "F", "view": "PA", "site": "north", "vendor": "one", "age": 61.0}
    np.testing.assert_array_equal(first["label"], np.array([1, 1, 0], np.float32))
    np.testing.assert_array_equal(first["boxes"], np.array([[0, 0, 60, 40], [1.5, 2, 3, 4]], np.float32))
    np.testing.assert_array_equal(first["box_finding"], [1, 0])
    np.testing.assert_array_equal(first["box_cnr"], np.array([3.5, np.nan], np.float32))
    np.testing.assert_array_equal(first["boxed"], [False, True, True])
    assert (second["report"], second["summary"]) == ("", None)
    assert {**second["info"], "age": None} == {"sex": "", "view": "", "site": "", "vendor": "", "age": None}
    assert math.isnan(second["info"]["age"])
    assert [first[key].dtype for key in ("label", "boxes", "box_finding", "box_cnr", "boxed")] == [
        np.float32,
        np.float32,
        np.int64,
        np.float32,
        np.bool_,
    ]
    assert (second["boxes"].shape, second["box_finding"].shape, second["box_cnr"].shape) == ((0, 4), (0,), (0,))


def test_several_sections_are_one_with_its_own_numbers(document, write):
    path = write(document)
    items = datalist_section(path, ["test", "training"])
    assert [item["patient_id"] for item in items] == ["3", "p1", "p1"]
    assert [item["index"] for item in items] == [0, 1, 2]
    assert [item["group"] for item in items] == [0, 1, 1]
    one, listed = datalist_section(path, "training"), datalist_section(path, ["training"])
    assert [item["image"] for item in one] == [item["image"] for item in listed]


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        (["test", "fold_0"], "the file, fold_0: found training, validation, test; wanted a section fold_0"),
        (["test", "training", "test"], "the configuration, section: found test more than once; wanted each once"),
    ],
)
def test_sections_that_are_not_there_or_asked_for_twice(document, write, sections, fault):
    with pytest.raises(DatalistError) as caught:
        datalist_section(write(document), sections)
    assert str(caught.value.faults[0]).startswith(fault)


def test_the_findings_alone(document, write, tmp_path):
    document["training"] = []
    assert datalist_findings(write(document)) == FINDINGS
    with pytest.raises(DatalistError, match="the file, findings: found Mass 2 times; wanted each finding once"):
        datalist_findings(write({**document, "findings": ["Mass", "Mass"]}))
    with pytest.raises(DatalistError, match="wanted a list of names"):
        datalist_findings(write({"training": []}))
    with pytest.raises(DatalistError, match="no readable file"):
        datalist_findings(tmp_path / "nowhere.json")


def test_the_findings_asked_for_choose_and_order(document, write):
    first = datalist_section(write(document), "training", findings=["Mass", "Effusion"])[0]
    np.testing.assert_array_equal(first["label"], [0, 1])
    np.testing.assert_array_equal(first["box_finding"], [1])
    np.testing.assert_array_equal(first["boxed"], [True, True])


@pytest.mark.parametrize(
    ("entry", "label", "boxed"),
    [
        ({}, [np.nan, np.nan, np.nan], [False, False, False]),
        ({"labels": {"Mass": 0}}, [np.nan, np.nan, 0], [False, False, True]),
        ({"labels": {"Mass": 1}}, [np.nan, np.nan, 1], [False, False, False]),
        ({"boxes": [{"finding": "Mass", "box": [0, 0, 1, 1]}]}, [np.nan, np.nan, 1], [False, False, False]),
        (
            {"boxes": [{"finding": "Mass", "box": [0, 0, 1, 1]}], "boxed": ["Mass"]},
            [np.nan, np.nan, 1],
            [False, False, True],
        ),
        ({"labels": {"Mass": 0}, "boxed": ["Mass"]}, [np.nan, np.nan, 0], [False, False, True]),
    ],
)
def test_label_and_completeness(entry, label, boxed):
    arrays = encode_entry(entry, FINDINGS)
    np.testing.assert_array_equal(arrays["label"], np.array(label, np.float32))
    np.testing.assert_array_equal(arrays["boxed"], boxed)


def test_items_are_made_anew_and_the_file_is_checked_once(folder, document, write, monkeypatch):
    path = write(document)
    datalist_section(path, "training")[0]["label"][:] = 7
    calls: list[Path] = []

    def look(file: Path, reading: ReadingOptions) -> Layout:
        calls.append(file)
        return Layout((40, 60))

    monkeypatch.setattr(datalist_check, "check_radiograph", look)
    again = datalist_section(path, "training")
    np.testing.assert_array_equal(again[0]["label"], np.array([1, 1, 0], np.float32))
    datalist_section(path, "validation")
    assert not calls
    write_image(folder / "images" / "d.dcm", 50, 60)
    document["test"].append({"image": "images/b.dcm", "patient_id": "p1"})
    write(document)
    with pytest.raises(DatalistError, match="test\\[1\\]"):
        datalist_section(path, "training")
    assert calls == [folder / "images" / "d.dcm"]  # only what has changed is read again


def test_another_data_folder(folder, document, write, tmp_path):
    path = write(document)
    moved = path.rename(tmp_path / "elsewhere.json")
    assert load_datalist(moved, base_dir=folder)["training"][0]["image"] == str(folder / "images" / "a.dcm")
    assert len(faults_of(moved)) == 4


@pytest.mark.parametrize("place", ["../data", "./../data/", "images/..", "../other/linked", "../other/linked/../data"])
def test_a_data_folder_by_a_winding_path(folder, document, write, place, monkeypatch):
    path = write(document)
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "linked").symlink_to(folder)
    monkeypatch.chdir(folder)
    for base in (Path(place), folder / place):
        as_file, as_folder = datalist_section(base / path.name, "test"), datalist_section(path, "test", base_dir=base)
        for items in (as_file, as_folder):
            assert Path(items[0]["image"]).samefile(folder / "images" / "d.dcm")
            assert ".." not in Path(items[0]["image"]).parts
    document["test"][0]["image"] = "../outside.dcm"
    assert "a path that leaves the data folder" in faults_of(write(document), base_dir=place)[0]


def test_absolute_paths_inside_the_folder(folder, document, write):
    document["test"][0]["image"] = str(folder / "images" / "d.dcm")
    assert load_datalist(write(document))["test"][0]["image"] == str(folder / "images" / "d.dcm")


def test_images_may_go_unchecked(document, write):
    document["test"][0]["image"] = "images/absent.dcm"
    document["test"][0]["boxes"] = [{"finding": "Mass", "box": [0, 0, 9999, 1]}]
    datalist = load_datalist(write(document), check_images=False)
    assert "stored_size" not in datalist["test"][0]


def test_a_file_may_lack_sections(document, write):
    del document["training"], document["validation"]
    path = write(document)
    assert load_datalist(path)["training"] == []
    with pytest.raises(DatalistError, match="found test; wanted a section training"):
        datalist_section(path, "training")


def test_sections_of_other_names(document, write):
    document["external"] = document.pop("test")
    path = write(document)
    assert len(datalist_section(path, "external")) == 1
    document["external"][0]["patient_id"] = "p1"
    assert faults_of(write(document)) == [
        "external[0] (images/d.dcm), patient_id: found the patient of training[0]; "
        "wanted each patient in one section only"
    ]
