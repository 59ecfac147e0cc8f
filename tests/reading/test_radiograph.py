"""One picture through every format, and what the real files hold."""

from __future__ import annotations

import json
import logging
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import pytest
import tifffile
from pydicom.data import get_testdata_file
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import read_radiograph, stored_size
from tests.reading.files import LOSSLESS, write_itk

# ITK's SWIG types are made as its modules are first used; with this warning as an error, that ends the process.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")

Array = np.ndarray[Any, Any]


def assert_same_picture(image: Array, picture: Array, metadata: dict[str, Any]) -> None:
    """The image is the upright picture in the percentile window that its metadata state."""
    low, high = metadata["window"]["low"], metadata["window"]["high"]
    assert metadata["window"]["kind"] == "percentile"
    np.testing.assert_allclose(image[0], np.clip((picture - low) / (high - low), 0, 1), atol=1e-5)


# --- one picture, every format --------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS.keys())
@pytest.mark.parametrize("name", ["image.dcm", "IM0001"])
def test_every_lossless_transfer_syntax_gives_the_same_pixels(picture, write_dicom, syntax, name):
    path = write_dicom(picture, name, syntax)
    image, metadata = read_radiograph(path)
    assert (image.shape, image.dtype, image.flags.c_contiguous) == ((1, 48, 64), np.float32, True)
    np.testing.assert_array_equal(image[0], (picture / 4095).astype(np.float32))
    assert metadata["transfer_syntax"] == str(syntax)
    assert stored_size(path) == metadata["stored_size"] == (48, 64)


def test_jpeg_baseline_is_within_its_loss(picture, write_dicom):
    eight_bits = (picture // 16).astype(np.uint8)
    image, _ = read_radiograph(write_dicom(eight_bits, syntax=JPEGBaseline8Bit))
    np.testing.assert_allclose(image[0], eight_bits / 255, atol=3 / 255)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEG2000Lossless])
def test_signed_pixels_with_rescale(write_dicom, syntax):
    stored = np.repeat(np.repeat(np.array([[-2048, -1024], [0, 2047]], dtype=np.int16), 32, axis=0), 32, axis=1)
    path = write_dicom(stored, syntax=syntax, RescaleSlope="2", RescaleIntercept="100")
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0, ::32, ::32], [[0, 1024 / 4095], [2048 / 4095, 1]], atol=1e-7)
    assert metadata["window"] == {"kind": "bits_stored", "low": -3996.0, "high": 4194.0}


@pytest.mark.parametrize("name", ["image.png", "image.tif", "wrong_name.txt"])
def test_sixteen_bit_files_span_their_type(picture, tmp_path, name):
    written = write_itk(picture * 16, tmp_path / (name if name.endswith(("png", "tif")) else "image.png"))
    path = written.rename(tmp_path / name)
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], picture * 16 / 65535, atol=1e-7)
    assert metadata["window"] == {"kind": "type_range", "low": 0.0, "high": 65535.0}
    assert metadata["spacing"] is None
    assert stored_size(path) == (48, 64)


@pytest.mark.parametrize("name", ["image.png", "image.tif", "image.jpg"])
def test_eight_bit_files_span_their_type(picture, tmp_path, name):
    eight_bits = (picture // 16).astype(np.uint8)
    image, metadata = read_radiograph(write_itk(eight_bits, tmp_path / name))
    np.testing.assert_allclose(image[0], eight_bits / 255, atol=(3 / 255 if name.endswith("jpg") else 1e-7))
    assert metadata["format"] == {"png": "PNG", "tif": "TIFF", "jpg": "JPEG"}[name[-3:]]


def test_a_stated_range_replaces_the_type(picture, tmp_path):
    image, metadata = read_radiograph(
        write_itk(picture, tmp_path / "twelve.png"), ReadingOptions(value_range=(0, 4095))
    )
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-7)
    assert metadata["window"] == {"kind": "stated", "low": 0.0, "high": 4095.0}


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.mha", "image.mhd"])
@pytest.mark.parametrize("slices", [False, True], ids=["(X, Y)", "(X, Y, 1)"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_what_itk_writes_comes_back_upright(picture, tmp_path, name, slices, dtype):
    pixels = (picture // 16).astype(dtype)
    path = write_itk(pixels[np.newaxis] if slices else pixels, tmp_path / name)
    image, metadata = read_radiograph(path)
    assert_same_picture(image, pixels.astype(np.float64), metadata)
    assert stored_size(path) == (48, 64)


def test_the_nifti_copy_that_monai_label_serves_is_upright(picture, write_dicom, tmp_path):
    """MONAI Label reads a DICOMweb image by GDCM and writes it by ITK: (X, Y, 1), with spacing."""
    # GDCM takes a DX image's spacing from Imager Pixel Spacing alone.
    dicom = write_dicom(picture, RescaleSlope="2", RescaleIntercept="-100", ImagerPixelSpacing=[0.2, 0.1])
    copy = itk.imread(str(dicom), itk.F, imageio=itk.GDCMImageIO.New())
    itk.imwrite(copy, str(tmp_path / "served.nii.gz"))
    assert nibabel.load(tmp_path / "served.nii.gz").shape == (64, 48, 1)
    image, metadata = read_radiograph(tmp_path / "served.nii.gz")
    assert_same_picture(image, 2.0 * picture - 100, metadata)
    np.testing.assert_allclose(metadata["spacing"], (0.2, 0.1), rtol=1e-6)
    np.testing.assert_allclose(metadata["affine"], read_radiograph(dicom)[1]["affine"], atol=1e-6)


PLANES = {
    # how the stored axes run in RAS+; the picture is stored so that rows and columns come out as seen
    "axial, LPS": ([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], lambda p: p.T[:, :, None]),
    "axial, RAS": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], lambda p: p.T[::-1, ::-1, None]),
    "axial, axes exchanged": ([[0, -1, 0], [-1, 0, 0], [0, 0, 1]], lambda p: p[:, :, None]),
    "coronal, feet last": ([[-1, 0, 0], [0, 0, -1], [0, -1, 0]], lambda p: p.T[:, :, None]),
    "coronal, RAS": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], lambda p: p.T[::-1, None, ::-1]),
    "sagittal, RAS": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], lambda p: p.T[None, ::-1, ::-1]),
}


@pytest.mark.parametrize(("axes", "store"), PLANES.values(), ids=PLANES.keys())
def test_nifti_is_turned_by_its_affine(picture, tmp_path, axes, store):
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes, dtype=float).T  # column k is where stored axis k runs
    affine[:3, 3] = (5, 7, 11)
    stored = store(picture.astype(np.int16))
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "image.nii")
    image, metadata = read_radiograph(tmp_path / "image.nii", ReadingOptions(value_range=(0, 4095)))
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-7)
    # The affine of the picture takes each corner to where the stored affine takes the same pixel.
    for row, column in [(0, 0), (4, 6), (47, 63)]:
        place = np.argwhere(stored == picture[row, column])
        shown = np.asarray(metadata["affine"]) @ (column, row, 0, 1)
        assert any(np.allclose(affine @ (*index, 1), shown) for index in place)


def test_nifti_without_orientation_keeps_its_stored_order(picture, tmp_path):
    file = nibabel.Nifti1Image(picture.astype(np.int16).T[:, :, None], None)
    file.header.set_zooms((0.1, 0.2, 1.0))
    nibabel.save(file, tmp_path / "image.nii")
    image, metadata = read_radiograph(tmp_path / "image.nii", ReadingOptions(value_range=(0, 4095)))
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-7)
    np.testing.assert_allclose(metadata["spacing"], (0.2, 0.1), rtol=1e-6)


def test_nifti_applies_its_own_slope(tmp_path):
    file = nibabel.Nifti1Image(np.array([[[0], [10]], [[20], [30]]], dtype=np.int16), np.diag([-1, -1, 1, 1]))
    file.header.set_slope_inter(2, 5)
    nibabel.save(file, tmp_path / "image.nii")
    raw = np.asarray(nibabel.load(tmp_path / "image.nii").dataobj)
    image, _ = read_radiograph(tmp_path / "image.nii", ReadingOptions(value_range=(0, 100)))
    np.testing.assert_allclose(image[0], raw[:, :, 0].T / 100, atol=1e-7)


def test_white_is_zero_tiff_is_inverted(tmp_path):
    stored = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    tifffile.imwrite(tmp_path / "white.tif", stored, photometric="miniswhite")
    image, metadata = read_radiograph(tmp_path / "white.tif")
    np.testing.assert_allclose(image[0], [[1, 0.8], [0.6, 0]], atol=1e-6)
    assert metadata["inverted"]


def test_float_tiff_takes_the_percentile_window_and_ignores_what_is_not_finite(tmp_path):
    values = np.arange(1000, dtype=np.float32).reshape(25, 40)
    values[3, 5], values[3, 6] = np.nan, np.inf  # 125 and 126
    tifffile.imwrite(tmp_path / "float.tif", values)
    image, metadata = read_radiograph(tmp_path / "float.tif")
    # Of 998 values, the 5th (4.99 rounded up) is 4; the 994th (993.01 rounded up) is 995, two being left out below it.
    assert metadata["window"] == {"kind": "percentile", "percentiles": [0.5, 99.5], "low": 4.0, "high": 995.0}
    assert image[0, 3, 5] == image[0, 3, 6] == 0
    np.testing.assert_allclose(image[0, 10, 0], (400 - 4) / (995 - 4), rtol=1e-6)


@pytest.mark.parametrize("name", ["constant.mha", "constant.nii"])
def test_constant_images_are_zero(tmp_path, name):
    image, _ = read_radiograph(write_itk(np.full((4, 5), 7, dtype=np.int16), tmp_path / name))
    assert image.shape == (1, 4, 5)
    assert not image.any()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_equal_channels_and_an_opaque_alpha_are_grey(tmp_path, channels):
    grey = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
    opaque = np.full_like(grey, 255)
    planes = {2: [grey, opaque], 3: [grey] * 3, 4: [grey, grey, grey, opaque]}[channels]
    path = tmp_path / "image.png"
    itk.imwrite(itk.image_from_array(np.dstack(planes), is_vector=True), str(path))
    image, _ = read_radiograph(path)
    np.testing.assert_allclose(image[0], grey / 255, atol=1e-7)


# --- real files -----------------------------------------------------------------------------------------------------


def real(name: str) -> str:
    """A file of the package pydicom-data."""
    spec = find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pydicom-data is not installed (requirements-data.txt)")
    return str(Path(next(iter(spec.submodule_search_locations))) / "data" / f"{name}.dcm")


def test_a_real_chest_radiograph():
    """RG1: 15 of 16 bits, MONOCHROME1, window 15000/30000, Pixel Spacing written as 0."""
    image, metadata = read_radiograph(real("RG1_UNCR"))
    compressed, _ = read_radiograph(real("RG1_J2KR"))
    np.testing.assert_array_equal(image, compressed)
    assert image.shape == (1, 1955, 1841)
    assert metadata["not_assessed"] is None
    assert metadata["inverted"]
    assert metadata["spacing"] is None
    assert metadata["window"] == {
        "kind": "window",
        "index": 0,
        "centre": 15000.0,
        "width": 30000.0,
        "function": "LINEAR",
    }
    # Its least stored value, 874, is the brightest: 1 - ((874 - 14999.5) / 29999 + 0.5).
    assert math.isclose(image.max(), 1 - ((874 - 14999.5) / 29999 + 0.5), rel_tol=1e-6)


def test_a_real_voi_lut_and_modality_lut():
    image, metadata = read_radiograph(real("vlut_04"))
    assert metadata["window"] == {"kind": "voi_lut", "index": 0, "bits": 16}
    assert image.max() == 1
    image, metadata = read_radiograph(real("mlut_18"))
    assert metadata["window"] == {"kind": "bits_stored", "low": 0.0, "high": 65535.0}


def test_one_real_image_in_seven_transfer_syntaxes():
    names = ["", "_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_jpeg_ls_lossless"]
    first, *others = (read_radiograph(get_testdata_file(f"MR_small{name}.dcm"))[0] for name in names)
    for other in others:
        np.testing.assert_array_equal(first, other)


# --- metadata -------------------------------------------------------------------------------------------------------


def test_metadata_are_plain_and_hold_no_patient(picture, write_dicom):
    path = write_dicom(picture, WindowCenter="2000", WindowWidth="3000")
    _, metadata = read_radiograph(str(path))
    assert json.loads(json.dumps(metadata)) == {
        "filename_or_obj": str(path),
        "stored_size": [48, 64],
        "spacing": [0.2, 0.1],
        "spacing_source": "PixelSpacing",
        "pixel_aspect": 2.0,
        "orientation": 1,
        "photometric_interpretation": "MONOCHROME2",
        "window": {"kind": "window", "index": 0, "centre": 2000.0, "width": 3000.0, "function": "LINEAR"},
        "inverted": False,
        "bits_stored": 12,
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "format": "DICOM",
        "affine": [[-0.1, 0.0, 0.0, 0.0], [0.0, -0.2, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
        "not_assessed": None,
        "notes": [],
    }


@pytest.mark.parametrize("name", ["a.png", "a.nii.gz", "a.mha", "a.tif", "a.jpg"])
def test_every_format_has_the_same_metadata_keys(picture, write_dicom, tmp_path, name):
    _, dicom = read_radiograph(write_dicom(picture))
    _, metadata = read_radiograph(write_itk((picture // 16).astype(np.uint8), tmp_path / name))
    assert metadata.keys() == dicom.keys()
    json.dumps(metadata)


@pytest.mark.parametrize(
    ("attributes", "spacing", "source"),
    [
        ({"ImagerPixelSpacing": [0.3, 0.4]}, (0.2, 0.1), "PixelSpacing"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.3, 0.4]}, (0.3, 0.4), "ImagerPixelSpacing"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.3, 0.4]}, (0.3, 0.4), "ImagerPixelSpacing"),
        ({"PixelSpacing": "", "NominalScannedPixelSpacing": [0.5, 0.5]}, (0.5, 0.5), "NominalScannedPixelSpacing"),
        ({"PixelSpacing": "0.2"}, None, None),
        ({"PixelSpacing": None}, None, None),
    ],
)
def test_spacing_and_its_source(picture, write_dicom, attributes, spacing, source):
    _, metadata = read_radiograph(write_dicom(picture, **attributes))
    assert (metadata["spacing"], metadata["spacing_source"]) == (spacing, source)


def test_what_is_passed_over_is_logged(picture, write_dicom, caplog):
    path = write_dicom(picture, WindowCenter="2000", WindowWidth="0")
    with caplog.at_level(logging.WARNING):
        _, metadata = read_radiograph(path)
    assert metadata["notes"] == ["a window of width 0 means nothing for LINEAR; it was passed over"]
    assert str(path) in caplog.text


def test_a_nifti_without_a_slice_axis_lies_as_its_two_others_say(tmp_path):
    """Some programs write 0 for the third axis of a 2-D image."""
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    for depth in (0.0, 1.0):
        image = nibabel.Nifti1Image(stored, None)
        image.header.set_sform(np.diag([0.5, -0.25, depth, 1]), code=1)
        nibabel.save(image, tmp_path / f"{depth}.nii")
    flat, deep = (
        read_radiograph(tmp_path / f"{depth}.nii", ReadingOptions(value_range=(0, 11))) for depth in (0.0, 1.0)
    )
    assert np.array_equal(flat[0], deep[0])
    assert (flat[0][0] * 11).round().tolist()[0] == [8, 4, 0]  # x rises to the patient's left: turned round
    assert flat[1]["spacing"] == (0.25, 0.5)
    assert abs(np.linalg.det(flat[1]["affine"])) == pytest.approx(0.125)
