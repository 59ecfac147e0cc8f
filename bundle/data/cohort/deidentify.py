"""DICOM PS3.15's Basic Application Level Confidentiality Profile, and less: only what reading an image needs is kept.

The profile's table, attribute by attribute, is that of dicom-anonymizer. It names what is to go; what nobody has named,
such as private attributes, free text, overlays, and sequences that hold names again, goes because it isn't on the list
of what stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from bundle.data.cohort.pseudonyms import Pseudonyms

__all__ = ["NotFitError", "deidentified"]

EDITION = "dicomfields_2026c"
IDENTITY = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "StudyID"),
)
"""What the profile acts on, of what an image must have."""
IMAGE = (
    *(
        "Modality",
        "PresentationIntentType",
        "BodyPartExamined",
        "ViewPosition",
        "PatientOrientation",
        "Rows",
        "Columns",
    ),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "PixelIntensityRelationship", "PixelIntensityRelationshipSign", "RescaleIntercept"),
    *("RescaleSlope", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape", "ShutterShape"),
    *("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge"),
    *("ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter"),
    *("VerticesOfThePolygonalShutter", "LossyImageCompression", "BurnedInAnnotation"),
)
"""What `bundle.reading` looks at."""
CODES, TABLES = ("AnatomicRegionSequence", "ViewCodeSequence"), ("ModalityLUTSequence", "VOILUTSequence")
SEX_AND_AGE = ("PatientSex", "PatientAge")
_WORDS = {
    "CS": re.compile(r"[A-Z0-9_ ]{0,16}"),
    "DS": re.compile(r"[0-9+\-.eE ]{0,16}"),
    "IS": re.compile(r"[0-9+\- ]{0,12}"),
    "UI": re.compile(r"[0-9.]{1,64}"),
    "AS": re.compile(r"[0-9]{3}[DWMY]"),
}
"""What a value that stays may look like; any other text in its place may be anything."""
_NUMBERS = ("US", "SS", "OW", "OB")
_CODE = re.compile(r"\d{4,18}|[A-Z]\d?-[0-9A-F]{3,6}")
_SCHEMES = ("SCT", "SRT", "SNM3", "DCM")
_PROFILE = (("113100", "Basic Application Confidentiality Profile"),)
_CHARACTERISTICS = ("113108", "Retain Patient Characteristics Option")


class NotFitError(ValueError):
    """An object that is not taken; the message says why, and nothing of whom."""


def deidentified(data: Dataset, pseudonyms: Pseudonyms, characteristics: bool = False) -> Dataset:
    """An image without its patient.

    Patient ID, name and UIDs become pseudonyms, dates and times the dummies of the library, all else goes that
    `IDENTITY`, `IMAGE`, `CODES` and `TABLES` do not name. Pixels are decoded losslessly from what they are compressed
    in, whose stream may hold comments; bits that are none of theirs, in which overlays may lie, become 0 or the sign.

    Args:
        data: as it came; it is changed.
        pseudonyms: of the cohort.
        characteristics: keep sex and age (the profile's Retain Patient Characteristics Option).

    Returns:
        The image, with file meta information, in Explicit VR Little Endian.

    Raises:
        NotFitError: it has annotations burned into its pixels by its own words, no grey pixels that can be decoded, or
            text where a number or a term should stand.
    """
    try:
        with disable_value_validation():  # whose warnings quote values
            return _deidentified(data, pseudonyms, characteristics)
    except NotFitError:
        raise
    except Exception as error:  # values and decoders raise anything, and their words may quote the file
        raise NotFitError(f"it cannot be taken apart ({type(error).__name__})") from None


def _deidentified(data: Dataset, pseudonyms: Pseudonyms, characteristics: bool) -> Dataset:
    if str(data.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        raise NotFitError("Burned In Annotation is YES")
    for name in ("PatientID", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not str(data.get(name, "")).strip():
            raise NotFitError(f"{name} is empty or missing")
    _check(data["SOPClassUID"], "SOPClassUID")
    pixels = _pixels(data)
    clean = Dataset()
    for name in IDENTITY:
        if name in data:
            clean.add(data[name])
    for name in IMAGE:
        if name in data and not data[name].is_empty:
            _check(data[name], name)
            clean.add(data[name])
    for name in CODES:
        if items := [code for item in data.get(name, ()) if (code := _known_code(item))]:
            setattr(clean, name, items)
    for name in TABLES:
        if items := [_table(item) for item in data.get(name, ())]:
            setattr(clean, name, items)
    _identity(clean, pseudonyms, characteristics)
    clean.PixelData = pixels
    clean["PixelData"].VR = "OW" if clean.BitsAllocated > 8 else "OB"
    clean.file_meta = FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    clean.file_meta.MediaStorageSOPClassUID = clean.SOPClassUID
    clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    return clean


def _identity(clean: Dataset, pseudonyms: Pseudonyms, characteristics: bool) -> None:
    """The profile's actions, with pseudonyms for those that ask for dummies, and what says that it was applied."""
    patient = pseudonyms.patient(str(clean.PatientID))

    def put(value: str) -> Callable[[Dataset, Any], None]:
        def action(data: Dataset, tag: Any) -> None:
            data[tag].value = value

        return action

    uids = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    rules: dict[str, Callable[[Dataset, Any], None]] = {"PatientID": put(patient)}
    if "PatientName" in clean:
        rules["PatientName"] = put(patient)
    rules |= {name: put(pseudonyms.uid(str(clean[name].value))) for name in uids}
    if characteristics:
        for name in SEX_AND_AGE:
            if name in clean and not clean[name].is_empty:
                _check(clean[name], name)
        rules |= dict.fromkeys(SEX_AND_AGE, lambda data, tag: None)
    extra: Mapping[tuple[int, int], Any] = {(Tag(name).group, Tag(name).element): rule for name, rule in rules.items()}
    anonymize_dataset(clean, dict(extra), base_rules_gen=lambda: initialize_actions(EDITION))
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = "PS3.15 2026c Basic Profile; only what reading needs is kept"
    codes = _PROFILE + (_CHARACTERISTICS,) * characteristics
    clean.DeidentificationMethodCodeSequence = [_coded(value, "DCM", meaning) for value, meaning in codes]
    clean.LongitudinalTemporalInformationModified = "REMOVED"


def _check(element: Any, name: str) -> None:
    """Refuses text that is not of the element's kind."""
    pattern = _WORDS.get(element.VR)
    if pattern is None and element.VR in _NUMBERS:
        return
    values = element.value if element.VM > 1 else [element.value]
    if pattern is None or not all(pattern.fullmatch(str(value)) for value in values):
        raise NotFitError(f"{name} holds what is no value of its kind")


def _known_code(item: Dataset) -> Dataset | None:
    """A code of a published scheme, without its words; None of any other."""
    value, scheme = str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", ""))
    return _coded(value, scheme) if scheme in _SCHEMES and _CODE.fullmatch(value) else None


def _coded(value: str, scheme: str, meaning: str = "") -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning or value
    return code


def _table(item: Dataset) -> Dataset:
    """A lookup table without its explanation."""
    table = Dataset()
    for name in ("LUTDescriptor", "LUTData"):
        if name in item:
            _check(item[name], name)
            table.add(item[name])
    return table


def _pixels(data: Dataset) -> bytes:
    """The pixels, of an even number of bytes, and nothing beside them."""
    if "PixelData" not in data or int(data.get("NumberOfFrames") or 1) != 1 or data.SamplesPerPixel != 1:
        raise NotFitError("it is not one grey image")
    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_little_endian:
        raise NotFitError("its bytes are in the order that DICOM has retired")
    if syntax.is_compressed:
        data.decompress(generate_instance_uid=False)
    wide = {8: "u1", 16: "<u2"}[data.BitsAllocated]
    values = np.frombuffer(data.PixelData, wide, data.Rows * data.Columns)
    stored = int(data.BitsStored)
    if data.HighBit != stored - 1 or not 0 < stored <= data.BitsAllocated:
        raise NotFitError("its pixels do not lie in the lowest bits")
    unused = int(data.BitsAllocated) - stored
    if data.PixelRepresentation == 1:
        values = (values << unused).view(values.dtype.str.replace("u", "i")) >> unused
    else:
        values = values & values.dtype.type(2**stored - 1)
    content = values.tobytes()
    return content + b"\0" * (len(content) % 2)
