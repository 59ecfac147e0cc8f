"""Hand-computed greys: every step from stored value to 0..1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph

STORED = np.array([[0, 1024], [2048, 4095]], dtype=np.uint16)


def shown(path, **arguments):
    """The greys of a file, (H, W)."""
    return read_radiograph(path, ReadingOptions(**arguments))[0][0]


WINDOWS = {
    # name: (attributes, greys of 0, 1024, 2048, 4095)
    "LINEAR, the whole range": (
        {"WindowCenter": "2048", "WindowWidth": "4096"},
        [0, (1024 - 2047.5) / 4095 + 0.5, (2048 - 2047.5) / 4095 + 0.5, 1],
    ),
    "LINEAR, clipped": (
        {"WindowCenter": "1536.5", "WindowWidth": "1025", "VOILUTFunction": "LINEAR"},
        [0, 0, 1, 1],
    ),
    "LINEAR, width 1, a step": ({"WindowCenter": "1024.5", "WindowWidth": "1"}, [0, 0, 1, 1]),
    "LINEAR_EXACT": (
        {"WindowCenter": "2048", "WindowWidth": "4096", "VOILUTFunction": "LINEAR_EXACT"},
        [0, 0.25, 0.5, 4095 / 4096],
    ),
    "SIGMOID": (
        {"WindowCenter": "2048", "WindowWidth": "4096", "VOILUTFunction": "SIGMOID"},
        [1 / (1 + math.exp(2)), 1 / (1 + math.exp(1)), 0.5, 1 / (1 + math.exp(-4 * 2047 / 4096))],
    ),
    "the first of several": (
        {"WindowCenter": ["2048", "100"], "WindowWidth": ["4096", "10"], "VOILUTFunction": "LINEAR_EXACT"},
        [0, 0.25, 0.5, 4095 / 4096],
    ),
    "a first one of width 0 is passed over": (
        {"WindowCenter": ["5", "2048"], "WindowWidth": ["0", "4096"], "VOILUTFunction": "LINEAR_EXACT"},
        [0, 0.25, 0.5, 4095 / 4096],
    ),
    "more centres than widths": (
        {"WindowCenter": ["2048", "1"], "WindowWidth": "4096", "VOILUTFunction": "LINEAR_EXACT"},
        [0, 0.25, 0.5, 4095 / 4096],
    ),
    "empty window tags": ({"WindowCenter": "", "WindowWidth": ""}, [0, 1024 / 4095, 2048 / 4095, 1]),
    "an empty VOI LUT Sequence": ({"VOILUTSequence": []}, [0, 1024 / 4095, 2048 / 4095, 1]),
    "a negative width": ({"WindowCenter": "5", "WindowWidth": "-3"}, [0, 1024 / 4095, 2048 / 4095, 1]),
    "a window in rescaled units": (
        {
            "RescaleSlope": "0.5",
            "RescaleIntercept": "-1024",
            "WindowCenter": "0",
            "WindowWidth": "2048",
            "VOILUTFunction": "LINEAR_EXACT",
        },
        [0, 0.25, 0.5, (4095 * 0.5 - 1024) / 2048 + 0.5],
    ),
    "a falling rescale": (
        {"RescaleSlope": "-1", "RescaleIntercept": "0"},
        [1, 1 - 1024 / 4095, 1 - 2048 / 4095, 0],
    ),
    "10 of 16 bits": (
        {"BitsStored": 10, "PixelData": np.array([0, 1, 512, 1023], "<u2").tobytes()},
        [0, 1 / 1023, 512 / 1023, 1],
    ),
}


@pytest.mark.parametrize(("attributes", "greys"), WINDOWS.values(), ids=WINDOWS.keys())
def test_windows(write_dicom, attributes, greys):
    path = write_dicom(STORED, **attributes)
    np.testing.assert_allclose(shown(path).ravel(), greys, atol=1e-6)
    twin = write_dicom(STORED, "twin.dcm", PhotometricInterpretation="MONOCHROME1", **attributes)
    np.testing.assert_allclose(shown(twin).ravel(), 1 - np.asarray(greys), atol=1e-6)


def test_a_monochrome1_twin_reads_like_its_monochrome2(picture, write_dicom):
    window = {"WindowWidth": "3000", "VOILUTFunction": "LINEAR_EXACT"}
    one = write_dicom(picture, "two.dcm", WindowCenter="2000", **window)
    twin = write_dicom(
        (4095 - picture).astype(np.uint16),
        "one.dcm",
        WindowCenter="2095",
        PhotometricInterpretation="MONOCHROME1",
        **window,
    )
    np.testing.assert_allclose(shown(one), shown(twin), atol=1e-6)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_inversion_happens_once(write_dicom, photometric, shape, inverted):
    attributes = {"PresentationLUTShape": shape} if shape else {}
    path = write_dicom(STORED, PhotometricInterpretation=photometric, **attributes)
    image, metadata = read_radiograph(path)
    greys = np.array([0, 1024 / 4095, 2048 / 4095, 1])
    np.testing.assert_allclose(image.ravel(), 1 - greys if inverted else greys, atol=1e-6)
    assert metadata["inverted"] is inverted


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_modality_lut(write_dicom, lut_item, syntax):
    """Entries for 10, 11, 12 and 13; 12 bits: below and above go the first and the last."""
    stored = np.array([[9, 10, 11], [12, 13, 4000]], dtype=np.uint16)
    path = write_dicom(stored, syntax=syntax, ModalityLUTSequence=[lut_item([4, 10, 12], [0, 1000, 2000, 4095])])
    np.testing.assert_allclose(shown(path) * 4095, [[0, 0, 1000], [2000, 4095, 4095]], atol=1e-3)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_voi_lut_of_8_bits_and_4096_entries(write_dicom, lut_item, syntax):
    """The table that pydicom's apply_voi wraps at 256."""
    path = write_dicom(STORED, syntax=syntax, VOILUTSequence=[lut_item([4096, 0, 8], [i // 16 for i in range(4096)])])
    np.testing.assert_allclose(shown(path).ravel(), [0, 64 / 255, 128 / 255, 1], atol=1e-6)


def test_a_voi_lut_packed_two_entries_to_a_word(write_dicom, lut_item):
    path = write_dicom(np.array([[0, 1], [2, 3]], np.uint16), VOILUTSequence=[lut_item([4, 0, 8], [0x3300, 0xFF66])])
    np.testing.assert_allclose(shown(path).ravel(), [0, 0.2, 0.4, 1], atol=1e-6)


def test_a_voi_lut_after_a_rescale_starts_below_zero(write_dicom, lut_item):
    path = write_dicom(
        np.array([[0, 1], [2, 3]], np.uint16),
        RescaleSlope="1",
        RescaleIntercept="-2",
        VOILUTSequence=[lut_item([3, -1, 8], [51, 102, 255])],
    )
    np.testing.assert_allclose(shown(path).ravel(), [0.2, 0.2, 0.4, 1], atol=1e-6)


def test_65536_entries_are_written_as_0(write_dicom, lut_item):
    stored = np.array([[0, 32768], [65534, 65535]], np.uint16)
    lut = lut_item([0, 0, 16], [65535 - i for i in range(65536)])
    path = write_dicom(stored, BitsStored=16, VOILUTSequence=[lut], syntax=ImplicitVRLittleEndian)
    np.testing.assert_allclose(shown(path).ravel(), [1, 32767 / 65535, 1 / 65535, 0], atol=1e-6)


def test_the_choice_among_luts_and_windows(write_dicom, lut_item):
    path = write_dicom(
        np.array([[0, 1], [2, 3]], np.uint16),
        VOILUTSequence=[lut_item([4, 0, 8], [0, 51, 102, 255]), lut_item([4, 0, 8], [255, 102, 51, 0])],
        WindowCenter=["2", "1"],
        WindowWidth=["4", "2"],
        VOILUTFunction="LINEAR_EXACT",
    )
    np.testing.assert_allclose(shown(path).ravel(), [0, 0.2, 0.4, 1], atol=1e-6)
    np.testing.assert_allclose(shown(path, voi_index=1).ravel(), [1, 0.4, 0.2, 0], atol=1e-6)
    np.testing.assert_allclose(shown(path, prefer_lut=False).ravel(), [0, 0.25, 0.5, 0.75], atol=1e-6)
    np.testing.assert_allclose(shown(path, prefer_lut=False, voi_index=1).ravel(), [0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(shown(path, value_range=(1, 3)).ravel(), [0, 0, 0.5, 1], atol=1e-6)
    with pytest.raises(RadiographError, match="voi_index is 2, but the file has 2"):
        read_radiograph(path, ReadingOptions(voi_index=2))


@pytest.mark.parametrize(
    ("descriptor", "entries", "message"),
    [
        ([4, 0, 8], [0], "holds 2 entries; its LUTDescriptor names 4"),
        ([4, 0, 20], [0, 1, 2, 3], "20 bits an entry"),
        ([4, 0], [0, 1, 2, 3], "three values"),
    ],
)
def test_luts_that_contradict_themselves(write_dicom, lut_item, descriptor, entries, message):
    with pytest.raises(RadiographError, match=message):
        read_radiograph(write_dicom(STORED, VOILUTSequence=[lut_item(descriptor, entries)]))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(write_dicom, photometric):
    path = write_dicom(STORED, PhotometricInterpretation=photometric, PixelPaddingValue=0, PixelPaddingRangeLimit=1024)
    grey = 2048 / 4095
    expected = [0, 0, 1 - grey, 0] if photometric == "MONOCHROME1" else [0, 0, grey, 1]
    np.testing.assert_allclose(shown(path).ravel(), expected, atol=1e-6)


def test_signed_padding(write_dicom):
    path = write_dicom(np.array([[-2000, 0], [100, 2047]], np.int16), PixelPaddingValue=-2000)
    np.testing.assert_allclose(shown(path).ravel(), [0, 2048 / 4095, 2148 / 4095, 1], atol=1e-6)


def test_for_processing_takes_the_percentile_window_without_its_padding(write_dicom):
    """1000 pixels of 0..999: the 5th is 4, the 995th is 994; as many pixels of padding change neither."""
    stored = np.concatenate([np.arange(1000), np.full(1000, 4000)]).astype(np.uint16).reshape(40, 50)
    path = write_dicom(stored, PresentationIntentType="FOR PROCESSING", PixelPaddingValue=4000)
    image, metadata = read_radiograph(path)
    assert metadata["window"] == {"kind": "percentile", "percentiles": [0.5, 99.5], "low": 4.0, "high": 994.0}
    expected = np.clip((np.arange(1000) - 4) / 990, 0, 1)
    np.testing.assert_allclose(image.ravel()[:1000], expected, atol=1e-6)
    assert not image.ravel()[1000:].any()
    _, wide = read_radiograph(path, ReadingOptions(percentiles=(0, 100)))
    assert (wide["window"]["low"], wide["window"]["high"]) == (0, 999)


def test_for_processing_with_a_window_takes_the_window(write_dicom):
    path = write_dicom(STORED, PresentationIntentType="FOR PROCESSING", WindowCenter="2048", WindowWidth="4096")
    assert read_radiograph(path)[1]["window"]["kind"] == "window"


def test_a_constant_image_for_processing_is_zero(write_dicom):
    path = write_dicom(np.full((4, 5), 77, np.uint16), PresentationIntentType="FOR PROCESSING")
    assert not shown(path).any()


def test_bits_outside_bits_stored_are_ignored(write_dicom):
    path = write_dicom(STORED | 0xF000)
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image.ravel(), [0, 1024 / 4095, 2048 / 4095, 1], atol=1e-6)
    assert metadata["notes"] == ["bits outside BitsStored are set; they were ignored"]


def test_a_high_bit_at_the_top(write_dicom):
    path = write_dicom(STORED << 4, HighBit=15)
    np.testing.assert_allclose(shown(path).ravel(), [0, 1024 / 4095, 2048 / 4095, 1], atol=1e-6)


def test_32_bit_integers(write_dicom):
    stored = np.array([[0, 2**30], [2**31, 2**32 - 1]], dtype=np.uint32)
    np.testing.assert_allclose(shown(write_dicom(stored)).ravel(), [0, 0.25, 0.5, 1], atol=1e-6)


def test_float_pixels_take_the_percentile_window(write_dicom):
    values = np.linspace(-3, 5, 2000, dtype=np.float32).reshape(40, 50)
    values[0, 1] = np.nan
    path = write_dicom(
        values,
        PixelData=None,
        FloatPixelData=values.tobytes(),
        BitsAllocated=32,
        BitsStored=None,
        HighBit=None,
        PixelRepresentation=None,
        PhotometricInterpretation="MONOCHROME1",
    )
    image, metadata = read_radiograph(path)
    assert metadata["window"]["kind"] == "percentile"
    assert metadata["bits_stored"] is None
    assert (image[0, 0, 0], image[0, 0, 1], image[0, -1, -1]) == (1, 0, 0)


def test_a_window_that_is_no_number(write_dicom):
    path = write_dicom(STORED, WindowCenter="2048", WindowWidth="4096")
    data = path.read_bytes()
    assert data.count(b"4096") == 1
    path.write_bytes(data.replace(b"4096", b"wide"))
    with pytest.raises(RadiographError, match="WindowWidth"):
        read_radiograph(path)
