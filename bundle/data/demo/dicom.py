"""One simulated radiograph as a DICOM file (Digital X-Ray Image Storage - For Presentation)."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from bundle.atomic import atomic_path
from bundle.data.demo.simulate import MAXIMUM, Radiograph
from bundle.data.demo.subjects import LIDC, attribution

BITS = 12
_DATE, _TIME = "20000101", "120000"


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def to_dicom(radiograph: Radiograph, version: str, compress: bool = False) -> Dataset:
    """Build the DICOM data set of a radiograph.

    Pixels are 12 bits in 16, unsigned; MONOCHROME1 stores bright as low. UIDs are derived from version, seed and
    anatomy, so that the same radiograph always is the same instance. Patient, dates and device are made up, and the
    image says that it is simulated in ImageComments, DerivationDescription and ImageType.

    Args:
        radiograph: what to store.
        version: of the generator; part of the UIDs.
        compress: JPEG 2000 lossless instead of plain explicit little endian.

    Returns:
        The data set with its file meta information.
    """
    rng = np.random.default_rng([radiograph.seed, 100])
    number = f"{radiograph.seed:06d}"
    whose = [] if radiograph.anatomy == LIDC.name else [radiograph.anatomy]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    study, series, instance = (
        generate_uid(entropy_srcs=[version, number, part, *whose]) for part in ("study", "series", "image")
    )
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = instance
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["DERIVED", "PRIMARY", "", "SIMULATED"]
    for name in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(ds, name, _DATE)
    for name in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
        setattr(ds, name, _TIME)
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = f"SIM{number}", number, ""
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.Manufacturer, ds.InstitutionName = radiograph.vendor, f"Simulated {radiograph.site}"
    ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = (
        "Patch-CLIP demo simulator",
        number[-4:],
        version,
    )
    ds.StudyDescription, ds.SeriesDescription = "Simulated chest PA", "Simulated, not a patient"
    ds.DerivationDescription = ds.ImageComments = attribution(radiograph.anatomy)
    ds.PatientName, ds.PatientID = f"Simulated^{number}", f"SIM-{number}"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", radiograph.sex, f"{radiograph.age:03d}Y"
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "Simulated image; there is no patient"
    ds.BodyPartExamined, ds.ViewPosition, ds.PatientOrientation = "CHEST", "PA", ["L", "F"]
    ds.Laterality, ds.ImageLaterality = "", "U"
    ds.AnatomicRegionSequence = _code("51185008", "SCT", "Chest")
    ds.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = Sequence()
    ds.ViewCodeSequence = _code("399348003", "SCT", "postero-anterior")
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
    ds.AcquisitionContextSequence = Sequence()
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 1, 1, 1
    ds.PositionerType, ds.DetectorType, ds.DetectorID = "NONE", "SCINTILLATOR", "SIM"
    ds.DetectorConfiguration, ds.GridID = "AREA", ""
    ds.KVP, ds.ExposureInuAs = str(int(rng.integers(105, 131))), str(int(rng.integers(1500, 4000)))
    ds.DistanceSourceToDetector, ds.FieldOfViewHorizontalFlip = "1800", "NO"
    ds.FieldOfViewOrigin, ds.FieldOfViewRotation = ["0", "0"], "0"
    spacing = f"{radiograph.pixel_mm:.5f}"
    ds.ImagerPixelSpacing = [spacing, spacing]
    if rng.random() < 0.3:
        ds.PixelSpacing = [spacing, spacing]
        ds.PixelSpacingCalibrationType = "GEOMETRY"
        ds.PixelSpacingCalibrationDescription = "Parallel projection: detector and object sizes are equal"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = (
        "LOG",
        1 if radiograph.photometric[-1] == "1" else -1,
    )
    ds.LossyImageCompression, ds.BurnedInAnnotation, ds.QualityControlImage = "00", "NO", "NO"
    ds.PresentationLUTShape = "INVERSE" if radiograph.photometric == "MONOCHROME1" else "IDENTITY"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.WindowCenter, ds.WindowWidth = (f"{v:.0f}" for v in radiograph.window)
    if rng.random() < 0.25:
        ds.WindowCenterWidthExplanation = "NORMAL"
    if rng.random() < 0.3:
        ds.VOILUTFunction = "SIGMOID" if rng.random() < 0.4 else "LINEAR"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, radiograph.photometric
    ds.Rows, ds.Columns = radiograph.pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, BITS, BITS - 1, 0
    ds.PixelData = radiograph.pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    if compress:
        ds.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    return ds


def write_dicom(radiograph: Radiograph, path: Path, version: str, compress: bool = False) -> None:
    """Write a radiograph so that the file is either complete or absent.

    Args:
        radiograph: what to store.
        path: of the file; its folder exists.
        version, compress: see :func:`to_dicom`.

    Raises:
        ValueError: a pixel does not fit 12 bits.
    """
    brightest = int(radiograph.pixels.max())
    if brightest > MAXIMUM:
        raise ValueError(
            f"Seed {radiograph.seed}: found a stored value {brightest}, wanted at most {MAXIMUM} (12 bits)."
        )
    with atomic_path(path) as temporary:
        to_dicom(radiograph, version, compress).save_as(temporary, enforce_file_format=True)
