"""Whatever bytes a compressed file holds, reading it gives a radiograph or says why not, and the process lives."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from bundle.reading import RadiographError, read_radiograph
from tests.reading.files import write_itk

SYNTAXES = {
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG baseline": JPEGBaseline8Bit,
    "JPEG 2000": JPEG2000Lossless,
    "RLE": RLELossless,
}
EACH = 45


def mutated(stream: bytes, rng: np.random.Generator) -> bytes:
    """A stream with 1 to 3 bytes changed, half of them among its first 100, where its headers are."""
    changed = bytearray(stream)
    for _ in range(rng.integers(1, 4)):
        changed[rng.integers(2, min(100, len(stream)) if rng.random() < 0.5 else len(stream))] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("name", [*SYNTAXES, "PNG", "TIFF", "JPEG file"])
def test_no_stream_ends_the_process(picture, write_dicom, tmp_path, caplog, name):
    caplog.set_level(logging.CRITICAL)
    rng = np.random.default_rng(4)
    pixels = (picture >> 4).astype(np.uint8) if "JPEG b" in name or "file" in name else picture
    if name in SYNTAXES:
        path = write_dicom(pixels, syntax=SYNTAXES[name])
        dataset = dcmread(path)
        stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    else:
        path = write_itk(pixels, tmp_path / {"PNG": "a.png", "TIFF": "a.tif", "JPEG file": "a.jpg"}[name])
        stream = path.read_bytes()
    shape = read_radiograph(path)[0].shape
    outcomes: Counter[str] = Counter()
    for _ in range(EACH):
        if name in SYNTAXES:
            dataset.PixelData = encapsulate([mutated(stream, rng)])
            dataset.save_as(path)
        else:
            path.write_bytes(mutated(stream, rng))
        try:
            image, _ = read_radiograph(path)
        except RadiographError as error:
            outcomes["ended" if "was ended by" in str(error) else "refused"] += 1
        else:
            outcomes["read"] += 1
            assert np.isfinite(image).all()
            assert name not in SYNTAXES or image.shape == shape
    assert outcomes["refused"]
