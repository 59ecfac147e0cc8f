"""Radiographs written for the tests: one asymmetric picture in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

WriteDicom = Callable[..., Path]

PYDICOM_WRITES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
)
GDCM_WRITES = {
    JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
    JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    JPEGBaseline8Bit: gdcm.TransferSyntax.JPEGBaselineProcess1,
}


@pytest.fixture
def picture() -> np.ndarray[Any, Any]:
    """12-bit values (48, 64), different in every corner, smooth enough for a lossy codec."""
    rows, columns = np.mgrid[0:48, 0:64]
    values = 400 + 30 * rows + 20 * columns  # brighter downwards and to the right
    values[4:12, 6:18] = 3600  # a bright block at the top left
    return values.astype(np.uint16)


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    """A function that writes pixels as a DX image and returns the file."""

    def write(
        pixels: np.ndarray[Any, Any], name: str = "image.dcm", syntax: UID = ExplicitVRLittleEndian, **attributes: Any
    ) -> Path:
        """Attributes override or, where None, take out the usual ones."""
        path = tmp_path / name
        header = dx_header(pixels, attributes)
        if syntax in PYDICOM_WRITES[-2:]:
            header.compress(syntax, generate_instance_uid=False)
            header.save_as(path, enforce_file_format=True)
        elif syntax in GDCM_WRITES:
            header.save_as(path, enforce_file_format=True)
            transcode(path, GDCM_WRITES[syntax])
        else:
            header.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian and "PixelData" in header and header.BitsAllocated == 16:
                header.PixelData = np.frombuffer(header.PixelData, "<u2").astype(">u2").tobytes()
            header.save_as(path, enforce_file_format=True)
        return path

    return write


def dx_header(pixels: np.ndarray[Any, Any], attributes: dict[str, Any]) -> Dataset:
    """A Digital X-Ray image as a data set: 12 of 16 bits, or 8 of 8, MONOCHROME2, without a window."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    header.PatientName = "Secret^Name"
    header.PatientID = "SECRET-ID"
    header.Modality = "DX"
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = 8 * pixels.dtype.itemsize
    header.BitsStored = 12 if pixels.dtype.itemsize == 2 else header.BitsAllocated
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelSpacing = [0.2, 0.1]
    header.PixelData = pixels.tobytes()
    header["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    for keyword, value in attributes.items():
        if value is None:
            del header[keyword]
        else:
            setattr(header, keyword, value)
    if "BitsStored" in attributes and "HighBit" not in attributes:
        header.HighBit = header.BitsStored - 1
    return header


def transcode(path: Path, syntax: int) -> None:
    """Writes a file again in another transfer syntax, by GDCM."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.fixture(scope="session")
def lut_item() -> Callable[[list[int], list[int]], Dataset]:
    """A function that makes an item of a Modality or VOI LUT Sequence: descriptor and 16-bit entries."""

    def make(descriptor: list[int], entries: list[int]) -> Dataset:
        item = Dataset()
        item.add_new("LUTDescriptor", "SS" if descriptor[1] < 0 else "US", descriptor)
        item.add_new("LUTData", "US", entries)
        return item

    return make
