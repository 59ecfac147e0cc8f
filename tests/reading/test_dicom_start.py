"""What begins as DICOM does: bare data sets are read like whole files, and other formats are called by their names."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from bundle.reading import RadiographError, UnknownFormatError, radiograph_format, read_radiograph, stored_size
from bundle.reading.dicom_start import dicom_start

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def without_preamble(path: Path, meta: bool, name: str) -> Path:
    """The file from its file meta information on, or from its data set on."""
    data = path.read_bytes()
    bare = path.with_name(name)
    bare.write_bytes(data[132 if meta else 144 + struct.unpack_from("<I", data, 140)[0] :])
    return bare


@pytest.mark.parametrize("name", ["1.2.840.511.1", "bare.dcm", "scan.img"])
@pytest.mark.parametrize(("syntax", "meta"), [
    *((syntax, False) for syntax in NATIVE),
    *((syntax, True) for syntax in (*NATIVE, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless)),
])  # fmt: skip
def test_a_file_without_preamble_is_read_like_the_whole_one(
    picture: np.ndarray, write_dicom, syntax: UID, meta: bool, name: str
) -> None:
    whole = write_dicom(picture, syntax=syntax)
    image, about = read_radiograph(whole)
    bare = without_preamble(whole, meta, name)
    found, said = read_radiograph(bare)
    assert np.array_equal(found, image)
    assert stored_size(bare) == picture.shape
    assert said | {"filename_or_obj": ""} == about | {"filename_or_obj": ""}
    assert said["transfer_syntax"] == syntax


@pytest.mark.parametrize("start", [
    b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
    b"\0\x08\0\x05CS\0\x0aISO_IR 100",
    b"\x08\0\x08\0\x10\0\0\0ORIGINAL\\PRIMARY",
    b"\x08\0\0\0\x04\0\0\0\x40\x01\0\0",
    b"\x08\0\x01\0UL\x04\0\x40\x01\0\0",
    b"\x02\0\0\0UL\x04\0\x40\x01\0\0",
])  # fmt: skip
def test_what_begins_as_a_data_set(start: bytes) -> None:
    assert dicom_start(start + bytes(200)) == 0
    assert dicom_start(bytes(128) + b"DICM" + start) == 132


@pytest.mark.parametrize("start", [
    b"",
    b"\x08\0",
    b"\x08\0\x05\0",
    b"\x08\0\x05\0CS",
    b"\x08\0\x08\0\xff\xff\xff\x7f",  # a first element of 2 GB
    b"\x08\0\xfe\x7f\x10\0\0\0",  # an attribute that there is not
    b"\x10\0\x10\0PN\x08\0Made^Up ",
    b"a report of a chest",
    b"DICM\x02\0\0\0UL\x04\0",
])  # fmt: skip
def test_what_does_not(start: bytes) -> None:
    assert dicom_start(start) is None


OTHERS = {
    b"PK\x03\x04": "ZIP archive",
    bytes(257) + b"ustar": "tar archive",
    b"BM\x36\x03\0\0\0\0\0\0": "BMP picture",
    b"GIF89a": "GIF picture",
    b"RIFF\x24\0\0\0WEBPVP8 ": "WebP picture",
    b"\0\0\0\x18ftypheic": "HEIF picture",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000 picture outside DICOM",
    b"%PDF-1.7": "PDF document",
}


@pytest.mark.parametrize(("start", "name"), OTHERS.items(), ids=OTHERS.values())
def test_known_formats_that_are_not_read_have_names(tmp_path: Path, start: bytes, name: str) -> None:
    (tmp_path / "1.2.3").write_bytes(start + bytes(300))
    for read in (read_radiograph, stored_size, radiograph_format):
        with pytest.raises(RadiographError, match=name) as refused:
            read(tmp_path / "1.2.3")
        assert not isinstance(refused.value, UnknownFormatError)


@pytest.mark.parametrize("text", ["BMI 24, no findings", "GIFT", "a\tb\n1\t2\n"])
def test_a_text_is_of_no_known_format(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(UnknownFormatError, match="no image of a known format"):
        radiograph_format(tmp_path / "notes.txt")
