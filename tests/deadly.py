"""A DICOM file that ends the process in which it is decoded."""

from __future__ import annotations

import struct
from io import BytesIO

from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1


def deadly(radiograph: bytes) -> bytes:
    """A DICOM file of 16 bits allocated again, its pixels a JPEG Lossless stream with bytes between two segments.

    All of its headers are in order and state the radiograph's own size. GDCM aborts over it.
    """
    dataset = dcmread(BytesIO(radiograph))
    frame = struct.pack(">BHHBBBB", 16, dataset.Rows, dataset.Columns, 1, 1, 0x11, 0)  # ITU-T T.81 B.2.2
    scan = bytes([1, 1, 0, 1, 0, 0])  # B.2.3
    stream = b"\xff\xd8\xff\xc3" + struct.pack(">H", 2 + len(frame)) + frame
    stream += bytes(4) + b"\xff\xda" + struct.pack(">H", 2 + len(scan)) + scan + bytes(100) + b"\xff\xd9"
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
