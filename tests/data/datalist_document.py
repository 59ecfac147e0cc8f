"""A datalist without faults in a folder with its images, for the tests to break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from bundle.data.datalist import (
    DatalistError,
    check_datalist,
)

FINDINGS = ["Atelectasis", "Effusion", "Mass"]
Document = dict[str, Any]
Write = Callable[[Any], Path]


def write_image(path: Path, rows: int = 40, columns: int = 60, **attributes: str) -> None:
    """A small DX image."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    header.Rows, header.Columns, header.SamplesPerPixel = rows, columns, 1
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    header.PhotometricInterpretation = "MONOCHROME2"
    header.PixelData = bytes(rows * columns)
    header["PixelData"].VR = "OB"
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def faults_of(path: Path, **checks: Any) -> list[str]:
    """The faults of a datalist, a line each."""
    with pytest.raises(DatalistError) as caught:
        check_datalist(path, **checks)
    return [str(fault) for fault in caught.value.faults]
