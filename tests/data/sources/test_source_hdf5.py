"""CheXzero's HDF5 file and CSV: read in place, row by row; what does not fit together is refused."""

import h5py
import numpy as np
import pytest

from bundle.data.datalist import datalist_section, load_datalist, write_checked
from bundle.data.entries import Entries
from bundle.data.sources.chexzero import read_chexzero
from bundle.reading import ReadingOptions
from bundle.reading.radiograph import read_radiograph
from scripts.prepare_datalist import commands
from tests.data.sources.source_files import faults_when, write_csv

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 64, 60)).astype(np.float32)
PATHS = [f"files/p1{patient % 2}/p1000003{patient}/s5041426{patient}/{n}.jpg" for n, patient in enumerate((2, 2, 3, 4))]


@pytest.fixture
def h5(tmp_path):
    (tmp_path / "kept").mkdir()
    path = tmp_path / "kept" / "cxr.h5"
    with h5py.File(path, "w") as file:
        file["cxr"] = PICTURES
    return path


def test_training_images_and_impressions(h5, tmp_path):
    rows = [f"{path},No effusion number {n}." for n, path in enumerate(PATHS)]
    table = write_csv(tmp_path / "mimic_impressions.csv", "filename,impression", *rows)
    reading = read_chexzero(table, h5)
    assert [record.image for record in reading.records] == [f"cxr.h5/cxr/{n}" for n in range(4)]
    assert [record.patient for record in reading.records] == ["10000032", "10000032", "10000033", "10000034"]
    assert reading.records[3].report == "No effusion number 3."
    assert reading.findings == ()


def test_the_command_writes_a_datalist_that_reads_in_place(h5, tmp_path):
    rows = [f"CheXpert/patient6474{n}/study1,{n % 2},{1 - n % 2},-1" for n in range(4)]
    table = write_csv(tmp_path / "groundtruth.csv", "Study,Edema,Effusion,Mass", *rows)
    path = commands()["chexzero"](images=str(h5.parent), output=str(tmp_path / "d.json"), h5=str(h5), table=str(table))
    datalist = load_datalist(path, base_dir=h5.parent)
    entries = [entry for section in datalist.sections.values() for entry in section]
    assert sorted(entry["image"] for entry in entries) == [str(h5 / "cxr" / str(n)) for n in range(4)]
    assert {entry["stored_size"] for entry in entries} == {(64, 60)}
    for entry in entries:
        number = int(entry["image"].rsplit("/", 1)[1])
        assert entry["patient_id"] == f"6474{number}"
        assert entry["labels"] == {"Edema": number % 2, "Effusion": 1 - number % 2}
        image, _ = read_radiograph(entry["image"], ReadingOptions(value_range=(0, 255)))
        assert np.allclose(image[0], PICTURES[number] / 255)
    write_checked(path, base_dir=h5.parent)
    again = load_datalist(path, base_dir=h5.parent)
    assert [isinstance(part, Entries) for part in again.sections.values()] == [True] * 3
    assert [list(part) for part in again.sections.values()] == list(datalist.sections.values())
    with h5py.File(h5, "a") as file:
        file["more"] = [1]
    assert not isinstance(load_datalist(path, base_dir=h5.parent)["training"], Entries)  # the file has changed
    assert len(datalist_section(path, "training", base_dir=h5.parent))


def test_what_does_not_fit_together_is_refused(h5, tmp_path):
    header = "Path,Effusion"
    whole = write_csv(tmp_path / "whole.csv", header, *(f"{path},1" for path in PATHS))
    short = write_csv(tmp_path / "short.csv", header, f"{PATHS[0]},1")
    (fault,) = faults_when(read_chexzero, short, h5)
    assert "4 images, and short.csv has 1 rows" in fault
    (fault,) = faults_when(read_chexzero, whole, h5, array="xray")
    assert "there is cxr" in fault
    nobody = write_csv(tmp_path / "nobody.csv", header, *(f"{n}.jpg,1" for n in range(4)))
    (fault,) = faults_when(read_chexzero, nobody, h5)
    assert "none for 4 of 4 rows" in fault
    assert len(read_chexzero(nobody, h5, one_image_a_patient=True).records) == 4
    (fault,) = faults_when(read_chexzero, whole, h5, patient_column="pid")
    assert "--patient_column pid" in fault
    wrong = write_csv(tmp_path / "wrong.csv", header, *(f"{path},{n + 1}" for n, path in enumerate(PATHS)))
    assert len(faults_when(read_chexzero, wrong, h5, label_columns="Effusion")) == 3
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        read_chexzero(whole, tmp_path / "none.h5")
