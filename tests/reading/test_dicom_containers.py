"""Files that are not written as they say: the bytes decide, a note tells, and what is cut short stays refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from bundle.reading.radiograph import RadiographError, read_radiograph, stored_size

WRITTEN = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
NAMED = {**WRITTEN, "JPEG 2000": JPEG2000Lossless, "RLE": RLELossless}
COMPRESSED = (RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def parts(path: Path) -> tuple[bytes, bytes]:
    """A file's preamble with file meta information, and its data set."""
    data = path.read_bytes()
    start = 132 + 12 + struct.unpack_from("<I", data, 140)[0]
    return data[:start], data[start:]


def named(data_set: bytes, syntax: UID) -> bytes:
    """A file of this data set that names this transfer syntax."""
    uid = str(syntax).encode() + b"\0" * (len(syntax) % 2)
    element = struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", len(uid)) + uid
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(element)) + element + data_set


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("written", WRITTEN)
def test_a_file_is_read_as_it_is_written_whatever_it_names(picture, write_dicom, lut_item, tmp_path, written, name):
    table = lut_item([4096, 0, 16], [65535 - 16 * i for i in range(4096)])
    right = write_dicom(picture, syntax=WRITTEN[written], VOILUTSequence=[table])
    path = tmp_path / "wrong.dcm"
    path.write_bytes(named(parts(right)[1], NAMED[name]))
    image, metadata = read_radiograph(path)
    np.testing.assert_array_equal(image, read_radiograph(right)[0])
    assert stored_size(path) == (48, 64)
    assert metadata["transfer_syntax"] == WRITTEN[written]
    # A data set around compressed pixels is Explicit VR Little Endian (PS3.5 A.4): then the pixels alone are not.
    said = " ".join(metadata["notes"])
    assert ("the file names" in said) is (written != name)
    if written != name:
        assert NAMED[name].name in said
        assert f"in {WRITTEN[written].name}; " in said


def test_deflated_data_may_be_in_the_format_of_zlib(picture, write_dicom, tmp_path):
    explicit = write_dicom(picture)
    path = tmp_path / "zlib.dcm"
    path.write_bytes(named(zlib.compress(parts(explicit)[1]), DeflatedExplicitVRLittleEndian))
    np.testing.assert_array_equal(read_radiograph(path)[0], read_radiograph(explicit)[0])


def test_file_meta_information_in_implicit_vr(picture, write_dicom, tmp_path):
    """Against PS3.10 7.1, and read."""
    _, data_set = parts(write_dicom(picture))
    uid = str(ExplicitVRLittleEndian).encode() + b"\0"
    path = tmp_path / "meta.dcm"
    element = struct.pack("<HHI", 0x0002, 0x0010, len(uid)) + uid
    path.write_bytes(bytes(128) + b"DICM" + element + data_set)
    assert read_radiograph(path)[1]["notes"] == []


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("name", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless])
@pytest.mark.parametrize("syntax", COMPRESSED)
def test_compressed_pixels_are_known_by_their_beginning(picture, write_dicom, tmp_path, syntax, name, implicit):
    right = write_dicom(picture, syntax=syntax)
    _, data_set = parts(right)
    if implicit:
        buffer = DicomBytesIO()
        buffer.is_implicit_VR, buffer.is_little_endian = True, True
        dataset = dcmread(right)
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        write_dataset(buffer, dataset)
        data_set = buffer.getvalue()
    path = tmp_path / "wrong.dcm"
    path.write_bytes(named(data_set, name))
    image, metadata = read_radiograph(path)
    np.testing.assert_array_equal(image, read_radiograph(right)[0])
    assert bool(metadata["notes"]) is (name != syntax or implicit)


ENDS = {
    "missing": b"",
    "half of it": SEQUENCE_END[:4],
    "zeros": bytes(8),
    "an item's delimiter": struct.pack("<HHI", 0xFFFE, 0xE00D, 0),
    "one bit wrong": struct.pack("<HHI", 0xFFFE, 0xE0DF, 0),
    "an empty item": struct.pack("<HHI", 0xFFFE, 0xE000, 0),
    "the next element": struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 4) + bytes(4),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("syntax", COMPRESSED)
def test_whole_fragments_without_a_sequence_delimiter_are_read(picture, write_dicom, syntax, end):
    path = write_dicom(picture, syntax=syntax)
    image, metadata = read_radiograph(path)
    assert metadata["notes"] == []
    data = path.read_bytes()
    assert data.endswith(SEQUENCE_END)
    path.write_bytes(data[:-8] + end)
    mended, metadata = read_radiograph(path)
    np.testing.assert_array_equal(mended, image)
    assert stored_size(path) == (48, 64)
    assert [note.split(";")[0] for note in metadata["notes"]] == [
        "the compressed pixels are not ended by a sequence delimiter"
    ]


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_fragments_that_break_off_are_refused_between_them_too(picture, write_dicom, syntax):
    """One frame in several fragments, the file cut behind each of them but the last, and a little later."""
    noise = np.random.default_rng(0).integers(0, 4096, picture.shape).astype(np.uint16)
    path = write_dicom(noise, syntax=syntax)
    stream = get_frame(dcmread(path).PixelData, 0, number_of_frames=1)
    size = len(stream) // 5 // 2 * 2
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    pieces[-1] += bytes(len(pieces[-1]) % 2)
    data = path.read_bytes()
    head = data[: data.rindex(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OB")) + 12]
    items = [struct.pack("<HHI", 0xFFFE, 0xE000, len(piece)) + piece for piece in (b"", *pieces)]
    for count in range(1, len(items)):
        for more in (0, 3, 8, 9):
            path.write_bytes((head + b"".join(items))[: len(head) + sum(map(len, items[:count])) + more])
            with pytest.raises(RadiographError):
                read_radiograph(path)
    whole = write_dicom(noise, "whole.dcm", syntax)
    path.write_bytes(head + b"".join(items))
    np.testing.assert_array_equal(read_radiograph(path)[0], read_radiograph(whole)[0])


def set_text(path: Path, element: int, text: bytes) -> None:
    """Puts a decimal string in the place of another of group 0028, whatever the standard says of it."""
    data = path.read_bytes()
    start = data.index(struct.pack("<HH2s", 0x0028, element, b"DS"))
    length = struct.unpack_from("<H", data, start + 6)[0]
    text += b" " * (len(text) % 2)
    path.write_bytes(data[: start + 6] + struct.pack("<H", len(text)) + text + data[start + 8 + length :])


CENTRE, WIDTH, INTERCEPT, SLOPE = 0x1050, 0x1051, 0x1052, 0x1053


@pytest.mark.parametrize(
    ("element", "text", "attributes"),
    [
        (CENTRE, b"2047,5", {"WindowCenter": "2047.5"}),
        (CENTRE, b"2047,5\\100,0", {"WindowCenter": ["2047.5", "100"], "WindowWidth": ["3000", "10"]}),
        (WIDTH, b"3000 HU", {}),
        (WIDTH, b" 3000US", {}),
        (SLOPE, b"0,5", {"RescaleSlope": "0.5"}),
        (INTERCEPT, b"-1024,0 HU", {"RescaleIntercept": "-1024"}),
    ],
)
def test_numbers_with_a_comma_or_a_unit(picture, write_dicom, element, text, attributes):
    attributes = {
        "WindowCenter": "1000",
        "WindowWidth": "3000",
        "RescaleSlope": "1",
        "RescaleIntercept": "0",
    } | attributes
    expected = read_radiograph(write_dicom(picture, **attributes))[0]
    path = write_dicom(picture, "text.dcm", **attributes)
    set_text(path, element, text)
    image, metadata = read_radiograph(path)
    np.testing.assert_array_equal(image, expected)
    assert [note.split(" is ")[1] for note in metadata["notes"]] == ["not written as a number; the one in it was taken"]


@pytest.mark.parametrize("text", [b"wide", b"about 3000", b"1.2.3", b"3000 wide enough"])
def test_text_is_no_number(picture, write_dicom, text):
    path = write_dicom(picture, WindowCenter="1000", WindowWidth="3000")
    set_text(path, WIDTH, text)
    with pytest.raises(RadiographError, match="WindowWidth"):
        read_radiograph(path)
