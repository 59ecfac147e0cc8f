"""What is not read, and what the error says."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError, RadiographNotFoundError, read_radiograph, stored_size
from tests.reading.files import LOSSLESS, write_itk

# ITK's SWIG types are made as its modules are first used; with this warning as an error, that ends the process.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")


def refused(path: Path | str, *words: str) -> None:
    """Reading raises a RadiographError that names the file and holds the words, and no patient."""
    with pytest.raises(RadiographError) as caught:
        read_radiograph(path)
    message = str(caught.value)
    for word in (str(path), *words):
        assert word in message
    assert "secret" not in message.lower()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, ["not grey (RGB, 3 samples", "MONOCHROME1 or"]),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, ["not grey (PALETTE COLOR, 1 sample"]),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422"}, ["not grey (YBR_FULL_422"]),
        ({"NumberOfFrames": "2"}, ["2 frames", "Wanted one"]),
        ({"PixelData": None}, ["no pixel data"]),
        ({"Rows": 0}, ["0 rows and 64 columns"]),
        ({"Columns": 0}, ["48 rows and 0 columns"]),
        ({"Rows": None, "Columns": None, "PixelData": None}, ["Digital X-Ray Image", "is not an image"]),
        ({"BitsAllocated": None}, ["lacks BitsAllocated"]),
        ({"BitsStored": None, "HighBit": None}, ["lacks BitsStored"]),
        ({"PhotometricInterpretation": None}, ["lacks PhotometricInterpretation"]),
        ({"BitsStored": 17}, ["17"]),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, ["RescaleSlope is 0"]),
    ],
)
def test_dicom_refusals(picture, write_dicom, attributes, words):
    refused(write_dicom(picture, **attributes), *words)


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS.keys())
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cut_dicom_files_are_refused(picture, write_dicom, syntax, share):
    path = write_dicom(picture, syntax=syntax)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path)
    if syntax != DeflatedExplicitVRLittleEndian:
        with pytest.raises(RadiographError):
            stored_size(path)


def test_cut_pixels_are_counted(picture, write_dicom):
    path = write_dicom(picture)
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "cut short: 6044 bytes, 48 x 64 pixels of 16 bits need 6144")


def test_a_header_that_disagrees_with_a_jpeg_stream_is_refused(picture, write_dicom):
    path = write_dicom(picture, syntax=JPEGLSLossless)
    data = path.read_bytes()
    start = data.index(b"\xff\xd8\xff\xf7")
    path.write_bytes(data[: start + 6] + b"\x39" + data[start + 7 :])  # 57 bits a sample, over which GDCM would abort
    refused(path, "57 bits", "48 x 64 of up to 16 bits")


def test_damaged_rle_is_refused(picture, write_dicom):
    path = write_dicom(picture, syntax=RLELossless)
    data = path.read_bytes()
    place = data.rindex(b"\xfe\xff\x00\xe0") + 8 + 64  # the first run of the first segment
    path.write_bytes(data[:place] + b"\x7f" * 200 + data[place + 200 :])
    refused(path, "RLE Lossless", "do not decode")


def test_jpeg_ls_is_read_alike_by_either_decoder(picture, write_dicom, monkeypatch):
    path = write_dicom(picture, syntax=JPEGLSLossless)
    by_charls, metadata = read_radiograph(path)
    decoder = get_decoder(JPEGLSLossless)
    assert "pyjpegls" in decoder.available_plugins  # what takes half the time
    monkeypatch.delitem(decoder._available, "pyjpegls")
    by_gdcm, also = read_radiograph(path)
    assert (by_charls == by_gdcm).all()
    assert metadata == also


def test_a_missing_codec_is_named(picture, write_dicom, monkeypatch):
    path = write_dicom(picture, syntax=JPEGLSLossless)
    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    refused(path, "JPEG-LS Lossless Image Compression (1.2.840.10008.1.2.4.80)", "pip install python-gdcm")


def test_video_is_refused(picture, write_dicom):
    path = write_dicom(picture, syntax=JPEG2000Lossless)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.save_as(path)
    refused(path, "MPEG2", "not decoded here")


def test_what_is_called_dicom_and_is_not_says_so():
    refused(get_testdata_file("no_meta.dcm"), "not DICOM", "neither a preamble nor an element")


def test_dicom_without_transfer_syntax_says_so():
    refused(get_testdata_file("meta_missing_tsyntax.dcm"), "no Transfer Syntax")


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "empty.dcm").touch()
    refused(tmp_path / "empty.dcm", "is empty")
    (tmp_path / "notes.txt").write_text("a report")
    refused(tmp_path / "notes.txt", "no image of a known format", "Wanted DICOM, PNG")
    (tmp_path / "notes.nii").write_text("a report")
    refused(tmp_path / "notes.nii", "NIfTI file does not parse")
    (tmp_path / "packed.gz").write_bytes(b"\x1f\x8b" + bytes(200))
    refused(tmp_path / "packed.gz", "gzip")
    refused(tmp_path, "folder")


def test_a_missing_file_is_both_kinds_of_error(tmp_path):
    path = tmp_path / "absent.dcm"
    for function in (read_radiograph, stored_size):
        with pytest.raises(FileNotFoundError, match=r"absent\.dcm: there is no such file"):
            function(path)
        with pytest.raises(RadiographNotFoundError):
            function(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.mha", "a.nii", "a.nii.gz"])
def test_cut_image_files_are_refused(picture, tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    path = write_itk(noise, tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    refused(path)


def test_colour_and_transparency_are_refused(tmp_path):
    grey = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
    path = tmp_path / "image.png"
    itk.imwrite(itk.image_from_array(np.dstack([grey, grey, grey + 6]), is_vector=True), str(path))
    refused(path, "colour", "one grey channel")
    itk.imwrite(itk.image_from_array(np.dstack([grey, grey]), is_vector=True), str(path))
    refused(path, "transparent", "flatten")


def test_volumes_and_pages_are_refused(tmp_path):
    for name in ("a.nii", "a.mha", "a.tif"):
        refused(write_itk(np.zeros((2, 3, 4), dtype=np.uint8), tmp_path / name), "volume", "Wanted one picture")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 1, 2), dtype=np.uint8), np.eye(4)), tmp_path / "t.nii")
    refused(tmp_path / "t.nii", "time series")


@pytest.mark.parametrize(
    "wrong", [np.diag([0.0, 0, 0, 1]), np.diag([-0.5, 0, 1, 1]), np.ones((4, 4)), np.diag([np.nan, -1, 1, 1])]
)
def test_a_nifti_affine_that_says_no_orientation_is_refused(tmp_path, wrong):
    """Stored order in its place might be a mirrored chest."""
    image = nibabel.Nifti1Image(np.zeros((3, 4, 1), np.uint8), None)
    image.header.set_sform(wrong, code=1)
    nibabel.save(image, tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "singular or not finite", "sform_code and qform_code 0")
    with pytest.raises(RadiographError, match="singular"):
        stored_size(tmp_path / "a.nii")


@pytest.mark.parametrize(
    "named",
    [
        *(
            "{elsewhere}",
            "../elsewhere/a.raw",
            "sub/a.raw",
            "sub\\a.raw",
            "LIST",
            "LIST 2\n{elsewhere}",
            "a%02d.raw 1 1 1",
        ),
        *("{elsewhere}\nElementDataFile = LOCAL", "\n\t{elsewhere}", "LOCAL/../../elsewhere/a.raw"),
        "LOCAL\nElementDataFile = {elsewhere}",
        "LOCAL\nElementDataFile" + 600 * " " + "{elsewhere}\nComment = LOCAL",
    ],
)
@pytest.mark.parametrize("before", ["", "Comment =\n", "Comment = ElementDataFile = LOCAL\n"])
def test_a_metaimage_names_no_file_elsewhere(tmp_path, named, before):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.raw").write_bytes(bytes(range(12)))
    (tmp_path / "in").mkdir()
    header = f"ObjectType = Image\nNDims = 2\nDimSize = 4 3\nElementType = MET_UCHAR\n{before}"
    path = tmp_path / "in" / "a.mha"
    path.write_text(
        f"{header}ElementDataFile = {named.format(elsewhere=tmp_path / 'elsewhere' / 'a.raw')}\n" + "x" * 12
    )
    refused(path, "from another folder, a list or a pattern", "ElementDataFile = LOCAL")
    with pytest.raises(RadiographError):
        stored_size(path)


def test_a_metaimage_may_name_a_file_beside_it(tmp_path):
    header = "ObjectType = Image\nNDims = 2\nDimSize = 4 3\nElementType = MET_UCHAR\nElementDataFile = my pixels.raw\n"
    (tmp_path / "a.mhd").write_text(header)
    (tmp_path / "my pixels.raw").write_bytes(bytes(range(12)))
    assert read_radiograph(tmp_path / "a.mhd", ReadingOptions(value_range=(0, 11)))[0][0, 2, 3] == 1


@pytest.mark.parametrize(
    "arguments", [{"voi_index": -1}, {"value_range": (1, 1)}, {"percentiles": (99, 1)}, {"percentiles": (0, 101)}]
)
def test_options_that_cannot_be_meant(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ReadingOptions(**arguments)
