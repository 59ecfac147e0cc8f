"""Sources by exactly shaped small tables: what they make of them, and what they refuse."""

import json

import numpy as np
import pytest

from bundle.data.datalist import load_datalist
from bundle.data.sources.chestxdet10 import read_chestxdet10
from bundle.data.sources.chexpert import FINDINGS, NO_FINDING, read_chexpert
from bundle.data.sources.coco import read_coco
from bundle.data.sources.coco_export import export_coco
from bundle.data.sources.mimic import read_mimic
from bundle.data.sources.openi import read_openi
from bundle.data.sources.prepare import Options, prepare
from bundle.data.sources.report_sections import findings_and_impression
from bundle.data.sources.rsna import read_rsna
from bundle.data.sources.siim import decode_runs, read_siim
from bundle.data.sources.vinbigdata import read_vinbigdata
from tests.data.sources.source_files import faults_when, write_csv, write_pictures

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough

 FINDINGS:

 The lungs are clear.
 No effusion.

 IMPRESSION:

 Normal chest.
"""


def write_mimic(folder):
    folder.mkdir()
    write_csv(
        folder / "mimic-cxr-2.0.0-metadata.csv",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns",
        "aa-1,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544",
        "aa-2,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544",
        "bb-1,11000033,50414268,CHEST (PORTABLE AP),AP,3056,2544",
    )
    labels = ("", *["1.0"] * 2, "-1.0", "0.0", *[""] * 9)
    write_csv(
        folder / "mimic-cxr-2.0.0-chexpert.csv",
        ",".join(("subject_id", "study_id", NO_FINDING, *FINDINGS)),
        ",".join(("10000032", "50414267", *labels)),
    )
    write_csv(
        folder / "mimic-cxr-2.0.0-split.csv",
        "dicom_id,study_id,subject_id,split",
        "aa-1,50414267,10000032,train",
        "aa-2,50414267,10000032,train",
        "bb-1,50414268,11000033,validate",
    )
    file = folder / "files" / "p10" / "p10000032" / "s50414267.txt"
    file.parent.mkdir(parents=True)
    file.write_text(REPORT)
    return folder


def test_mimic(tmp_path):
    tables = write_mimic(tmp_path / "tables")
    reading = read_mimic(tables, reports=tables)
    first, second, third = reading.records
    assert first.image == "p10/p10000032/s50414267/aa-1.jpg"
    assert first.labels == {"Enlarged Cardiomediastinum": 1, "Cardiomegaly": 1, "Lung Lesion": 0}
    assert first.report == "Findings: The lungs are clear. No effusion. Impression: Normal chest."
    assert (first.split, second.view, third.split, third.labels, third.report) == (
        *("training", "LATERAL", "validation"),
        {},
        "",
    )
    assert "1 labels are -1 (uncertain) and become unknown" in reading.notes
    assert read_mimic(tables, uncertain="present").records[0].labels["Lung Opacity"] == 1
    images = write_pictures(tmp_path / "images" / "files", [record.image for record in reading.records])
    datalist = load_datalist(prepare(reading, images.parent, tmp_path / "d.json"), base_dir=images.parent)
    assert [len(datalist[section]) for section in ("training", "validation", "test")] == [1, 1, 0]


def test_mimics_tables_of_two_releases(tmp_path):
    tables = write_mimic(tmp_path / "tables")
    write_csv(tables / "mimic-cxr-2.0.0-split.csv", "dicom_id,split", "aa-1,training", "aa-2,test")
    found = faults_when(read_mimic, tables)
    assert found[0] == "mimic-cxr-2.0.0-split.csv line 2, split: found 'training'; wanted one of train, validate, test"
    assert "bb-1" not in found[1]  # no identifiers
    assert found[1].startswith(
        "mimic-cxr-2.0.0-metadata.csv line 4, dicom_id: found an image that mimic-cxr-2.0.0-split"
    )
    with pytest.raises(FileNotFoundError, match=r"found no p10 \.\. p19"):
        read_mimic(tables, reports=tmp_path)
    (tables / "mimic-cxr-2.0.0-split.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"wanted mimic-cxr-2\.0\.0-split\.csv"):
        read_mimic(tables)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (REPORT, "Findings: The lungs are clear. No effusion. Impression: Normal chest."),
        ("IMPRESSION: Clear.\n", "Impression: Clear."),
        (" TECHNIQUE: AP view.\n\n Lungs are clear.\n No effusion.\n", "Lungs are clear. No effusion."),
        ("Lungs\nare clear.", "Lungs are clear."),
        (" INDICATION: cough", ""),
    ],
)
def test_sections_of_a_report(text, said):
    assert findings_and_impression(text) == said


def test_chexperts_faults(tmp_path):
    header = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", NO_FINDING, *FINDINGS))
    row = "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP" + "," * 14
    table = write_csv(
        tmp_path / "train.csv", header, row, row, row.replace("68", "x").replace("00001", "2") + "3", "a.jpg" + "," * 18
    )
    found = faults_when(read_chexpert, table)
    assert [fault.split(":")[0] for fault in found] == [
        "train.csv line 3, Path",
        "train.csv line 4, Age",
        "train.csv line 4, Support Devices",
        "train.csv line 5, Path",
    ]
    write_csv(table, header.replace("Edema", "Oedema").replace("Path", "File"), row)
    found = faults_when(read_chexpert, table)
    assert len(found) == 2
    assert "a column Edema (did you mean Oedema?)" in found[1]
    write_csv(tmp_path / "train.csv", header, row)
    write_csv(tmp_path / "valid.csv", header, row.replace("train/patient00001", "valid/patient64541"))
    assert [record.split for record in read_chexpert(tmp_path).records] == ["", "test"]


def test_rsnas_faults(tmp_path):
    table = write_csv(
        tmp_path / "t.csv", "patientId,x,y,width,height,Target", "a,1,2,3,4,1", "a,,,,,0", "b,,,,,1", "c,1,2,0,4,1"
    )
    assert [fault.split(":")[0] for fault in faults_when(read_rsna, table)] == [
        *("t.csv line 3, Target", "t.csv line 4, Target", "t.csv line 5, width, height")
    ]


def test_vinbigdatas_faults_and_vindr(tmp_path):
    header = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
    table = write_csv(
        tmp_path / "annotations_train.csv",
        header,
        "a,R1,No finding,1,2,3,4",
        "a,R2,Masses,1,2,3,4",
        "a,R3,ILD,5,2,3,4",
        "b,R1,ILD,,,,",
    )
    found = faults_when(read_vinbigdata, tmp_path)
    assert [fault.split(":")[0].rsplit(" ", 1)[0] for fault in found] == [
        "annotations_train.csv line 2,",
        "annotations_train.csv line 3,",
        "annotations_train.csv line 4, x_min, y_min, x_max,",
        "annotations_train.csv line 5, x_min, y_min, x_max,",
    ]
    assert "'Masses'; wanted one of Aortic enlargement, " in found[1]
    write_csv(table, header, "a,R1,Rib fracture,1,2,3,4", "a,R2,No finding,,,,", "a,R3,No finding,,,,")
    assert len(read_vinbigdata(table).findings) == 22
    assert read_vinbigdata(table, readers="majority").records[0].labels["Rib fracture"] == 0
    with pytest.raises(ValueError, match="Found readers 'all'; wanted one of any, majority, fusion"):
        read_vinbigdata(table, readers="all")


def test_siims_runs(tmp_path):
    mask = decode_runs("2050 3 1021 3 5 1")  # column 2, rows 2 to 4; the same of column 3; row 10 of column 3
    assert mask.shape == (1024, 1024)
    np.testing.assert_array_equal(np.argwhere(mask), [[2, 2], [2, 3], [3, 2], [3, 3], [4, 2], [4, 3], [10, 3]])
    table = write_csv(
        tmp_path / "train-rle.csv", "ImageId, EncodedPixels", "a, 2050 3 1021 3 5 1", "b,-1", "b,-1", "c,-1", "d,0 1"
    )
    reading = read_siim(tmp_path)
    assert [box.corners for box in reading.records[0].boxes] == [(2, 2, 4, 5), (3, 10, 4, 11)]
    assert reading.dropped == {"which repeat another in every cell": 1}
    write_csv(table, "ImageId, EncodedPixels", "a,1 2 3", "b,1 x", "c,1 0", "d,1048570 9", "e,-1", "e,1 2", "f,")
    found = faults_when(read_siim, table)
    assert [fault.split("found ")[1].split(";")[0] for fault in found] == [
        *("3 numbers", "something that is no whole number", "a gap below 0, or a run without length"),
        *("1048579 pixels", "a mask, unlike in train-rle.csv line 6", "0 numbers"),
    ]


def test_openis_faults(tmp_path):
    report = '<e><uId id="CXR{}"/><MeSH><major>{}</major></MeSH><parentImage id="{}"/></e>'
    texts = [report.format(1, "Pleural Effusion/right", "CXR1_a"), report.format(2, "normal", "CXR1_a"), "<e>", "<e/>"]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.xml").write_text(text)
    assert [fault.split(":")[0] for fault in faults_when(read_openi, tmp_path)] == [
        *("1.xml, parentImage", "2.xml, XML", "3.xml, uId")
    ]
    for number in (1, 2, 3):
        (tmp_path / f"{number}.xml").unlink()
    (record,) = read_openi(tmp_path).records
    assert (record.labels["Effusion"], record.labels["Mass"], record.image) == (1, 0, "CXR1_a.dcm")
    with pytest.raises(FileNotFoundError, match="found no such file"):
        read_openi(tmp_path / "x.tgz")
    assert "found no XML file" in faults_when(read_openi, write_pictures(tmp_path / "b", ["a.png"]))[0]


def test_chestxdet10(tmp_path):
    good = {"file_name": "1.png", "syms": ["Mass"], "boxes": [[1, 2, 300, 400]]}
    (tmp_path / "train.json").write_text(json.dumps([good]))
    (tmp_path / "test.json").write_text(json.dumps([{"file_name": "2.png", "syms": [], "boxes": []}]))
    train, test = read_chestxdet10(tmp_path).records
    assert (train.labels["Mass"], test.labels["Mass"], test.split) == (1, 0, "test")
    assert train.boxes[0].frame == (1024, 1024)
    bad = [good, good, {"file_name": ""}, good | {"file_name": "3", "syms": ["Mas"]}]
    bad += [good | {"file_name": "4", "boxes": [[1, 2, 1, 4]]}, good | {"file_name": "5", "boxes": []}]
    (tmp_path / "train.json").write_text(json.dumps(bad))
    found = faults_when(read_chestxdet10, tmp_path / "train.json")
    assert len(found) == 5
    assert "(did you mean Mass?)" in found[2]


def test_coco_goes_out_and_comes_back(tmp_path):
    images = write_pictures(tmp_path / "images", ["a.png", "x/b.png", "c.png"])
    document = {
        "findings": ["Mass", "Edema"],
        "training": [
            {
                "image": "a.png",
                "patient_id": "p",
                "labels": {"Mass": 1, "Edema": 0},
                "boxes": [{"finding": "Mass", "box": [1, 2, 10.5, 20], "reader": "R1", "caption": "a mass"}],
                "boxed": ["Mass"],
                "readers": ["R1", "R2"],
            },
            {"image": "x/b.png", "patient_id": "q", "labels": {"Mass": 1}},
        ],
        "test": [{"image": "c.png", "patient_id": "r"}],
    }
    (tmp_path / "d.json").write_text(json.dumps(document))
    coco = export_coco(tmp_path / "d.json", tmp_path / "coco.json", images=images)
    written = json.loads(coco.read_text())
    assert written["annotations"][0]["bbox"] == [1, 2, 9.5, 18]
    assert [image["width"] for image in written["images"]] == [64, 64, 64]
    back = json.loads(prepare(read_coco(coco), images, tmp_path / "back.json", Options()).read_text())
    assert {key: back[key] for key in document} == document
    with pytest.raises(ValueError, match="found the sections training, test; wanted fold_0"):
        export_coco(tmp_path / "d.json", coco, "fold_0", images)


def test_cocos_faults(tmp_path):
    path = tmp_path / "coco.json"
    images = [{"id": 1, "file_name": "a.png", "width": 10, "height": 10}, {"id": 2, "file_name": "b.png"}]
    boxes = [
        (1, 1, [1, 2, 3, 4]),
        (1, 1, [1, 2, 3, 4]),
        (1, 1, [1, 2, 0, 4]),
        (3, 1, [1, 2, 3, 4]),
        (1, 9, [1, 2, 3, 4]),
    ]
    annotations = [{"image_id": image, "category_id": category, "bbox": box} for image, category, box in boxes]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Mass"}]}
    path.write_text(json.dumps(document))
    assert [fault.split(":")[0] for fault in faults_when(read_coco, path)] == [
        "coco.json annotations[2], bbox",
        "coco.json annotations[3], image_id",
        "coco.json annotations[4], category_id",
        "coco.json images[0], patient_id",
        "coco.json images[1], patient_id",
    ]
    path.write_text(json.dumps(document | {"annotations": annotations[:2]}))
    reading = read_coco(path, one_image_a_patient=True, exhaustive=True)
    assert [record.labels for record in reading.records] == [{"Mass": 1}, {"Mass": 0}]
    assert (reading.records[0].boxes[0].frame, reading.dropped) == ((10, 10), {"which repeat another box": 1})
    path.write_text("{")
    assert "coco.json, JSON" in faults_when(read_coco, path)[0]
    path.write_text("[]")
    assert len(faults_when(read_coco, path)) == 3
