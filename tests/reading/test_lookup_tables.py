"""Lookup tables that say one thing and hold another: the sign of their inputs, the range of their outputs."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph

RAMP = np.linspace(0, 65535, 4096).round().astype("<u2")
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def table(descriptor, entries, vr="US", big_endian=False):
    """An item of a LUT Sequence whose descriptor is written in some VR; entries are 16-bit words, or bytes."""
    item = Dataset()
    if vr == "UN":
        descriptor = struct.pack(">3H" if big_endian else "<3H", *(value % 2**16 for value in descriptor))
    item.add_new("LUTDescriptor", vr, descriptor)
    if isinstance(entries, bytes):
        item.add_new("LUTData", "OB", entries)
    else:
        item.add_new("LUTData", "OW", np.asarray(entries).astype(">u2" if big_endian else "<u2").tobytes())
    return item


def greys(path, **arguments):
    return read_radiograph(path, ReadingOptions(**arguments))[0][0]


@pytest.mark.parametrize("vr", ["US", "SS", "UN"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_voi_lut_whose_first_input_is_below_zero(picture, write_dicom, syntax, vr):
    """FC00 is -1024 where values go from -1024, whatever VR it is written in; Implicit VR has none."""
    first = -1024 if vr == "SS" else 0xFC00
    lut = table([4096, first, 16], RAMP, vr, big_endian=syntax == ExplicitVRBigEndian)
    path = write_dicom(picture, syntax=syntax, RescaleSlope="1", RescaleIntercept="-1024", VOILUTSequence=[lut])
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-5)
    assert metadata["window"] == {"kind": "voi_lut", "index": 0, "bits": 16, "first": -1024}
    assert metadata["notes"] == []


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_a_voi_lut_whose_first_input_is_above_32767(picture, write_dicom, vr):
    """The same 16 bits are 64512 where the values are there."""
    stored = (picture // 4 + 64512).astype(np.uint16)
    lut = table([1024, 0xFC00 if vr == "US" else -1024, 16], RAMP[::4], vr)
    path = write_dicom(stored, BitsStored=16, VOILUTSequence=[lut])
    np.testing.assert_allclose(greys(path), RAMP[::4][picture // 4] / 65535, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
def test_the_first_input_of_a_modality_lut_has_the_sign_of_the_pixels(picture, write_dicom, signed):
    """From -2048 on, written as US; in an unsigned image the same bits are 63488."""
    if signed:
        path = write_dicom((picture.astype(np.int32) - 2048).astype(np.int16), ModalityLUTSequence=[])
    else:
        path = write_dicom((picture // 2 + 63488).astype(np.uint16), BitsStored=16, ModalityLUTSequence=[])
    dataset = dcmread(path)
    dataset.ModalityLUTSequence = [table([4096, 63488, 16], RAMP if signed else np.repeat(RAMP[::2], 2)[:4096])]
    dataset.save_as(path)
    expected = picture / 4095 if signed else np.repeat(RAMP[::2], 2)[picture // 2] / 65535
    np.testing.assert_allclose(greys(path, value_range=(0, 65535)), expected, atol=1e-5)


def test_a_table_of_many_entries_from_below_zero(write_dicom):
    stored = np.array([[-100, 0], [1000, 3995]], dtype=np.int16)
    entries = np.minimum(np.arange(40000) * 16, 65535)
    path = write_dicom(stored, BitsStored=16, VOILUTSequence=[table([40000, 65436, 16], entries)])
    np.testing.assert_allclose(greys(path), np.minimum((stored + 100.0) * 16, 65535) / 65535, atol=1e-6)


NARROW = {  # stated bits, entries, the range that they are in
    "12 bits in 16": (16, np.arange(4096), 4095),
    "10 bits in 16": (16, np.arange(4096) // 4, 1023),
    "14 bits in 16": (16, np.arange(4096) * 4, 16383),
    "8 bits in 12": (12, np.arange(4096) // 16, 255),
    "not to the end of 12 in 16": (16, np.arange(4096) * 3 // 4, 4095),
    "12 bits in 8": (8, np.arange(4096), 4095),
    "15 bits in 16: not far below": (16, np.arange(4096) * 8, 65535),
}


@pytest.mark.parametrize(("bits", "entries", "top"), NARROW.values(), ids=NARROW.keys())
@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_the_range_of_a_table_is_that_of_its_entries(picture, write_dicom, kind, bits, entries, top):
    path = write_dicom(picture, **{kind: [table([4096, 0, bits], entries)]})
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], entries[picture] / top, atol=1e-6)
    assert bool(metadata["notes"]) is (top != 2**bits - 1)


def test_the_range_of_a_falling_table(picture, write_dicom):
    path = write_dicom(picture, VOILUTSequence=[table([4096, 0, 16], np.arange(4096)[::-1])])
    np.testing.assert_allclose(greys(path), 1 - picture / 4095, atol=1e-6)


def test_a_few_entries_above_the_stated_bits_are_clipped(picture, write_dicom):
    """4096 of 12 bits at the very end: another bit would halve all others."""
    entries = np.arange(1, 4097)
    path = write_dicom(picture, VOILUTSequence=[table([4096, 0, 12], entries)])
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], np.minimum(picture + 1.0, 4095) / 4095, atol=1e-6)
    assert metadata["notes"] == ["VOI LUT: 1 of 4096 entries are above its 12 bits; they were clipped"]


def test_bytes_for_entries_under_16_stated_bits(picture, write_dicom):
    entries = (np.arange(4096) // 16).astype(np.uint8)
    path = write_dicom(picture, VOILUTSequence=[table([4096, 0, 16], entries.tobytes())])
    np.testing.assert_allclose(greys(path), (picture // 16) / 255, atol=1e-6)


@pytest.mark.parametrize("falling", [False, True])
def test_a_table_for_16_bits_over_pixels_of_12_keeps_its_direction(picture, write_dicom, falling):
    """A ramp of 65,536 entries, of which the pixels use a sixteenth."""
    ramp = np.arange(65536)
    path = write_dicom(
        picture,
        syntax=ImplicitVRLittleEndian,
        BitsStored=16,
        VOILUTSequence=[table([0, 0, 16], ramp[::-1] if falling else ramp)],
    )
    image, metadata = read_radiograph(path)
    low, high = np.percentile(picture.astype(float), (0.5, 99.5), method="inverted_cdf")
    shown = np.clip((picture - low) / (high - low), 0, 1)
    np.testing.assert_allclose(image[0], 1 - shown if falling else shown, atol=0.02)
    assert metadata["window"]["kind"] == "voi_lut"
    assert metadata["window"]["low"] < metadata["window"]["high"]
    assert "small part of the VOI LUT's range" in metadata["notes"][0]


def test_a_voi_lut_that_holds_no_pixel_is_passed_over(picture, write_dicom):
    beside = table([1024, 20000, 16], RAMP[::4])
    path = write_dicom(picture, VOILUTSequence=[beside])
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-6)
    assert metadata["notes"] == ["the VOI LUT from 20000 to 21023 holds no pixel; it was passed over"]
    both = write_dicom(picture, VOILUTSequence=[beside, table([4096, 0, 16], RAMP[::-1])])
    assert read_radiograph(both)[1]["window"] == {"kind": "voi_lut", "index": 1, "bits": 16}
    window = write_dicom(picture, VOILUTSequence=[beside], WindowCenter="2048", WindowWidth="4096")
    assert read_radiograph(window)[1]["window"]["kind"] == "window"


def test_an_item_without_entries_is_passed_over(picture, write_dicom):
    empty = Dataset()
    empty.LUTExplanation = "NONE"
    path = write_dicom(picture, VOILUTSequence=[empty, table([4096, 0, 16], RAMP)])
    image, metadata = read_radiograph(path)
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-5)
    assert metadata["window"]["index"] == 1
    assert "1 of 2 VOI LUTs hold no entries" in metadata["notes"][0]
    with pytest.raises(RadiographError, match="voi_index is 1, but the file has 1"):
        read_radiograph(path, ReadingOptions(voi_index=1))
