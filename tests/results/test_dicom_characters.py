"""Whose text a result holds in which characters: the image's own bytes, right or wrong, and ours beside them."""

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from bundle.results.dicom import DicomOptions, DicomResults, dicom_results, save_dicom_results
from bundle.results.dicom.characters import spell
from bundle.results.dicom.finding_codes import finding_code
from bundle.results.dicom.source import PATIENT, STUDY
from tests.results.dicom_case import document, errors, maps, program, write_radiograph

FRENCH = ["Effusion", "Mass", "Pneumothorax", "Épanchement"]
RUSSIAN = ["Выпот", "Масса", "Пневмоторакс", "Узел ≤ 3"]
CP1251 = "Иванов^Пётр".encode("cp1251")

# What the image says: its Specific Character Set, and values in place of the tidy ones.
IMAGES: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "Cyrillic in no set": (b"ISO 2022 IR 6\\IS", {"PatientName": CP1251}),
    "Cyrillic in Latin": (b"ISO_IR 100", {"PatientName": CP1251, "StudyDescription": "Лёгкие".encode("cp1251")}),
    "Cyrillic": (b"ISO_IR 144", {"PatientName": "Иванов".encode("iso8859_5")}),
    "Latin": (b"ISO_IR 100", {"PatientName": "Müller^Jörg".encode("latin-1")}),
    "UTF-8, undeclared": (b"", {"PatientName": "Müller^Zoë".encode(), "StudyDescription": "Übersicht".encode()}),
    "Chinese, two sets": (b"GB18030\\ISO IR 192", {"PatientName": "Wang^XiaoDong=王^小东".encode("gb18030")}),
    "Chinese, a backslash in a letter": (b"GBK", {"StudyDescription": "乗 乗".encode("gbk")}),
    "Japanese": (b"\\ISO 2022 IR 87", {"PatientName": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"}),
    "no such set": (b"Not Supplied", {}),
    "long accession number": (b"", {"AccessionNumber": b"ACCESSION-OF-24-LETTERS!"}),
    "removed": (b"", {"StudyDate": b"REMOVED BY TOOL X", "StudyTime": b"REMOVED", "PatientBirthDate": b"X"}),
    "dates of before DICOM": (b"", {"StudyDate": b"2024.01.02", "StudyTime": b"03:04:05"}),
    "several values": (b"ISO_IR 100", {"AccessionNumber": b"A\\B", "PatientSex": b"unknown", "StudyID": b"\xff\xfe"}),
}


def write_image(path: Path, name: str) -> Path:
    """The image of `IMAGES`, in Explicit VR Little Endian, its values put in byte by byte."""
    characters, values = IMAGES[name]
    write_radiograph(path, SpecificCharacterSet="ISO_IR 100", StudyDescription="Chest", ReferringPhysicianName="Doctor")
    data = path.read_bytes()
    for keyword, value in {"SpecificCharacterSet": characters, **values}.items():
        tag = Tag(keyword)
        start = data.index(struct.pack("<HH", tag.group, tag.element), 132) + 8
        length = struct.unpack_from("<H", data, start - 2)[0]
        padded = value + b" " * (len(value) % 2)
        data = data[: start - 2] + struct.pack("<H", len(padded)) + padded + data[start + length :]
    path.write_bytes(data)
    return path


def identity(file: Path) -> dict[str, bytes]:
    """The patient's and study's values in a file, as bytes, without padding."""
    whole = dcmread(file)
    values = {key: whole.get_item(Tag(key)).value for key in (*PATIENT, *STUDY) if key in whole}
    return {key: value.rstrip(b"\0 ") for key, value in values.items() if value}


def results(path: Path, findings: list[str]) -> DicomResults:
    return dicom_results(path, document(findings), maps(), DicomOptions(deterministic=True))


@pytest.mark.filterwarnings("ignore:Unknown encoding|Incorrect value|Value 'GB18030':UserWarning")
@pytest.mark.parametrize("findings", [FRENCH, RUSSIAN], ids=["French", "Russian"])
@pytest.mark.parametrize("name", IMAGES)
def test_patient_and_study_keep_their_bytes_whatever_the_findings_are_called(tmp_path, name, findings):
    path = write_image(tmp_path / "in.dcm", name)
    made = results(path, findings)
    judged = set(errors(program("dciodvfy", path)))
    paths = save_dicom_results(made, tmp_path / "out", "in")
    for result, dataset in zip(paths, made.by_kind().values(), strict=True):
        assert identity(result) == identity(path)
        str(dataset)  # whoever looks at it changes nothing
        written = io.BytesIO()
        dataset.save_as(written, enforce_file_format=True)
        assert written.getvalue() == result.read_bytes()
        if b"GBK" not in IMAGES[name][0]:  # of which dciodvfy does not know
            assert set(errors(program("dciodvfy", result))) <= judged


@pytest.mark.filterwarnings("ignore:Unknown encoding|Incorrect value|Value 'GB18030':UserWarning")
@pytest.mark.parametrize(
    ("name", "findings", "declared", "said"),
    [
        ("Latin", FRENCH, "ISO_IR 100", "Épanchement"),
        ("Latin", RUSSIAN, "ISO_IR 100", "Uzel <= 3"),
        ("Cyrillic", RUSSIAN, "ISO_IR 144", "Узел <= 3"),
        ("Cyrillic", FRENCH, "ISO_IR 144", "Epanchement"),
        ("Cyrillic in Latin", FRENCH, "ISO_IR 100", "Épanchement"),
        ("Cyrillic in Latin", RUSSIAN, "ISO_IR 100", "Uzel <= 3"),
        ("Cyrillic in no set", FRENCH, ["ISO 2022 IR 6", "IS"], "Epanchement"),
        ("UTF-8, undeclared", FRENCH, "ISO_IR 192", "Épanchement"),
        ("Japanese", [*FRENCH[:3], "胸水"], ["", "ISO 2022 IR 87"], "胸水"),
        ("Japanese", [*FRENCH[:3], "Ак"], ["", "ISO 2022 IR 87"], "Аk"),  # к has a byte 5C, at which values are divided
        ("Chinese, two sets", RUSSIAN, ["GB18030", "ISO IR 192"], "Узел ≤ 3"),
        ("no such set", RUSSIAN, "ISO_IR 192", "Узел ≤ 3"),
        ("dates of before DICOM", RUSSIAN, "ISO_IR 192", "Узел ≤ 3"),
        ("dates of before DICOM", ["Effusion", "Mass", "Pneumothorax", "Rib notching"], None, "Rib notching"),
    ],
)
def test_our_text_is_written_as_the_characters_allow(tmp_path, name, findings, declared, said):
    made = results(write_image(tmp_path / "in.dcm", name), findings)
    report, state, _ = map(dcmread, save_dicom_results(made, tmp_path, "in"))
    assert report.get("SpecificCharacterSet") == state.get("SpecificCharacterSet") == declared
    assert any(item.value == f"{said} 1" for item in report.iterall() if item.keyword == "TextValue")
    assert any(item.value == f"{said} 0.66" for item in state.iterall() if item.keyword == "UnformattedTextValue")


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, None], ids=str
)
def test_the_bytes_come_from_any_transfer_syntax(tmp_path, syntax: UID | None):
    """None is a bare data set, without preamble and file meta information."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113100", "DCM", b"\xce\xf7\xe8\xf9\xe5\xed\xee"
    code.add_new(0x00091001, "LO", "private")
    tags: dict[str, Any] = {"PatientName": CP1251, "StudyDescription": "Лёгкие".encode("cp1251")}
    path = write_radiograph(tmp_path / "in.dcm", **tags, DeidentificationMethodCodeSequence=[code])
    if syntax is None:
        data = path.read_bytes()
        path.write_bytes(data[144 + struct.unpack_from("<I", data, 140)[0] :])
    else:
        whole = dcmread(path)
        whole.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            whole.PixelData = whole.pixel_array.astype(">u2").tobytes()
        dcmwrite(path, whole, enforce_file_format=True)
    for result in save_dicom_results(results(path, FRENCH), tmp_path, "in"):
        assert result.read_bytes().count(CP1251) == 1
        assert result.read_bytes().count("Лёгкие".encode("cp1251")) == 1
        (item,) = dcmread(result).DeidentificationMethodCodeSequence
        assert item.get_item("CodeMeaning").value.rstrip() == code.CodeMeaning
        assert item.CodeValue == "113100"


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("Mass, 3 cm", "Mass, 3 cm"),
        ("Épanchement", "Epanchement"),
        ("E\N{COMBINING ACUTE ACCENT}panchement", "Epanchement"),
        ("Ødem, Łódź, Æ, ß", "Odem, Lodz, AE, ss"),
        ("Выпот, Ёж, Щель", "Vypot, Ezh, Shchel'"),
        ("½ ≠ 1 ≥ 2", "U+00BD U+2260 1 >= 2"),  # never a sign that says something else
        ("胸水", "U+80F8U+6C34"),
    ],
)
def test_spelling_in_ascii(text, spelt):
    assert spell(text) == spelt


def test_findings_in_any_script_have_codes_of_their_own():
    codes = {name: finding_code(name).value for name in (*FRENCH[3:], *RUSSIAN, "胸水")}
    assert codes["Épanchement"] == "EPANCHEMENT"
    assert codes["Выпот"] == "VYPOT"
    assert len(set(codes.values())) == len(codes)
