"""A good datalist, every fault of a bad one, and the arrays of its entries."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from bundle.data import datalist_check
from bundle.data.datalist import (
    DatalistError,
    check_datalist,
    datalist_findings,
    datalist_section,
    encode_entry,
    load_datalist,
)
from bundle.data.datalist_fault import PRINTED_FAULTS

FINDINGS = ["Atelectasis", "Effusion", "Mass"]
Document = dict[str, Any]
Write = Callable[[Any], Path]


def write_image(path: Path, rows: int = 40, columns: int = 60) -> None:
    """A small DX image."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    header.Rows, header.Columns, header.SamplesPerPixel = rows, columns, 1
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    header.PhotometricInterpretation = "MONOCHROME2"
    header.PixelData = bytes(rows * columns)
    header["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


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


def faults_of(path: Path, **checks: Any) -> list[str]:
    """The faults of a datalist, a line each."""
    with pytest.raises(DatalistError) as caught:
        check_datalist(path, **checks)
    return [str(fault) for fault in caught.value.faults]


# --- a good datalist ------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(datalist_check, "stored_size", lambda file: calls.append(file) or (40, 60))
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


# --- faults ---------------------------------------------------------------------------------------------------------

UNKNOWN = "one of the findings Atelectasis, Effusion, Mass"
LABEL = "0 or 1 (leave the finding out where it is unknown)"
INSIDE = "a box inside the image of 60 x 40 (columns x rows)"


def mass(box: Any, **more: Any) -> Document:
    """An entry's boxes: one of a mass."""
    return {"boxes": [{"finding": "Mass", "box": box, **more}]}


FAULTS = {
    # name: (what the test entry is updated with, field, found, wanted)
    "unknown label": ({"labels": {"Efusion": 1}}, "labels.Efusion", "'Efusion'", f"{UNKNOWN} (did you mean Effusion?)"),
    "other case": ({"labels": {"mass": 1}}, "labels.mass", "'mass'", f"{UNKNOWN} (did you mean Mass?)"),
    "label 2": ({"labels": {"Mass": 2}}, "labels.Mass", "2", LABEL),
    "label -1": ({"labels": {"Mass": -1}}, "labels.Mass", "-1", LABEL),
    "label true": ({"labels": {"Mass": True}}, "labels.Mass", "True", LABEL),
    "label null": ({"labels": {"Mass": None}}, "labels.Mass", "nothing", LABEL),
    "label NaN": ({"labels": {"Mass": math.nan}}, "labels.Mass", "nan", LABEL),
    "label text": ({"labels": {"Mass": "1"}}, "labels.Mass", "'1'", LABEL),
    "labels list": ({"labels": ["Mass"]}, "labels", "['Mass']", "an object of finding: 0 or 1"),
    "box wide": (mass([0, 0, 61, 40]), "boxes[0].box", "[0, 0, 61, 40], which leaves the image", INSIDE),
    "box high": (mass([0, 0, 60, 40.5]), "boxes[0].box", "[0, 0, 60, 40.5], which leaves the image", INSIDE),
    "box left": (mass([-1, 0, 6, 4]), "boxes[0].box", "[-1, 0, 6, 4], which leaves the image", INSIDE),
    "box empty": (mass([5, 5, 5, 9]), "boxes[0].box", "[5, 5, 5, 9], an empty box", "x0 < x1 and y0 < y1"),
    "box turned": (mass([9, 9, 5, 5]), "boxes[0].box", "[9, 9, 5, 5], an empty box", "x0 < x1 and y0 < y1"),
    "box of three": (mass([1, 2, 3]), "boxes[0].box", "[1, 2, 3]", "[x0, y0, x1, y1], four numbers"),
    "box of NaN": (mass([1, 2, 3, math.nan]), "boxes[0].box", "[1, 2, 3, nan]", "[x0, y0, x1, y1], four numbers"),
    "box absent": ({"boxes": [{"finding": "Mass"}]}, "boxes[0].box", "nothing", "[x0, y0, x1, y1], four numbers"),
    "box of nothing known": (
        {"boxes": [{"finding": "Nodule", "box": [0, 0, 1, 1]}]},
        "boxes[0].finding",
        "'Nodule'",
        UNKNOWN,
    ),
    "box without finding": ({"boxes": [{"box": [0, 0, 1, 1]}]}, "boxes[0].finding", "nothing", UNKNOWN),
    "box as list": ({"boxes": [[0, 0, 1, 1]]}, "boxes[0]", "[0, 0, 1, 1]", "an object with finding and box"),
    "boxes as object": ({"boxes": {}}, "boxes", "{}", "a list of objects with finding and box"),
    "box and label 0": (
        {**mass([0, 0, 1, 1]), "labels": {"Mass": 0}},
        "boxes[0]",
        "a box of Mass, whose label is 0",
        "label 1, or no box",
    ),
    "caption": (mass([0, 0, 1, 1], caption=3), "boxes[0].caption", "3", "text"),
    "attributes": (mass([0, 0, 1, 1], attributes=3), "boxes[0].attributes", "3", "an object"),
    "cnr": (mass([0, 0, 1, 1], attributes={"cnr": "3"}), "boxes[0].attributes.cnr", "'3'", "a number"),
    "boxed unknown": ({"boxed": ["Nodule"]}, "boxed[0]", "'Nodule'", UNKNOWN),
    "boxed text": ({"boxed": "Mass"}, "boxed", "'Mass'", "a list of findings"),
    "boxed without box": (
        {"boxed": ["Mass"], "labels": {"Mass": 1}},
        "boxed[0]",
        "Mass with label 1 and no box",
        "its boxes, or label 0, or not in boxed",
    ),
    "boxed without label": (
        {"boxed": ["Mass"]},
        "boxed[0]",
        "Mass with no label and no box",
        "its boxes, or label 0, or not in boxed",
    ),
    "age text": ({"age": "61"}, "age", "'61'", "a number of years, 0 to 150"),
    "age NaN": ({"age": math.nan}, "age", "nan", "a number of years, 0 to 150"),
    "age in days": ({"age": 22000}, "age", "22000", "a number of years, 0 to 150"),
    "sex": ({"sex": 1}, "sex", "1", "text, or no such key"),
    "report NaN": ({"report": math.nan}, "report", "nan", "text, or no such key"),
    "size": (mass([0, 0, 1, 1], attributes={"size_mm": 0}), "boxes[0].attributes.size_mm", "0", "a number above 0"),
    "side": (mass([0, 0, 1, 1], attributes={"side": 1}), "boxes[0].attributes.side", "1", "text"),
    "lobe": (mass([0, 0, 1, 1], attributes={"lobe": []}), "boxes[0].attributes.lobe", "[]", "text"),
    "summary": ({"summary": ["Mass."]}, "summary", "['Mass.']", "text, or no such key"),
    "qa": ({"qa": "?"}, "qa", "'?'", "a list of objects with question and answer"),
    "qa pair": ({"qa": ["?"]}, "qa[0]", "'?'", "an object with question and answer"),
    "qa answer": ({"qa": [{"question": "Mass?", "answer": 1}]}, "qa[0].answer", "1", "text"),
    "qa question": ({"qa": [{"question": " ", "answer": "yes"}]}, "qa[0].question", "' '", "text"),
    "qa type": (
        {"qa": [{"question": "Mass?", "answer": "yes", "type": 2}]},
        "qa[0].type",
        "2",
        "text, or no such key",
    ),
    "lungs": ({"lungs": [0, 0, 9]}, "lungs", "[0, 0, 9]", "[x0, y0, x1, y1], four numbers"),
    "lungs outside": (
        {"lungs": [0, 0, 61, 40]},
        "lungs",
        "[0, 0, 61, 40], which leaves the image",
        "a box inside the image of 60 x 40 (columns x rows)",
    ),
    "no patient": (
        {"patient_id": None},
        "patient_id",
        "nothing",
        "the patient's pseudonym, by which splits are kept apart",
    ),
    "patient float": ({"patient_id": 1.5}, "patient_id", "a value of type float", "text or a whole number"),
    "image number": ({"image": 5}, "image", "5", "the path of an image file"),
}


@pytest.mark.parametrize(("changes", "field", "found", "wanted"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_an_entry(document, write, changes, field, found, wanted):
    document["test"][0].update(changes)
    where = "test[0] (images/d.dcm)" if "image" not in changes else "test[0]"
    assert faults_of(write(document)) == [f"{where}, {field}: found {found}; wanted {wanted}"]


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("images/absent.dcm", "there is no such file; wanted a radiograph that can be read. Check the path"),
        (
            "images",
            "this is a folder; wanted a radiograph that can be read. Wanted one image file: name the file in it",
        ),
        ("images/empty.dcm", "the file is empty; wanted a radiograph that can be read. Copy or export it again"),
        ("../outside.dcm", "a path that leaves the data folder; wanted a file inside {folder}"),
        ("images/../../outside.dcm", "a path that leaves the data folder; wanted a file inside {folder}"),
        ("/etc/hostname", "a path that leaves the data folder; wanted a file inside {folder}"),
        ("images/link.dcm", "a link that leaves the data folder; wanted a file inside {folder}"),
        ("linked/outside.dcm", "a link that leaves the data folder; wanted a file inside {folder}"),
        ("images/c.dcm", "the image of validation[0]; wanted each image once"),
        ("images/./c.dcm", "the image of validation[0]; wanted each image once"),
        ("images/alias.dcm", "the image of training[0]; wanted each image once"),
    ],
)
def test_a_fault_of_an_image(folder, document, write, image, found):
    outside = folder.parent / "outside.dcm"
    write_image(outside)
    (folder / "images" / "empty.dcm").touch()
    (folder / "images" / "link.dcm").symlink_to(outside)
    (folder / "images" / "alias.dcm").symlink_to(folder / "images" / "a.dcm")
    (folder / "linked").symlink_to(folder.parent)
    document["test"][0]["image"] = image
    assert faults_of(write(document)) == [f"test[0] ({image}), image: found {found.format(folder=folder)}"]


def test_links_inside_the_folder_are_fine(folder, document, write):
    (folder / "alias.dcm").symlink_to(folder / "images" / "d.dcm")
    document["test"][0]["image"] = "alias.dcm"
    check_datalist(write(document))


def test_cut_and_colour_images_are_found(folder, document, write):
    image = folder / "images" / "d.dcm"
    image.write_bytes(image.read_bytes()[:-100])
    (fault,) = faults_of(write(document))
    assert "test[0] (images/d.dcm), image: found the pixel data are cut short: 2300 bytes" in fault


@pytest.mark.parametrize("report", [None, "", "  \n"])
def test_reports_where_they_are_trained_on(document, write, report):
    document["training"][1]["report"] = report
    path = write(document)
    check_datalist(path)
    line = "training[1] (images/b.dcm), report: found no text; wanted a report, because reports are trained on"
    assert faults_of(path, require_reports=True) == [line]
    assert faults_of(path, require_reports=["training"]) == [line]
    assert len(faults_of(path, require_reports=["training", "validation"])) == 2
    assert faults_of(path, require_reports=["trainin"]) == [
        "the file, trainin: found no such section; wanted it, as its reports are required"
    ]


def test_patients_are_told_by_place_and_not_by_name(document, write):
    document["training"][0]["patient_id"] = document["training"][1]["patient_id"] = "2"  # validation has the number 2
    document["test"][0]["patient_id"] = "2"
    faults = faults_of(write(document))
    wanted = "wanted each patient in one section only"
    assert faults == [
        f"validation[0] (images/c.dcm), patient_id: found the patient of training[0]; {wanted}",
        f"test[0] (images/d.dcm), patient_id: found the patient of training[0]; {wanted}",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '{"findings": ["Mass"],\n "training": [}',
            "JSON: found Expecting value at line 2, column 15; wanted valid JSON",
        ),
        ("", "JSON: found Expecting value at line 1, column 1; wanted valid JSON"),
        ("[1]", "JSON: found a list; wanted an object with findings and sections"),
        ('{"findings": ["Mass"]}', "sections: found findings; wanted training, validation or test"),
        ('{"training": []}', "findings: found nothing; wanted a list of names"),
        ('{"findings": [], "training": []}', "findings: found []; wanted a list of names"),
        ('{"findings": ["A", "A"], "training": []}', "findings: found A 2 times; wanted each finding once"),
        ('{"findings": ["A"], "training": {}}', "training: found {}; wanted a list of entries"),
        (
            '{"findings": ["A"], "test": [], "test": []}',
            "test: found this key twice in one object; wanted each key once",
        ),
    ],
)
def test_a_fault_of_the_file(write, text, line):
    assert f"the file, {line}" in faults_of(write(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DatalistError, match=r"absent\.json: 1 fault"):
        datalist_section(tmp_path / "absent.json", "training")


def test_findings_that_the_file_lacks_are_named_with_the_nearest(document, write):
    line = "the file, findings: found Atelectasis, Effusion, Mass; wanted Masses, which the configuration asks for"
    assert faults_of(write(document), findings=["Effusion", "Masses"]) == [f"{line} (did you mean Mass?)"]


def test_every_fault_is_listed_at_once_in_the_order_of_the_file(document, write):
    bad = copy.deepcopy(document)
    bad["training"][0]["labels"]["Effusion"] = 3
    bad["training"][0]["boxes"][1]["box"] = [0, 0, 100, 100]
    bad["training"][1]["image"] = "../b.dcm"
    bad["training"].append("an entry")
    bad["validation"][0]["patient_id"] = "p1"
    bad["validation"][0]["age"] = "old"
    bad["test"][0]["image"] = "images/absent.dcm"
    path = write(bad)
    with pytest.raises(DatalistError) as caught:
        check_datalist(path, findings=["Nodule"])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 8 faults in the datalist"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "the file, findings",
        "training[2], entry",
        "training[0] (images/a.dcm), labels.Effusion",
        "training[0] (images/a.dcm), boxes[1].box",
        "training[1] (../b.dcm), image",
        "validation[0] (images/c.dcm), age",
        "validation[0] (images/c.dcm), patient_id",
        "test[0] (images/absent.dcm), image",
    ]


def test_a_long_list_is_cut_in_print_only(document, write):
    document["test"] = [{"image": f"images/{index}.dcm", "patient_id": str(100 + index)} for index in range(80)]
    with pytest.raises(DatalistError) as caught:
        check_datalist(write(document))
    lines = str(caught.value).splitlines()
    assert len(lines) == PRINTED_FAULTS + 2
    assert lines[-1] == "  and 30 more"
    assert len(caught.value.faults) == 80
