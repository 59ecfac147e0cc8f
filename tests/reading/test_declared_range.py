"""A stated range that cannot be meant would show black, white or one grey: another is taken, with a note."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph


def assert_percentile_window(path, values, note):
    """The image is the percentile window of the values, and a note says why."""
    image, metadata = read_radiograph(path)
    low, high = np.percentile(values, (0.5, 99.5), method="inverted_cdf")
    np.testing.assert_allclose(image[0], np.clip((values - low) / (high - low), 0, 1), atol=1e-5)
    assert metadata["window"]["kind"] == "percentile"
    assert [note in said for said in metadata["notes"]] == [True]


SMALL_PART = "the pixels take a small part of the range that the header states"


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("offset", [0, 20000])
def test_a_few_bits_in_16(picture, write_dicom, bits, offset):
    values = (picture * 2.0 ** (bits - 12) + offset).astype(np.uint16)
    assert_percentile_window(write_dicom(values, BitsStored=16), values.astype(float), SMALL_PART)


def test_a_few_bits_in_16_with_a_sign(picture, write_dicom):
    """They would all be the same grey, in the middle."""
    values = (picture.astype(np.int32) - 1024).astype(np.int16)
    assert_percentile_window(write_dicom(values, BitsStored=16), values.astype(float), SMALL_PART)


def test_a_burnt_in_letter_does_not_hide_it(picture, write_dicom):
    values = picture.copy()
    values[-2:, -6:] = 65535
    image, metadata = read_radiograph(write_dicom(values, BitsStored=16))
    assert metadata["window"]["high"] < 4096
    assert image[0, :-4].max() > 0.8


def test_padding_does_not_hide_it(picture, write_dicom):
    values = picture.copy()
    values[:, :10] = 65535
    path = write_dicom(values, BitsStored=16, PixelPaddingValue=65535)
    assert read_radiograph(path)[1]["window"]["high"] < 4096


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (np.arange(3072).reshape(48, 64) + 100, {}),
        (np.arange(3072).reshape(48, 64) * 8, {"BitsStored": 16}),  # 15 of 16 bits: half of the range
        (np.full((48, 64), 77), {"BitsStored": 16}),
    ],
    ids=["three quarters", "three eighths", "one value"],
)
def test_a_range_that_is_used_stays(write_dicom, values, attributes):
    path = write_dicom(values.astype(np.uint16), **attributes)
    image, metadata = read_radiograph(path)
    top = 2.0 ** attributes.get("BitsStored", 12) - 1
    np.testing.assert_allclose(image[0], values / top, atol=1e-6)
    assert metadata["window"] == {"kind": "bits_stored", "low": 0.0, "high": top}
    assert metadata["notes"] == []


def test_a_rescale_into_a_wide_range_is_no_matter(picture, write_dicom):
    """It moves limits and values alike."""
    path = write_dicom(picture, RescaleSlope="0.001", RescaleIntercept="7")
    assert read_radiograph(path)[1]["notes"] == []


BESIDE = {
    "below all": {"WindowCenter": "3174", "WindowWidth": "2426"},
    "above all": {"WindowCenter": "60000", "WindowWidth": "1000"},
    "between a black border and the rest": {"WindowCenter": "5000", "WindowWidth": "4000"},
    "exact": {"WindowCenter": "3174", "WindowWidth": "2426", "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": "3174", "WindowWidth": "1000", "VOILUTFunction": "SIGMOID"},
}


@pytest.mark.parametrize("window", BESIDE.values(), ids=BESIDE.keys())
def test_a_window_that_holds_no_pixel_is_passed_over(picture, write_dicom, window):
    values = (picture * 7 + 12000).astype(np.uint16)
    values[:, :4] = 0
    image, metadata = read_radiograph(write_dicom(values, BitsStored=16, **window))
    np.testing.assert_allclose(image[0], values / 65535, atol=1e-6)
    assert metadata["window"]["kind"] == "bits_stored"
    assert [note.split(" of centre")[0] for note in metadata["notes"]] == ["the window"]
    assert "holds no pixel" in metadata["notes"][0]


def test_one_bright_pixel_does_not_save_a_window(write_dicom):
    values = np.random.default_rng(0).integers(1000, 3000, (200, 200)).astype(np.uint16)
    values[0, 0] = 4000
    path = write_dicom(values, WindowCenter="4000", WindowWidth="100")
    assert "holds no pixel" in read_radiograph(path)[1]["notes"][0]


def test_the_next_window_takes_its_place(picture, write_dicom):
    path = write_dicom(picture, WindowCenter=["30000", "2048"], WindowWidth=["100", "4096"])
    window = read_radiograph(path)[1]["window"]
    assert (window["index"], window["centre"]) == (1, 2048)


def test_for_processing_falls_back_on_percentiles(picture, write_dicom):
    path = write_dicom(picture, WindowCenter="30000", WindowWidth="100", PresentationIntentType="FOR PROCESSING")
    assert_percentile_window(path, picture.astype(float), "holds no pixel")


def test_a_window_for_16_bits_over_pixels_of_12(picture, write_dicom):
    path = write_dicom(picture, WindowCenter="32768", WindowWidth="65536")
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-6)
    assert "shows the pixels within a small part of it" in metadata["notes"][0]
    four_times = write_dicom(picture, WindowCenter="8192", WindowWidth="16384")
    assert read_radiograph(four_times)[1]["window"]["kind"] == "window"  # dim, and somebody's choice


def test_an_unknown_voi_function_is_taken_for_linear(picture, write_dicom):
    window = {"WindowCenter": "2000", "WindowWidth": "3000"}
    image, metadata = read_radiograph(write_dicom(picture, VOILUTFunction="CUBIC", **window))
    np.testing.assert_array_equal(image, read_radiograph(write_dicom(picture, "linear.dcm", **window))[0])
    assert metadata["notes"] == ["VOILUTFunction is none of LINEAR, LINEAR_EXACT, SIGMOID; LINEAR was taken"]


# --- linear in X-ray intensity --------------------------------------------------------------------------------------

LENGTH = np.linspace(0, 5, 3072).reshape(48, 64)  # of body, in lengths that weaken the beam to 1/e
INTENSITY = np.round(60000 * np.exp(-LENGTH)).astype(np.uint16)


@pytest.mark.parametrize("stated", [True, False], ids=["sign stated", "sign from polarity"])
@pytest.mark.parametrize("sign", [1, -1])
def test_pixels_linear_in_intensity_become_even_in_density(write_dicom, sign, stated):
    pixels = INTENSITY if sign == 1 else 65535 - INTENSITY
    path = write_dicom(
        pixels,
        BitsStored=16,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship="LIN",
        PhotometricInterpretation="MONOCHROME1" if sign == 1 else "MONOCHROME2",
        **({"PixelIntensityRelationshipSign": sign} if stated else {}),
    )
    image, metadata = read_radiograph(path)
    low, high = np.percentile(LENGTH, (0.5, 99.5))
    np.testing.assert_allclose(image[0], np.clip((LENGTH - low) / (high - low), 0, 1), atol=0.01)
    assert metadata["notes"] == ["the pixels are linear in X-ray intensity; their logarithm was taken"]
    assert 0 < metadata["window"]["low"] < metadata["window"]["high"] < 65536


@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelIntensityRelationship": "LOG", "PresentationIntentType": "FOR PROCESSING"},
        {"PresentationIntentType": "FOR PROCESSING"},
    ],
)
def test_other_pixels_are_taken_as_they_are(picture, write_dicom, attributes):
    image, metadata = read_radiograph(write_dicom(picture, **attributes))
    window = metadata["window"]
    expected = np.clip((picture - window["low"]) / (window["high"] - window["low"]), 0, 1)
    np.testing.assert_allclose(image[0], expected, atol=1e-6)
    assert metadata["notes"] == []


def test_what_is_for_presentation_is_not_logged(picture, write_dicom):
    path = write_dicom(picture, PixelIntensityRelationship="LIN")
    np.testing.assert_allclose(read_radiograph(path)[0][0], picture / 4095, atol=1e-6)


# --- nothing to be seen ---------------------------------------------------------------------------------------------


STATED = {"black and white": (2000, 2001), "one grey": (-1e9, 1e9)}


def test_a_window_that_leaves_black_and_white_alone_is_noted(write_dicom):
    values = np.random.default_rng(0).choice([1000, 2000, 3000], (40, 50)).astype(np.uint16)
    path = write_dicom(values, WindowCenter="2000.5", WindowWidth="1")
    image, metadata = read_radiograph(path)
    assert set(image.ravel().tolist()) == {0.0, 1.0}
    assert metadata["window"]["kind"] == "window"
    assert "next to nothing" in metadata["notes"][0]


@pytest.mark.parametrize("kind", STATED)
def test_an_image_that_shows_nothing_is_noted_and_refused_in_training(write_dicom, caplog, kind):
    noise = np.random.default_rng(0).integers(0, 4096, (200, 200)).astype(np.uint16)
    path, options = write_dicom(noise), {"value_range": STATED[kind]}
    _, metadata = read_radiograph(path, ReadingOptions(**options))
    assert any("next to nothing of the image is to be seen" in note for note in metadata["notes"])
    assert "next to nothing" in caplog.text
    with pytest.raises(RadiographError, match=r"next to nothing .* State the reading#value_range"):
        read_radiograph(path, ReadingOptions(flat="refuse", **options))


@pytest.mark.parametrize("kind", STATED)
@pytest.mark.parametrize("name", ["a.png", "a.mha"])
def test_other_formats_are_looked_at_too(tmp_path, name, kind):
    from tests.reading.files import write_itk

    noise = np.random.default_rng(0).integers(0, 4096, (100, 100)).astype(np.uint16)
    path = write_itk(noise, tmp_path / name)
    _, metadata = read_radiograph(path, ReadingOptions(value_range=STATED[kind]))
    assert "next to nothing" in metadata["notes"][-1]
    with pytest.raises(RadiographError, match="next to nothing"):
        read_radiograph(path, ReadingOptions(flat="refuse", value_range=STATED[kind]))


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((20, 30), 77),
        np.kron(np.eye(4, dtype=int) * 4095, np.ones((9, 9), int)),
        np.arange(600).reshape(20, 30) * 6,
    ],
    ids=["one value", "two values", "a gradient"],
)
def test_an_image_that_shows_what_it_holds_is_not_refused(write_dicom, pixels):
    path = write_dicom(pixels.astype(np.uint16))
    assert read_radiograph(path, ReadingOptions(flat="refuse"))[1]["notes"] == []


def test_flat_is_noted_or_refused():
    with pytest.raises(ValueError, match='"note" or "refuse"'):
        ReadingOptions(flat="ignore")
