"""JPEG Extended of 12 bits, which pydicom's plugins refuse."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame

from bundle.reading.decode_worker import DecodingError, decode_extended
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph


def test_jpeg_extended_of_12_bits():
    """The two values are those that pydicom's own tests have from another decoder."""
    image, metadata = read_radiograph(get_testdata_file("JPEG-lossy.dcm"), ReadingOptions(value_range=(0, 4095)))
    assert image.shape == (1, 1024, 256)
    assert np.round(image[0, [420, 230], [140, 120]] * 4095).tolist() == [244, 95]
    assert metadata["transfer_syntax"] == "1.2.840.10008.1.2.4.51"


def test_what_does_not_decode_is_refused(tmp_path):
    dataset = dcmread(get_testdata_file("JPEG-lossy.dcm"))
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    with pytest.raises(DecodingError, match="GDCM does not decode"):
        decode_extended(stream[:300], 1024, 256, 12)
    tables = stream.index(b"\xff\xc4")
    damaged = stream[: tables + 4] + b"\xff" * 30 + stream[tables + 34 :]
    dataset.PixelData = encapsulate([damaged])
    dataset.save_as(tmp_path / "damaged.dcm")
    with pytest.raises(RadiographError, match="JPEG Extended"):
        read_radiograph(tmp_path / "damaged.dcm")
