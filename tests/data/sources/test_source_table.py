"""A folder of images and a table whose columns are described by their names."""

import json

import pytest

from bundle.data.datalist import check_datalist, load_datalist
from bundle.data.sources.command import source_command
from bundle.data.sources.faults import SourceError
from bundle.data.sources.table import read_table
from tests.data.sources.source_files import faults_when, write_csv, write_pictures

HEADER = "image_id,patient_id,finding,x,y,width,height,report"
prepare_table = source_command(read_table)


def test_boxes_reports_and_patients_with_guessed_columns(tmp_path, caplog):
    caplog.set_level("INFO", "bundle")
    images = write_pictures(tmp_path / "images", [f"a/{n}.png" for n in range(8)])
    table = write_csv(
        tmp_path / "t.csv",
        HEADER,
        '0,p0,Mass,1,2,10,20,"A mass, large."',
        "0,p0,Effusion,40,30,50,10,",
        "0,p0,Mass,30,2,5,5,",
        *(f"{n},p{n // 2},No finding,,,,,Clear." for n in range(1, 8)),
    )
    path = prepare_table(images=images, table=table, output=tmp_path / "lists" / "d.json", validation=0.3, test=0.3)
    check_datalist(path, base_dir=images)
    document = json.loads(path.read_text())
    entries = {e["image"]: e for section in ("training", "validation", "test") for e in document[section]}
    assert document["findings"] == ["Mass", "Effusion"]
    assert entries["a/0.png"] == {
        "image": "a/0.png",
        "patient_id": "p0",
        "report": "A mass, large.",
        "labels": {"Mass": 1, "Effusion": 1},
        "boxes": [
            {"finding": "Mass", "box": [1, 2, 11, 22]},
            {"finding": "Effusion", "box": [40, 30, 64, 40]},  # clipped
            {"finding": "Mass", "box": [30, 2, 35, 7]},
        ],
        "boxed": ["Effusion", "Mass"],
    }
    assert entries["a/1.png"]["labels"] == {"Mass": 0, "Effusion": 0}
    assert document["source"]["clipped_boxes"] == 1
    assert "image = image_id, patient = patient_id, finding = finding, x = x" in caplog.text
    assert "width = width" in caplog.text
    assert "validation has no image: too few patients" in caplog.text


@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8-sig", ","), ("latin-1", ";"), ("utf-16", "\t"), ("utf-8", "|")]
)
def test_encodings_and_separators(tmp_path, encoding, separator):
    lines = ["Datei,Patient,Befund,links,oben,rechts,unten,Text", "a.png,Müller-7,Erguss,1.5,2,10,20,Ein Erguß."]
    table = write_csv(tmp_path / "t.csv", *(line.replace(",", separator) for line in lines), encoding=encoding)
    reading = read_table(
        table, image_column="Datei", finding_column="befund", x="links", y="oben", x2="rechts", y2="unten",
        report_column="text",
    )  # fmt: skip
    (record,) = reading.records
    assert (record.patient, record.report) == ("Müller-7", "Ein Erguß.")
    assert record.boxes[0].corners == (1.5, 2, 10, 20)
    notes = " ".join(reading.notes)
    assert ("Latin-1" in notes, "UTF-16" in notes) == (encoding == "latin-1", encoding == "utf-16")


def test_decimal_commas_where_semicolons_separate(tmp_path):
    table = write_csv(tmp_path / "t.csv", "image;patient;finding;x;y;w;h", "a;p;Mass;1,5;2;3;4,25")
    assert read_table(table).records[0].boxes[0].corners == (1.5, 2, 4.5, 6.25)


def test_label_columns_of_a_second_table(tmp_path):
    labels = write_csv(
        tmp_path / "labels.csv",
        "Path,subject_id,Age,Sex,Split,Effusion,Mass,Score",
        "a.png,1,058Y,Female,train,1.0,0,7",
        "b.png,2,,M,valid,-1.0,,7",
        "c.png,3,61,U,test,0.0,,8",
    )
    boxes = write_csv(tmp_path / "boxes.csv", "Path,finding,xmin,ymin,xmax,ymax", "a.png,Effusion,1,1,9,9")
    reading = read_table([labels, boxes])
    a, b, c = reading.records
    assert reading.findings == ("Effusion", "Mass")  # Score is no label
    assert (a.labels, b.labels, c.labels) == ({"Effusion": 1, "Mass": 0}, {}, {"Effusion": 0})
    assert (a.boxed, a.age, a.sex, a.split, b.age, b.split) == ({"Effusion"}, 58, "F", "training", None, "validation")
    absent = read_table(f"{labels}, {boxes}", unnamed="absent").records
    assert [record.labels for record in absent] == [
        {"Effusion": 1, "Mass": 0},
        {"Mass": 0},  # uncertain stays unknown
        {"Effusion": 0, "Mass": 0},
    ]


def test_several_readers(tmp_path):
    table = write_csv(
        tmp_path / "t.csv",
        "image,patient,finding,reader,x,y,w,h",
        "a,p,Mass,R1,1,1,5,5",
        "a,p,Mass,R2,1,1,5,6",
        "a,p,No finding,R3,,,,",
    )
    (record,) = read_table(table, unnamed="absent").records
    assert (record.labels, record.readers) == ({"Mass": 1}, ("R1", "R2", "R3"))
    assert [box.reader for box in record.boxes] == ["R1", "R2"]
    assert read_table(table).records[0].readers == ()


def test_every_fault_of_a_table_at_once(tmp_path):
    table = write_csv(
        tmp_path / "t.csv",
        "image,patient,finding,x,y,width,height,age,Edema",
        "a,p,Mass,1,2,0,4,,",
        "a,p,Mass,1,2,3,-4,,",
        "a,p,Mass,1,two,3,4,,",
        "b,p,Mass,1,2,,4,,",
        "c,,Mass,1,2,3,4,,",
        "d,p,,1,2,3,4,,",
        "e,p,Mass,1,2,3",
        "f,p,Mass,1,2,3,4,old,0",
        "f,p,Mass,1,2,3,5,old,1",
        "g,p,3,,,,,,",
        ",p,Mass,,,,,,",
        "h,p,Mass,1,2,3,4,,",
        "h,q,Mass,2,2,3,4,,",
        "i,p,No finding,,,,,,",
        "i,p,Mass,,,,,,",
    )
    assert faults_when(read_table, table) == [
        "t.csv line 8, row: found 6 fields; wanted 9, as in the header; texts that hold the separator stand in quotes",
        "t.csv line 2, width, height: found 0 x 4; wanted a width and a height above 0",
        "t.csv line 3, width, height: found 3 x -4; wanted a width and a height above 0",
        "t.csv line 4, y: found 'two'; wanted a number of pixels; all four of a box, or none without a box",
        "t.csv line 5, width: found nothing; wanted a number of pixels; all four of a box, or none without a box",
        "t.csv line 7, finding: found 'nothing' and a box; wanted the finding's name, or no box",
        "t.csv line 10, Edema: found the label 1, and 0 in t.csv line 9; wanted one label of a finding and image",
        "t.csv line 11, finding: found 3, a number; wanted its name; where a column holds names, say "
        "--finding_column NAME",
        "t.csv line 12, image: found nothing; wanted the image's file name",
        "t.csv line 14, patient: found another value than in t.csv line 13; wanted one for all rows of an image",
        "t.csv line 9, age: found 'old'; wanted years, or a DICOM age such as 058Y",
        "t.csv line 15, finding: found nothing found, though another row of i says Mass; wanted one of the two",
        "t.csv line 6, patient: found none for 1 of 8 images; wanted a pseudonym for each, so that nobody is in "
        "training and test: --patient_column NAME, or, where each image is of another patient, --one_image_a_patient",
    ]


def test_a_label_that_is_none(tmp_path):
    table = write_csv(tmp_path / "t.csv", "image,patient,Mass", "a,p,1", "b,q,2", "c,r,-1.0", "d,s,")
    assert faults_when(read_table, table, label_columns="Mass") == [
        "t.csv line 3, Mass: found '2'; wanted 1, 0, -1 (uncertain) or nothing"
    ]


def test_headers_that_cannot_be_meant(tmp_path):
    table = write_csv(tmp_path / "t.csv", "picture,patient,finding,x,y", "a,p,Mass,1,2")
    found = faults_when(read_table, table, reader_column="radiologist_id")
    assert len(found) == 3
    assert "--reader_column radiologist_id: found 'picture, patient, finding, x, y'; wanted one of these" in found[0]
    assert "--image_column NAME" in found[1]
    assert "also --x2 and --y2, or --width and --height" in found[2]
    write_csv(table, "image,Image ,patient", "a,b,c")
    assert "'image' and 'Image'; wanted each column once" in faults_when(read_table, table)[0]
    table.write_bytes(b"PK\x03\x04 a workbook")
    assert "save the sheet as CSV" in faults_when(read_table, table)[0]


def test_without_findings_or_with_a_word_that_cannot_be_meant(tmp_path):
    table = write_csv(tmp_path / "t.csv", "image,patient", "a,p")
    assert "--finding_column NAME, --label_columns NAMES" in faults_when(read_table, table)[0]
    with pytest.raises(ValueError, match="Found unnamed 'no'; wanted unknown or absent"):
        read_table(table, unnamed="no")
    with pytest.raises(FileNotFoundError, match="found no such file"):
        read_table(tmp_path / "other.csv")


def test_rows_that_repeat_are_dropped_and_counted(tmp_path):
    table = write_csv(tmp_path / "t.csv", HEADER, *["0,p,Mass,1,2,3,4,"] * 3)
    reading = read_table(table)
    assert len(reading.records[0].boxes) == 1
    assert reading.dropped == {"which repeat another in every cell": 2}


def test_findings_are_renamed_merged_and_chosen(tmp_path):
    images = write_pictures(tmp_path / "images", ["0.png", "1.png", "2.png"])
    table = write_csv(
        tmp_path / "t.csv",
        "image,patient,Nodule,Lump,Edema",
        "0,p,0,1,1",
        "1,q,0,,1",
        "2,r,0,0,0",
    )
    rename = {"Nodule": "Mass", "Lump": "Mass"}
    path = prepare_table(
        images=images, table=table, output=tmp_path / "d.json", rename=rename, findings="Mass", validation=0, test=0
    )
    entries = load_datalist(path, base_dir=images)["training"]
    assert [entry["labels"] for entry in entries] == [{"Mass": 1}, {}, {"Mass": 0}]
    with pytest.raises(SourceError, match=r"--findings, Masses: .* \(did you mean Mass\?\)"):
        prepare_table(images=images, table=table, output=tmp_path / "d.json", rename=rename, findings="Masses")
