"""Small files that claim, or hold, gigabytes are refused before they take them."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from bundle.reading import dicom_image
from bundle.reading.dicom_header import MAX_HEADER_BYTES
from bundle.reading.jpeg_frame import jpeg2000_fault
from bundle.reading.radiograph import RadiographError, read_radiograph, stored_size

MB = 1_000_000


def peak(work: Callable[[], object]) -> int:
    """Bytes that some work takes at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def deflate_zeros(path: Path, tag: tuple[int, int], count: int) -> None:
    """Puts an element of so many zeros into a deflated file, before or in place of its pixel data."""
    data = path.read_bytes()
    start = 132 + 12 + struct.unpack_from("<I", data, 140)[0]  # behind the file meta information
    inflated = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    parts = [deflater.compress(inflated[: inflated.index(b"\xe0\x7f\x10\x00OW")])]
    parts.append(deflater.compress(struct.pack("<HH2sHI", *tag, b"OW", 0, count)))
    parts += [deflater.compress(bytes(MB)) for _ in range(count // MB)]
    path.write_bytes(data[:start] + b"".join(parts) + deflater.flush())


def test_a_deflated_file_is_inflated_as_far_as_its_pixels_may_go(picture, write_dicom):
    path = write_dicom(picture, syntax=DeflatedExplicitVRLittleEndian)
    deflate_zeros(path, (0x7FE0, 0x0010), 200 * MB)
    assert path.stat().st_size < MB
    assert peak(lambda: stored_size(path)) < 5 * MAX_HEADER_BYTES
    with pytest.raises(RadiographError, match=r"inflated, the DICOM file holds more than the 16,006,144 bytes"):
        read_radiograph(path)

    def read() -> None:
        with pytest.raises(RadiographError):
            read_radiograph(path)

    assert peak(read) < 5 * MAX_HEADER_BYTES


def test_a_deflated_header_of_any_length_is_refused(picture, write_dicom):
    path = write_dicom(picture, syntax=DeflatedExplicitVRLittleEndian)
    deflate_zeros(path, (0x6001, 0x1010), 200 * MB)
    for function in (stored_size, read_radiograph):
        with pytest.raises(RadiographError, match="holds more than the 16,000,000 bytes"):
            function(path)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, JPEG2000Lossless])
def test_compressed_files_that_claim_too_many_pixels_are_refused(picture, write_dicom, syntax):
    path = write_dicom(picture, syntax=syntax)
    dataset = dcmread(path)
    dataset.Rows = dataset.Columns = 60000
    dataset.save_as(path)
    for function in (stored_size, read_radiograph):
        with pytest.raises(RadiographError, match=r"60000 x 60000 pixels, compressed\. Wanted at most 100 million"):
            function(path)


def test_a_jpeg_2000_stream_that_states_another_size_is_not_decoded(picture, write_dicom, monkeypatch):
    path = write_dicom(np.tile(picture, (3, 3)), syntax=JPEG2000Lossless)
    dataset = dcmread(path)
    dataset.Rows, dataset.Columns = picture.shape
    dataset.save_as(path)
    monkeypatch.setattr(dicom_image, "decode_frame", lambda *_, **__: pytest.fail("was decoded"))
    with pytest.raises(
        RadiographError, match="stream states 144 x 192 pixels of 12 bits and 1 components, the file 48"
    ):
        read_radiograph(path)


def test_a_jpeg_2000_stream_in_a_jp2_file_is_found(picture, write_dicom):
    path = write_dicom(picture, syntax=JPEG2000Lossless)
    dataset = dcmread(path)
    plain = read_radiograph(path)[0]
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    rows, columns = picture.shape
    header = struct.pack(">I4sIIHBBBB", 22, b"ihdr", rows, columns, 1, 15, 7, 0, 0)
    header += struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, 17)
    jp2 = b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jp2 ", 0, b"jp2 ")
    jp2 += struct.pack(">I4s", 8 + len(header), b"jp2h") + header
    jp2 += struct.pack(">I4s", 8 + len(stream), b"jp2c") + stream
    dataset.PixelData = encapsulate([jp2])
    dataset.save_as(path)
    assert np.array_equal(read_radiograph(path)[0], plain)
    assert "states 48 x 64" in str(jpeg2000_fault(jp2, 48, 65, 16))
    for broken in (b"", stream[:30], jp2[:60], jp2[:20] + bytes(40)):
        assert jpeg2000_fault(broken, rows, columns, 16) == "the JPEG 2000 stream has no size header"
