"""The DICOM image that results refer to: what of its header they need, and what makes it impossible to refer to it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from bundle.reading.deflated import inflate
from bundle.reading.dicom_encoding import encoding_of, meta_syntax
from bundle.reading.dicom_header import MAX_HEADER_BYTES, PIXELS, parse
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.radiograph import read_radiograph
from bundle.reading.radiograph_error import RadiographError, refusal
from bundle.results.dicom.characters import verbatim

# What a result repeats so that archives file it with its image (PS3.3 C.7.1.1, C.7.2.1), and no more of the patient.
PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)
STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"),
    *("ReferringPhysicianName", "StudyDescription"),
)
REFERENCES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# Type 2: written without a value where the image has none.
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName"),
)
GREY = ("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "VOILUTSequence")
IMAGE = (
    *("Rows", "Columns", "SamplesPerPixel", "PixelRepresentation", "PatientOrientation", "BurnedInAnnotation"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
_TAGS = tuple(map(Tag, (*REFERENCES, *GREY, *IMAGE, "SpecificCharacterSet")))
_IDENTITY_TAGS = list(map(Tag, (*PATIENT, *STUDY)))


class DicomSourceError(RadiographError):
    """A radiograph can be read, but no DICOM result can refer to it."""


@dataclass(frozen=True)
class DicomSource:
    """A DICOM radiograph that results can refer to.

    Attributes:
        image: (1, H, W), 0..1, bright is dense, as the network's reader gives it.
        meta: its metadata (`read_radiograph`), with the hash of its pixels.
        header: references, size and grey values, with empty patient and study: what the libraries that build results
            are shown, because they log names and refuse unusual ones.
        identity: the patient and study attributes, as bytes (`characters.verbatim`); they go into the results as they
            are.
        characters: the image's Specific Character Set, right or wrong; empty where it states none.
        pixel_aspect: the distance between rows over that between columns; 1 where the image says neither.
    """

    image: npt.NDArray[np.float32]
    meta: dict[str, Any]
    header: Dataset
    identity: Dataset
    characters: tuple[str, ...]
    pixel_aspect: float


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keeps what pydicom says of unusual values, quoting them, out of logs and warnings: some are the patient's."""
    logger = logging.getLogger("pydicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of character sets pydicom warns without validation too
            yield
    finally:
        logger.setLevel(before)


@quiet_pydicom()
def read_source(path: str | Path, options: ReadingOptions = DEFAULT_OPTIONS) -> DicomSource:
    """Read a radiograph and what results must say about it.

    Missing values of type 2 (a patient's name, say) become empty. A missing identity of the image cannot be mended:
    a result that refers to an invented study would be filed with nobody.

    Args:
        path: the DICOM file.
        options: with which the network's reader read it.

    Returns:
        The source.

    Raises:
        DicomSourceError: the file is not DICOM, lacks one of `REFERENCES` or has no UID there, or its pixels are
            floats, which a presentation state cannot refer to.
        RadiographError: the file is not one grey image.
    """
    path = Path(path)
    image, meta = read_radiograph(path, options, hash_pixels=True)
    if meta["format"] != "DICOM":
        found = f"this is a {meta['format']} file"
        remedy = "DICOM results refer to a DICOM image: give the one this was made from"
        raise refusal(path, found, remedy, DicomSourceError)
    if meta["bits_stored"] is None:
        raise refusal(path, "the pixels are floats", "DICOM results want stored integers", DicomSourceError)
    with path.open("rb") as file:
        whole = parse(path, file, _TAGS, stop_before_pixels=True).dataset
    wrong = [keyword for keyword in REFERENCES if not _is_uid(whole.get(keyword))]
    if wrong:
        remedy = "DICOM results refer to the image by these UIDs: take the file from the archive, not an edited copy"
        raise refusal(path, f"{', '.join(wrong)} is missing or not a UID", remedy, DicomSourceError)

    identity = _identity(path)
    header = _only(whole, (*REFERENCES, *GREY, *IMAGE))
    for keyword in TYPE_2:
        setattr(header, keyword, None)
        if keyword not in identity:
            setattr(identity, keyword, None)
    characters = whole.get("SpecificCharacterSet") or ()
    if "RescaleSlope" in header or "RescaleIntercept" in header:  # the one without the other is read as by the reader
        header.RescaleSlope = _or(header.get("RescaleSlope"), 1)
        header.RescaleIntercept = _or(header.get("RescaleIntercept"), 0)
    if whole.original_encoding[1] is False:
        _swap_tables(header)
    terms = (characters,) if isinstance(characters, str) else tuple(characters)
    return DicomSource(image, meta, header, identity, terms, meta["pixel_aspect"])


def _identity(path: Path) -> Dataset:
    """The patient and study attributes, as they stand in the file."""
    with path.open("rb") as file:
        encoding = encoding_of(file, meta_syntax(file))
        whole = inflate(file, MAX_HEADER_BYTES) if encoding.deflated else file
        until = {"stop_when": lambda tag, vr, length: tag in PIXELS, "specific_tags": _IDENTITY_TAGS}
        return verbatim(read_dataset(whole, encoding.implicit, encoding.little, **until))


def _swap_tables(header: Dataset) -> None:
    """Lookup tables of a big endian image as the results, which are little endian, have them (OW: words of 16 bits)."""
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in header.get(keyword) or ():
            for element in item:  # what is not looked at yet is turned by pydicom
                if element.keyword == "LUTData" and isinstance(element.value, bytes):
                    element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
            item.set_original_encoding(False, True)


def _only(dataset: Dataset, keywords: tuple[str, ...]) -> Dataset:
    """Copies of these elements, where they are there."""
    part = Dataset()
    for keyword in keywords:
        if keyword in dataset:
            part.add(deepcopy(dataset[keyword]))
    return part


def _is_uid(value: Any) -> bool:
    return bool(value) and isinstance(value, str) and UID(value).is_valid


def _or(value: Any, other: int) -> Any:
    return other if value in (None, "") else value
