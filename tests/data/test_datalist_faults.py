"""Every fault of a bad datalist."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from bundle.data.datalist import (
    DatalistError,
    check_datalist,
    datalist_section,
)
from bundle.data.datalist_fault import PRINTED_FAULTS
from bundle.data.readers import NAME
from tests.data.datalist_document import Document, faults_of, write_image

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
    "reader as number": (mass([0, 0, 1, 1], reader=1), "boxes[0].reader", "1", NAME),
    "reader with a bar": (mass([0, 0, 1, 1], reader="a|b"), "boxes[0].reader", "'a|b'", NAME),
    "readers as text": ({"readers": "R1"}, "readers", "'R1'", f"a list, each {NAME}"),
    "readers without a name": ({"readers": ["R1", " "]}, "readers", "['R1', ' ']", f"a list, each {NAME}"),
    "a reader twice": ({"readers": ["R1", "R1"]}, "readers", "['R1', 'R1']", "each reader once"),
    "box of another reader": (
        {**mass([0, 0, 1, 1], reader="R3"), "readers": ["R1", "R2"]},
        "boxes[0].reader",
        "'R3'",
        "one of the image's readers, R1, R2",
    ),
    "box of no reader": (
        {**mass([0, 0, 1, 1]), "readers": ["R1"]},
        "boxes[0].reader",
        "nothing",
        "one of the image's readers, R1",
    ),
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
    "blank patient": (
        {"patient_id": " "},
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


def test_what_is_no_frontal_chest_is_found_unless_allowed(folder, document, write):
    write_image(folder / "images" / "a.dcm", ViewPosition="LL")
    write_image(folder / "images" / "c.dcm", BodyPartExamined="HAND")
    wanted = 'a frontal chest radiograph, or reading#frontal "any" to use all'
    assert faults_of(write(document)) == [
        f"training[0] (images/a.dcm), image: found View Position (0018,5101) states a lateral view; wanted {wanted}",
        "validation[0] (images/c.dcm), image: found Body Part Examined (0018,0015) states HAND, not the chest; "
        f"wanted {wanted}",
    ]
    check_datalist(write(document), reading={"frontal": "any"})
    check_datalist(write(document), check_images=False)


@pytest.mark.parametrize("report", [None, "", "  \n"])
def test_reports_where_they_are_trained_on(document, write, report):
    document["training"][1]["report"] = report
    path = write(document)
    check_datalist(path)
    line = "training[1] (images/b.dcm), report: found no text; wanted a report, because reports are trained on"
    assert faults_of(path, require_reports=True, sections=["training"]) == [line]
    assert faults_of(path, require_reports=["training"]) == [line]
    assert len(faults_of(path, require_reports=["training", "validation"])) == 2
    assert len(faults_of(path, require_reports=True)) == 3
    assert faults_of(path, require_reports=["trainin"]) == [
        "the file, trainin: found no such section; wanted it, as its reports are required"
    ]


def test_pretraining_needs_the_reports_of_both_its_sections(document, write):
    path, parser = write(document), ConfigParser()
    parser.read_config(str(Path(__file__).parents[2] / "configs" / "pretrain.json"))
    parser.update({"datalist": str(path), "findings": ["Mass"]})
    for engine in ("train", "validate"):
        with pytest.raises(RuntimeError) as caught:
            parser.get_parsed_content(f"{engine}#dataset#data")
        assert [fault.where.split()[0] for fault in caught.value.__cause__.faults] == ["training[1]", "validation[0]"]
    document["training"][1]["report"] = document["validation"][0]["report"] = "No mass."
    write(document)
    parser.parse(reset=True)
    assert len(parser.get_parsed_content("validate#dataset#data")) == 1


def test_a_padded_patient_is_the_same_patient(document, write):
    document["test"][0]["patient_id"] = "p1 "
    assert faults_of(write(document)) == [
        "test[0] (images/d.dcm), patient_id: found the patient of training[0]; wanted each patient in one section only"
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
        (
            '{"findings": ["A", "mean"], "training": []}',
            "findings: found mean; wanted another name: figures of all findings together are called so",
        ),
        (
            '{"findings": ["A/unboxed", "B", "A"], "training": []}',
            "findings: found A and A/unboxed; wanted other names: figures of the two would have the same keys",
        ),
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


def test_a_slash_alone_is_no_fault(document, write):
    document["findings"] = [*document["findings"], "Nodule/Mass"]  # as VinDr-CXR has it
    check_datalist(write(document))


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
