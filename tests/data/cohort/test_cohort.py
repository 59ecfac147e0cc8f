"""A cohort out of a real archive: nobody's name in any byte of it, the pixels as they were."""

import csv
import logging

import numpy as np
import pydicom
import pytest
import requests
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless

from bundle.data.cohort.archive import open_archive
from bundle.data.cohort.deidentify import NotFitError, deidentified
from bundle.data.cohort.fetch import TABLE, fetch_cohort, rename_table
from bundle.data.cohort.pseudonyms import Pseudonyms
from bundle.data.sources.faults import SourceError
from bundle.reading.radiograph import read_radiograph
from tests.orthanc import running_orthanc
from tests.tiny import write_dicom

PLANTED = ["Planted", "PLANTED", "19610203", "20240506", "1.2.826.0.1.99"]
"""In names, numbers and texts; in dates; in UIDs."""
PIXELS = np.random.default_rng(0).integers(0, 4096, (150, 121))


def coded(value, meaning):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def planted(folder, number, patient="A", **tags):
    """A radiograph whose every corner names its patient."""
    uid = f"1.2.826.0.1.99.{number}"
    request = Dataset()
    request.PatientName, request.AccessionNumber = "Planted^Nested", "PLANTED-5"
    request.add_new(0x00190010, "LO", "PLANTED BLOCK")
    table = Dataset()
    table.LUTDescriptor, table.LUTExplanation = [4096, 0, 16], "Planted explanation"
    table.LUTData = (np.arange(4096) * 16).astype("<u2").tobytes()
    usual = {
        "PatientName": "Planted^Name",
        "PatientID": f"PLANTED-{patient}",
        "PatientBirthDate": "19610203",
        "PatientSex": "F",
        "PatientAge": "063Y",
        "StudyDate": "20240506",
        "ContentDate": "20240506",
        "AccessionNumber": "PLANTED-1",
        "InstitutionName": "Planted Hospital",
        "OperatorsName": "Planted^Operator",
        "ImageComments": "Planted words",
        "StudyInstanceUID": f"{uid}.1",
        "SeriesInstanceUID": f"{uid}.2",
        "FrameOfReferenceUID": f"{uid}.3",
        "RequestAttributesSequence": Sequence([request]),
        "AnatomicRegionSequence": Sequence([coded("51185008", "Planted chest")]),
        "VOILUTSequence": Sequence([table]),
        "ViewPosition": "PA",
        "BodyPartExamined": "CHEST",
        "SeriesDescription": "Planted series",
    }
    path = write_dicom(folder / f"{number}.dcm", PIXELS, **{**usual, **tags})
    data = pydicom.dcmread(path)
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid
    block = data.private_block(0x0019, "PLANTED MAKER", create=True)
    block.add_new(1, "LO", "Planted private")
    data.add_new(0x60000022, "LO", "Planted overlay")
    data.add_new(0x60003000, "OW", b"Planted in bits ")
    words = np.frombuffer(data.PixelData, "<u2").copy()
    words[:600] |= 1 << 12  # a picture of a name above the twelve bits
    data.PixelData = words.tobytes()
    data.preamble = b"Planted preamble".ljust(128, b"\0")
    data.save_as(path)
    return path


def bytes_of(folder):
    return b"".join(file.read_bytes() + file.name.encode() for file in sorted(folder.rglob("*")) if file.is_file())


def nobody_in(content):
    return [word for word in PLANTED if word.encode() in content or word.encode("utf-16-le") in content]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    """An archive of five images: two of one patient, one of another, one with burned-in text, one CT."""
    folder = tmp_path_factory.mktemp("archive")
    with running_orthanc(folder / "orthanc") as server:
        ct = {"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}
        for path in (
            planted(folder, 1),
            planted(folder, 2),
            planted(folder, 3, "B", Modality="CR", SOPClassUID="1.2.840.10008.5.1.4.1.1.1"),
            planted(folder, 4, "B", BurnedInAnnotation="YES"),
            planted(folder, 5, "B", **ct),
        ):
            requests.post(server.url("instances"), data=path.read_bytes(), timeout=30).raise_for_status()
        server.folder = folder
        yield server


@pytest.mark.parametrize("way", ["dicomweb", "dimse"])
def test_a_cohort_names_nobody_and_goes_on_where_it_was(orthanc, way, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    address = orthanc.url("dicom-web") if way == "dicomweb" else f"ORTHANC@127.0.0.1:{orthanc.dicom}"
    cohort, key = tmp_path / "cohort", tmp_path / "key"
    table = fetch_cohort(open_archive(address), {}, cohort, key)
    assert "Left out: 1 images: Burned In Annotation is YES" in caplog.text
    assert "3 images do not say whether text is burned into their pixels" in caplog.text
    assert not nobody_in(bytes_of(cohort) + caplog.text.encode())
    rows = list(csv.DictReader(table.read_text().splitlines()))
    patients = sorted(row["patient_id"] for row in rows)
    assert len(rows) == 3
    assert len(set(patients)) == 2
    assert {(row["view"], row["sex"], row["age"]) for row in rows} == {("PA", "", "")}
    names = Pseudonyms(key)
    for number, patient in ((1, "A"), (2, "A"), (3, "B")):
        path = cohort / f"{names.uid(f'1.2.826.0.1.99.{number}')}.dcm"
        header = pydicom.dcmread(path)
        assert header.PatientID == names.patient(f"PLANTED-{patient}")
        assert header.PatientIdentityRemoved == "YES"
        assert not any(element.tag.is_private for element in header.iterall())
        np.testing.assert_array_equal(header.pixel_array, PIXELS)
        seen, mine = (read_radiograph(each)[0] for each in (orthanc.folder / f"{number}.dcm", path))
        np.testing.assert_array_equal(seen, mine)
    before = {path: path.stat().st_mtime_ns for path in cohort.glob("*.dcm")}
    path.unlink()
    caplog.clear()
    fetch_cohort(open_archive(address), {}, cohort, key)
    assert "2 images were there." in caplog.text
    now = {path: path.stat().st_mtime_ns for path in cohort.glob("*.dcm")}
    assert now.keys() == before.keys()
    assert [each for each in before if before[each] != now[each]] == [path]
    some = fetch_cohort(open_archive(address), {"PatientID": "PLANTED-B"}, tmp_path / "some", key)
    assert [row["image"] for row in csv.DictReader(some.read_text().splitlines())] == [path.name]


def test_compressed_pixels_stay_and_sex_and_age_on_request(tmp_path):
    data = pydicom.dcmread(planted(tmp_path, 1))
    masked = np.frombuffer(data.PixelData, "<u2") & 4095
    data.PixelData = masked.tobytes()
    data.compress(JPEGLSLossless, generate_instance_uid=False)
    clean = deidentified(data, Pseudonyms(tmp_path / "key"), characteristics=True)
    clean.save_as(tmp_path / "clean.dcm", enforce_file_format=True)
    again = pydicom.dcmread(tmp_path / "clean.dcm")
    np.testing.assert_array_equal(again.pixel_array, PIXELS)
    assert (again.PatientSex, again.PatientAge) == ("F", "063Y")
    assert [code.CodeValue for code in again.DeidentificationMethodCodeSequence] == ["113100", "113108"]
    assert not nobody_in((tmp_path / "clean.dcm").read_bytes())


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "Burned In Annotation is YES"),
        ({"PatientID": ""}, "PatientID is empty or missing"),
        ({"BodyPartExamined": "Planted^Name"}, "BodyPartExamined holds what is no value of its kind"),
        ({"NumberOfFrames": "2"}, "not one grey image"),
    ],
)
def test_what_is_not_taken_and_why(tmp_path, tags, reason):
    data = pydicom.dcmread(planted(tmp_path, 1))
    with disable_value_validation():
        for name, value in tags.items():
            setattr(data, name, value)
    with pytest.raises(NotFitError, match=reason):
        deidentified(data, Pseudonyms(tmp_path / "key"))


def test_the_key_is_its_owners_and_lies_elsewhere(tmp_path):
    key = tmp_path / "key"
    one, other = Pseudonyms(key), Pseudonyms(tmp_path / "other")
    assert key.stat().st_mode & 0o777 == 0o600
    assert one.patient("X ") == Pseudonyms(key).patient("X") != other.patient("X")
    with pytest.raises(SourceError, match="it lies in the cohort"):
        fetch_cohort(open_archive("A@127.0.0.1:1"), {}, tmp_path, key)
    with pytest.raises(SourceError, match="no association"):
        fetch_cohort(open_archive("A@127.0.0.1:1"), {}, tmp_path / "c", key)
    with pytest.raises(SourceError, match="does not answer as it should"):
        fetch_cohort(open_archive("http://127.0.0.1:1/dicom-web"), {}, tmp_path / "c", key)
    with pytest.raises(SourceError, match="wanted http"):
        open_archive("127.0.0.1")
    key.chmod(0o644)
    with pytest.raises(SourceError, match="chmod 600"):
        Pseudonyms(key)


def test_a_table_of_labels_is_renamed_and_its_other_columns_go(tmp_path):
    table, key = tmp_path / "labels.csv", tmp_path / "key"
    table.write_text("SOP,PatientName,Mass\n1.2.826.0.1.99.1,Planted^Name,1\n")
    names = Pseudonyms(key)
    output = rename_table(table, tmp_path / "out.csv", key, "SOP", ["Mass"])
    assert output.read_text() == f"image,Mass\n{names.uid('1.2.826.0.1.99.1')}.dcm,1\n"
    with pytest.raises(SourceError, match="no column Nodule; it has SOP, PatientName, Mass"):
        rename_table(table, tmp_path / "out.csv", key, "SOP", ["Nodule"])


def test_the_table_is_made_a_datalist_by_its_columns(tmp_path):
    """What `prepare_datalist table` guesses of it."""
    from bundle.data.sources.table import read_table

    (tmp_path / TABLE).write_text("image,patient_id,view,sex,age\na.dcm,p,PA,F,063Y\n")
    (tmp_path / "labels.csv").write_text("image,Mass\na.dcm,1\n")
    (record,) = read_table([tmp_path / TABLE, tmp_path / "labels.csv"]).records
    assert (record.patient, record.view, record.sex, record.age, record.labels) == ("p", "PA", "F", 63, {"Mass": 1})
