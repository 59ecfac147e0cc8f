"""What is not of the patient is black: padding at the border, in whatever form, and what a display shutter covers."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from bundle.reading.radiograph import read_radiograph

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
BAND = np.s_[:, :20]
PADDING, LIMIT = 0x00280120, 0x00280121
WINDOW = {"WindowCenter": "1000", "WindowWidth": "2000", "VOILUTFunction": "LINEAR_EXACT"}


def write(write_dicom, pixels, elements, syntax=ExplicitVRLittleEndian, **attributes):
    """A MONOCHROME1 image, in which padding that is not known would be white, with elements of any VR."""
    window = {} if "PresentationIntentType" in attributes else WINDOW
    attributes = {"PhotometricInterpretation": "MONOCHROME1", **window, **attributes}
    path = write_dicom(pixels, syntax=syntax, **attributes)
    dataset = dcmread(path)
    for tag, vr, value in elements:
        dataset.add_new(tag, vr, value)
    dataset.save_as(path)
    return path


SIGNED = {
    "SS": [(PADDING, "SS", -2000)],
    "US": [(PADDING, "US", 63536)],
    "US, 12 bits alone": [(PADDING, "US", 2096)],
    "OW": [(PADDING, "OW", struct.pack("<h", -2000))],
    "IS": [(PADDING, "IS", "-2000")],
    "a range in SS": [(PADDING, "SS", -2000), (LIMIT, "SS", -1900)],
    "a range in US": [(PADDING, "US", 63536), (LIMIT, "US", 63636)],
    "a range in both": [(PADDING, "SS", -2000), (LIMIT, "US", 63636)],
    "a range from its end": [(PADDING, "US", 63636), (LIMIT, "US", 63500)],
}


@pytest.mark.parametrize("elements", SIGNED.values(), ids=SIGNED.keys())
def test_padding_of_signed_pixels(picture, write_dicom, elements):
    pixels = (picture // 2).astype(np.int16)
    pixels[BAND] = -2000
    image, metadata = read_radiograph(write(write_dicom, pixels, elements))
    assert not image[0][BAND].any()
    np.testing.assert_allclose(image[0, :, 20:], np.clip(1 - pixels[:, 20:] / 2000, 0, 1), atol=1e-6)
    assert metadata["notes"] == []


def test_padding_of_unknown_vr(picture, write_dicom):
    pixels = (picture // 2).astype(np.int16)
    pixels[BAND] = -2000
    path = write(write_dicom, pixels, [(PADDING, "SS", -2000)])
    data = path.read_bytes()
    element = struct.pack("<HH2sHh", 0x0028, 0x0120, b"SS", 2, -2000)
    assert data.count(element) == 1
    path.write_bytes(data.replace(element, struct.pack("<HH2sHIh", 0x0028, 0x0120, b"UN", 0, 2, -2000)))
    assert not read_radiograph(path)[0][0][BAND].any()


@pytest.mark.parametrize("bits_stored", [12, 16])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_padding_in_every_syntax(picture, write_dicom, syntax, bits_stored):
    pixels = (picture // 2).astype(np.int16)
    pixels[BAND] = -2000
    path = write_dicom(
        pixels,
        syntax=syntax,
        BitsStored=bits_stored,
        PixelPaddingValue=-2000,
        PhotometricInterpretation="MONOCHROME1",
        **WINDOW,
    )
    assert not read_radiograph(path)[0][0][BAND].any()


@pytest.mark.parametrize(
    "elements",
    [[(PADDING, "US", 4095)], [(PADDING, "SS", 4095)], [(PADDING, "US", 4000), (LIMIT, "US", 4095)]],
)
def test_padding_of_unsigned_pixels(picture, write_dicom, elements):
    pixels = picture // 2
    pixels[BAND] = 4095
    assert not read_radiograph(write(write_dicom, pixels, elements))[0][0][BAND].any()


def test_padding_above_the_stored_bits(picture, write_dicom):
    """FFFF in 12 of 16 bits is padding; 4095, the same without the unused bits, is not."""
    pixels = picture.copy()
    pixels[:, 40:] = 4095
    pixels[BAND] = 0xFFFF
    path = write(write_dicom, pixels, [(PADDING, "US", 0xFFFF)], PhotometricInterpretation="MONOCHROME2")
    image = read_radiograph(path)[0][0]
    assert not image[BAND].any()
    assert (image[:, 40:] == 1).all()


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_the_padding_value_inside_the_image_is_the_patients(write_dicom, bits):
    """0 around the body, and 0 in its lungs, which MONOCHROME1 shows as white."""
    pixels = np.full((40, 50), 100, dtype=f"u{bits // 8}")
    pixels[:, :10] = pixels[:5] = 0
    pixels[15:25, 20:30] = 0
    pixels[24, 30] = 0  # touches nothing but a corner
    path = write(write_dicom, pixels, [(PADDING, "US", 0)], WindowCenter="50", WindowWidth="100")
    image = read_radiograph(path)[0][0]
    assert not image[:, :10].any()
    assert not image[:5].any()
    assert (image[15:25, 20:30] == 1).all()


@pytest.mark.parametrize("bits", [16, 32])
def test_inner_values_equal_to_padding_count_in_the_percentiles(write_dicom, bits):
    pixels = np.arange(2000, dtype=f"u{bits // 8}").reshape(40, 50)
    pixels[:, :10] = 0
    pixels[20, 20:40] = 0
    path = write(
        write_dicom,
        pixels,
        [(PADDING, "US", 0)],
        PresentationIntentType="FOR PROCESSING",
    )
    inner = pixels[:, 10:]
    low, high = np.percentile(inner, (0.5, 99.5), method="inverted_cdf")
    window = read_radiograph(path)[1]["window"]
    assert (window["low"], window["high"]) == (low, high)
    assert low == 0


def test_padding_that_would_hide_everything_is_passed_over(picture, write_dicom):
    path = write(write_dicom, picture, [(PADDING, "US", 0), (LIMIT, "US", 4095)])
    image, metadata = read_radiograph(path)
    assert image.max() > 0.7
    assert metadata["notes"] == ["Pixel Padding Value would hide the whole image; it was passed over"]


RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 11,
    "ShutterRightVerticalEdge": 50,
    "ShutterUpperHorizontalEdge": 6,
    "ShutterLowerHorizontalEdge": 40,
}
CIRCLE = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [21, 31], "RadiusOfCircularShutter": 15}
POLYGON = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [6, 11, 6, 50, 40, 50, 40, 11]}
ROWS, COLUMNS = np.mgrid[0:48, 0:64]
IN_RECTANGLE = (ROWS >= 5) & (ROWS < 40) & (COLUMNS >= 10) & (COLUMNS < 50)  # rows and columns count from 1
IN_CIRCLE = (ROWS - 20) ** 2 + (COLUMNS - 30) ** 2 <= 15**2
BOTH = {**RECTANGLE, **CIRCLE, "ShutterShape": ["RECTANGULAR", "CIRCULAR"], "RadiusOfCircularShutter": 25}
IN_BOTH = IN_RECTANGLE & ((ROWS - 20) ** 2 + (COLUMNS - 30) ** 2 <= 25**2)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("attributes", "inside"),
    [(RECTANGLE, IN_RECTANGLE), (CIRCLE, IN_CIRCLE), (POLYGON, IN_RECTANGLE), (BOTH, IN_BOTH)],
    ids=["rectangle", "circle", "polygon", "rectangle and circle"],
)
def test_what_a_shutter_covers_is_black(picture, write_dicom, attributes, inside, photometric):
    plain = read_radiograph(write_dicom(picture, PhotometricInterpretation=photometric))[0][0]
    path = write_dicom(picture, "shutter.dcm", PhotometricInterpretation=photometric, **attributes)
    image, metadata = read_radiograph(path)
    np.testing.assert_array_equal(image[0], np.where(inside, plain, 0))
    assert metadata["notes"] == ["what lies outside the display shutter is shown as black"]


def test_what_a_shutter_covers_counts_in_no_percentile(picture, write_dicom):
    pixels = np.where(IN_RECTANGLE, picture, 4095).astype(np.uint16)
    path = write_dicom(pixels, PresentationIntentType="FOR PROCESSING", **RECTANGLE)
    high = np.percentile(picture[IN_RECTANGLE], 99.5, method="inverted_cdf")
    assert read_radiograph(path)[1]["window"]["high"] == high < 4095


@pytest.mark.parametrize(
    "attributes",
    [
        {"ShutterShape": "BITMAP"},
        {"ShutterShape": "RECTANGULAR"},
        {**CIRCLE, "RadiusOfCircularShutter": None} | {"RadiusOfCircularShutter": ""},
        {**POLYGON, "VerticesOfThePolygonalShutter": [1, 1, 5, 5]},
        {**RECTANGLE, "ShutterRightVerticalEdge": 1},
    ],
    ids=["bitmap", "no edges", "no radius", "two corners", "right of its right edge"],
)
def test_a_shutter_that_cannot_be_meant_is_passed_over(picture, write_dicom, attributes):
    path = write_dicom(picture, **attributes)
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-6)
    assert "passed over" in metadata["notes"][0]
