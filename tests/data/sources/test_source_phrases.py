"""Sources whose boxes have words: what is made of exactly shaped tables, what the command writes, what is refused."""

import json

import pytest

from bundle.data.datalist import check_datalist
from bundle.data.sources.ms_cxr import FINDINGS, read_ms_cxr
from bundle.data.sources.padchest_gr import read_padchest_gr
from bundle.data.sources.record import WHOLE
from scripts.prepare_datalist import commands
from tests.data.sources.source_files import faults_when, write_csv, write_pictures

MS_CXR = "MS_CXR_Local_Alignment_v1.1.0"
HEADER = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split"
FIRST = "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg"
SECOND = "files/p11/p11000033/s50414268/174413ec-4ec4c1f7.jpg"
ROWS = (
    f"02aa804e-bde0afdd,Pleural Effusion,Small bilateral effusions,{FIRST},10,300,100,60,640,480,train",
    f"02aa804e-bde0afdd,Pleural Effusion,Small bilateral effusions,{FIRST},400,300,100,60,640,480,train",
    f'02aa804e-bde0afdd,Atelectasis,"bases, left more than right",{FIRST},400,300,90,70,640,480,train',
    f"174413ec-4ec4c1f7,Pneumothorax,right apical pneumothorax,{SECOND},50,20,100,80,640,480,val",
)


def write_ms_cxr_json(folder, annotations, images=None):
    images = images or [
        {"id": number, "file_name": path.rsplit("/", 1)[1], "path": path, "width": 640, "height": 480}
        for number, path in enumerate((FIRST, SECOND))
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(FINDINGS, 1)]
    path = folder / f"{MS_CXR}.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def annotation(image, category, text, box, split="train"):
    number = FINDINGS.index(category) + 1
    return {"image_id": image, "category_id": number, "label_text": text, "bbox": box, "split": split}


def test_ms_cxr(tmp_path):
    write_csv(tmp_path / f"{MS_CXR}.csv", HEADER, *ROWS, ROWS[0])
    reading = read_ms_cxr(tmp_path)
    first, second = reading.records
    assert (first.image, first.patient) == ("p10/p10000032/s50414267/02aa804e-bde0afdd.jpg", "10000032")
    assert first.labels == {"Pleural Effusion": 1, "Atelectasis": 1}  # the other six are unknown
    assert first.boxed == {"Pleural Effusion", "Atelectasis"}
    assert [(box.corners, box.frame, box.caption) for box in first.boxes] == [
        ((10, 300, 110, 360), (640, 480), "Small bilateral effusions"),
        ((400, 300, 500, 360), (640, 480), "Small bilateral effusions"),
        ((400, 300, 490, 370), (640, 480), "bases, left more than right"),
    ]
    assert (first.split, second.split, second.labels) == ("training", "validation", {"Pneumothorax": 1})
    assert reading.dropped == {"which repeat another in every cell": 1}
    assert reading.notes == ["3 phrases; what no phrase of an image names is unknown"]


def test_ms_cxrs_json_says_the_same(tmp_path):
    table = read_ms_cxr(write_csv(tmp_path / "t.csv", HEADER, *ROWS))
    boxes = [
        annotation(0, "Pleural Effusion", "Small bilateral effusions", [10, 300, 100, 60]),
        annotation(0, "Pleural Effusion", "Small bilateral effusions", [400, 300, 100, 60]),
        annotation(0, "Atelectasis", "bases, left more than right", [400, 300, 90, 70]),
        annotation(1, "Pneumothorax", "right apical pneumothorax", [50, 20, 100, 80], "val"),
    ]
    document = read_ms_cxr(write_ms_cxr_json(tmp_path, boxes))
    for one, other in zip(table.records, document.records, strict=True):
        assert [box.corners for box in one.boxes] == [box.corners for box in other.boxes]
        assert [box.caption for box in one.boxes] == [box.caption for box in other.boxes]
        assert (one.image, one.labels, one.split) == (other.image, other.labels, other.split)


def test_ms_cxrs_command(tmp_path):
    tables = write_csv(tmp_path / "t.csv", HEADER, *ROWS)
    report = tmp_path / "files" / "p10" / "p10000032" / "s50414267.txt"
    report.parent.mkdir(parents=True)
    report.write_text(" FINDINGS: Small bilateral effusions.\n")
    images = write_pictures(tmp_path / "images", [FIRST, SECOND], (320, 240))
    command = commands()["ms-cxr"]
    output = command(images=images, output=tmp_path / "d.json", tables=tables, reports=tmp_path)
    assert not check_datalist(output, base_dir=images)
    document = json.loads(output.read_text())
    assert document["training"] == [
        {
            "image": FIRST,
            "patient_id": "10000032",
            "report": "Findings: Small bilateral effusions.",
            "labels": {"Atelectasis": 1, "Pleural Effusion": 1},
            "boxes": [
                {"finding": "Pleural Effusion", "box": [5, 150, 55, 180], "caption": "Small bilateral effusions"},
                {"finding": "Pleural Effusion", "box": [200, 150, 250, 180], "caption": "Small bilateral effusions"},
                {"finding": "Atelectasis", "box": [200, 150, 245, 185], "caption": "bases, left more than right"},
            ],
            "boxed": ["Atelectasis", "Pleural Effusion"],
            "site": "MIMIC",
        }
    ]
    assert [len(document[section]) for section in ("validation", "test")] == [1, 0]
    outside = ROWS[3].replace(",50,20,", ",650,20,")
    write_csv(tables, HEADER, outside)
    (found,) = faults_when(command, images=images, output=tmp_path / "d.json", tables=tables)
    assert found.startswith("t.csv line 2, box of Pneumothorax: found [325, 10, 375, 50], outside the image of 320 x")


def test_ms_cxrs_faults(tmp_path):
    row = ROWS[3]
    table = write_csv(
        tmp_path / "t.csv",
        HEADER,
        row.replace("Pneumothorax", "Pneumothoraces"),
        row.replace("right apical pneumothorax", ""),
        row.replace(",100,80,", ",0,80,"),
        row.replace(",100,80,", ",100,-80,"),
        row.replace(",50,20,100,80,", ",,,,,"),
        row.replace(",50,20,", ",x,20,"),
        row.replace(",640,480,", ",0,480,"),
        row.replace("files/p11/", "p11000033.jpg/"),
        row.replace("174413ec-4ec4c1f7,", "02aa804e-bde0afdd,"),
        row.removesuffix("val") + "valid",
        row.removesuffix("val") + "test",
        row + ",more",
    )
    assert [fault.split(":")[0].removeprefix("t.csv line ") for fault in faults_when(read_ms_cxr, table)] == [
        *("2, category_name", "3, label_text", "4, w, h", "5, w, h", "6, x, y, w, h", "7, x"),
        *("8, image_width, image_height", "9, path, dicom_id", "10, path, dicom_id", "11, split", "12, split"),
        "13, row",
    ]
    write_csv(table, HEADER.replace("label_text", "phrase").replace(",w,", ",width,"), row)
    assert [fault.split("wanted ")[1][:19] for fault in faults_when(read_ms_cxr, table)] == [
        *("a column label_text", "a column w; name th")
    ]
    with pytest.raises(FileNotFoundError, match=r"wanted MS_CXR_Local_Alignment_v1\.1\.0\.csv or "):
        read_ms_cxr(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"found no p10 \.\. p19"):
        read_ms_cxr(table, reports=tmp_path)


def test_columns_may_be_spelt_otherwise_and_1_0_0_has_no_sections(tmp_path):
    header = HEADER.removesuffix(",split").replace("dicom_id", "DICOM ID").replace("label_text", "Label_Text")
    table = write_csv(tmp_path / "t.csv", header, ROWS[0].removesuffix(",train"))
    (record,) = read_ms_cxr(table).records
    assert (record.boxes[0].caption, record.split) == ("Small bilateral effusions", "")


def test_ms_cxrs_json_faults(tmp_path):
    good = annotation(0, "Edema", "edema", [1, 2, 30, 40])
    wrong = [good | {"image_id": 7}, good | {"category_id": [1]}, good | {"bbox": [1, 2, 3]}, good | {"bbox": [1] * 5}]
    wrong += [good | {"bbox": [1, 2, True, 4]}, good | {"label_text": None}, good | {"split": ""}]
    path = write_ms_cxr_json(tmp_path, [good, *wrong])
    assert [fault.split(":")[0].split("annotations")[1] for fault in faults_when(read_ms_cxr, path)] == [
        *("[1], image_id", "[2], category_name", "[3], bbox", "[4], bbox", "[5], w", "[6], label_text", "[7], split"),
    ]
    write_ms_cxr_json(tmp_path, [good], [{"id": 0, "file_name": FIRST.rsplit("/", 1)[1]}])
    assert "path, dicom_id" in faults_when(read_ms_cxr, path)[0]
    path.write_text("{")
    assert ".json, JSON: found" in faults_when(read_ms_cxr, path)[0]
    path.write_text("[]")
    assert len(faults_when(read_ms_cxr, path)) == 3


IMAGES = ("216840111366964012558082906712009300162151055_00-078-079.png", "1_b.png", "2_c.png")
STUDIES = [
    {
        "StudyID": "1",
        "ImageID": IMAGES[0],
        "PreviousStudyID": None,
        "PreviousImageID": None,
        "findings": [
            {
                "sentence_en": "Minimal biapical  pleural thickening.",
                "sentence_es": "Mínimo engrosamiento pleural biapical.",
                "abnormal": True,
                "boxes": [[0.25, 0.1, 0.5, 0.2], [0.6, 0.1, 1.02, 0.2]],
                "extra_boxes": [[0.2, 0.1, 0.5, 0.2]],
                "labels": ["apical pleural thickening", "pleural thickening"],
                "locations": ["pleural"],
                "progression": None,
            },
            {"sentence_en": "No pleural effusion.", "sentence_es": "Sin derrame pleural.", "abnormal": False},
            {
                "sentence_en": "Pleural thickening.",
                "sentence_es": "Engrosamiento pleural.",
                "abnormal": True,
                "boxes": [],
                "extra_boxes": [],
                "labels": ["pleural thickening"],
                "locations": [],
                "progression": "stable",
            },
        ],
    },
    {
        "StudyID": "2",
        "ImageID": IMAGES[1],
        "PreviousStudyID": "0",
        "PreviousImageID": "0_a.png",
        "findings": [{"sentence_en": "Normal chest.", "sentence_es": "Tórax normal.", "abnormal": False, "labels": []}],
    },
]
MASTER = (
    "StudyID,ImageID,label,boxes_count,split,PatientID,PatientSex_DICOM,PatientAge,label_group",
    f"1,{IMAGES[0]},apical pleural thickening,2,train,p1,F,67,Pleural thickening",
    f"1,{IMAGES[0]},pleural thickening,2,train,p1,F,67,Pleural thickening",
    f"2,{IMAGES[1]},Normal,,test,p2,M,,Normal",
)


def write_padchest(folder, studies=STUDIES, rows=MASTER):
    folder.mkdir(exist_ok=True)
    text = studies if isinstance(studies, str) else json.dumps(studies, ensure_ascii=False)
    (folder / "grounded_reports_20240819.json").write_text(text, encoding="utf-8")
    write_csv(folder / "master_table.csv", *rows)
    return folder


def test_padchest_gr(tmp_path):
    reading = read_padchest_gr(write_padchest(tmp_path))
    first, second = reading.records
    assert reading.findings == ("apical pleural thickening", "pleural thickening")
    assert first.labels == {"apical pleural thickening": 1, "pleural thickening": 1}
    assert first.boxed == {"apical pleural thickening"}  # the other has a sentence without boxes
    assert [(box.finding, box.corners, box.frame, box.caption) for box in first.boxes] == [
        (finding, corners, WHOLE, "Minimal biapical pleural thickening.")
        for finding in reading.findings
        for corners in ((0.25, 0.1, 0.5, 0.2), (0.6, 0.1, 1.02, 0.2))
    ]
    assert first.report == "Minimal biapical pleural thickening. No pleural effusion. Pleural thickening."
    assert (first.patient, first.sex, first.age, first.split) == ("p1", "F", 67, "training")
    assert (second.labels, second.report, second.split) == ({}, "Normal chest.", "test")
    assert reading.notes == ["1 extra boxes, taken for a second reader's, are left out"]
    assert read_padchest_gr(tmp_path, unnamed="absent").records[1].labels == dict.fromkeys(reading.findings, 0)
    assert read_padchest_gr(tmp_path, language="es").records[1].report == "Tórax normal."
    with pytest.raises(ValueError, match="Found language 'fr'; wanted en or es"):
        read_padchest_gr(tmp_path, language="fr")


def test_padchest_grs_command(tmp_path):
    tables = write_padchest(tmp_path / "tables")
    images = write_pictures(tmp_path / "images", [f"PadChest_GR/{name}" for name in IMAGES[:2]], (200, 100))
    command = commands()["padchest-gr"]
    output = command(images=images, output=tmp_path / "d.json", tables=tables, groups=True, unnamed="absent")
    assert not check_datalist(output, base_dir=images)
    document = json.loads(output.read_text())
    assert document["findings"] == ["Pleural thickening"]
    caption = "Minimal biapical pleural thickening."
    boxes = [{"finding": "Pleural thickening", "box": box, "caption": caption} for box in ([50, 10, 100, 20],)]
    boxes.append({"finding": "Pleural thickening", "box": [120, 10, 200, 20], "caption": caption})
    assert document["training"] == [
        {
            "image": f"PadChest_GR/{IMAGES[0]}",
            "patient_id": "p1",
            "report": f"{caption} No pleural effusion. Pleural thickening.",
            "labels": {"Pleural thickening": 1},
            "boxes": boxes,
            "sex": "F",
            "age": 67,
            "site": "PadChest",
        }
    ]
    assert document["test"][0]["labels"] == {"Pleural thickening": 0}


def test_padchest_grs_faults(tmp_path):
    good = STUDIES[0]["findings"][0]
    wrong = [
        *(good | {"abnormal": "yes"}, good | {"sentence_en": 3}, good | {"labels": "Normal"}, good | {"labels": [""]}),
        *(good | {"boxes": [[0.1, 0.2, 0.1, 0.4]]}, good | {"boxes": [[0.4, 0.2, 0.3, 0.4], [0, 0, 512, 400]]}),
        *(good | {"boxes": [[0.1, 0.2, 0.3]]}, good | {"boxes": [[-0.5, 0.2, 0.3, 0.4]]}, "a sentence"),
    ]
    studies = [STUDIES[0] | {"findings": wrong}, STUDIES[1], STUDIES[1], STUDIES[1] | {"ImageID": IMAGES[2]}]
    studies += [{"StudyID": "9"}, "study"]
    found = faults_when(read_padchest_gr, write_padchest(tmp_path, studies))
    assert [fault.split(":")[0].removeprefix("grounded_reports_20240819.json") for fault in found] == [
        "[0] findings[0], abnormal",
        *(f"[0] findings[{number}], sentence_en, labels, boxes, extra_boxes" for number in (1, 2)),
        *("[0] findings[3], labels", "[0] findings[4], boxes[0]"),
        *("[0] findings[5], boxes[0]", "[0] findings[5], boxes[1]"),
        *("[0] findings[6], boxes[0]", "[0] findings[7], boxes[0]", "[0] findings[8], abnormal"),
        *("[2], ImageID", "[3], ImageID", "[4], ImageID, findings", "[5], ImageID, findings"),
    ]
    assert not any("pleural" in fault or IMAGES[0] in fault for fault in found)  # no words of a report, no identifiers
    for text in ("{", '{"findings": []}'):
        assert ".json, JSON: found" in faults_when(read_padchest_gr, write_padchest(tmp_path, text))[0]


def test_padchest_grs_tables_faults(tmp_path):
    rows = [
        MASTER[1].replace(",train,", ",dev set,"),
        MASTER[1].replace(",p1,", ",p2,"),
        MASTER[1].replace(",p1,", ",,"),
        MASTER[3].replace(",M,,", ",M,old,"),
    ]
    found = faults_when(read_padchest_gr, write_padchest(tmp_path, rows=(*MASTER[:2], *rows)))
    assert [fault.split(":")[0].removeprefix("master_table.csv line ") for fault in found] == [
        *("3, split", "3, PatientID, split", "4, PatientID, split"),
        *("5, ImageID, PatientID", "5, PatientID, split", "6, PatientAge"),
    ]
    header = MASTER[0].replace("PatientID", "Patient").replace("split", "section")
    assert len(faults_when(read_padchest_gr, write_padchest(tmp_path, rows=(header, *MASTER[1:])))) == 2
    (tmp_path / "master_table.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"wanted master_table\.csv"):
        read_padchest_gr(tmp_path)
