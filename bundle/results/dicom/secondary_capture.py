"""The heat map with its boxes as a plain colour image, for viewers that know nothing else: DICOM Secondary Capture."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from bundle.results.dicom.instance import Maker, complete, quiet_highdicom
from bundle.results.dicom.shown import candidate_table
from bundle.results.dicom.source import DicomSource
from bundle.results.findings_file import UNCALIBRATED
from bundle.results.marks import font
from bundle.results.overlay import draw_overlay

LONG_SIDE = 1400  # of the radiograph in the picture: the map is smooth, and viewers enlarge
BANNER, BANNER_INK = "#7a1f00", "#ffffff"
_LETTERS, _SMALLEST = 30, 12  # of the banner, in pixels
_PADDING = 10


def secondary_capture(
    source: DicomSource,
    document: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]],
    maker: Maker,
    maps: npt.NDArray[np.floating[Any]] | None = None,
    levels: Mapping[str, float] | None = None,
) -> SCImage:
    """Build the picture: the overlay, with the notice burnt in above and a legend below.

    RGB of 8 bits, uncompressed, its pixels square whatever the original's are. No pixel spacing: lengths should be
    measured in the original. Nothing about the patient
    is drawn; `BurnedInAnnotation`, which says whether pixels identify a patient, is the original's.

    Args:
        source: the image.
        document: what was found (`findings_document`).
        shown: the candidates to draw (`shown_candidates`).
        maker: of the result.
        maps: (K, h, w) over the whole image, NaN where the network has not looked; None draws boxes alone.
        levels: where the map's tint begins, by finding; .5 where none is named.

    Returns:
        The image.
    """
    picture, top = draw_capture(source, document, shown, maker, maps, levels)
    image = source.header
    with quiet_highdicom():
        result = SCImage(
            pixel_array=np.asarray(picture),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "F"),  # stands in: the image's own follows, which may be unusual or unknown
            study_instance_uid=image.StudyInstanceUID,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **maker.series("sc", "heat map"),
            **maker.equipment(),
        )
    result.PatientOrientation = deepcopy(image.get("PatientOrientation"))
    result.ConversionType = "WSD"  # a workstation made it
    result.DerivationDescription = (
        f"{maker.algorithm} {maker.version}: map and boxes burnt in, radiograph reduced and shown from row {top + 1}. "
        f"{maker.notice}"
    )[:1024]
    result.ImageComments = maker.notice
    result.SourceImageSequence = [_source_item(image)]
    for keyword in (
        *("BurnedInAnnotation", "LossyImageCompression"),
        *("LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    ):
        if keyword in image:
            result.add(deepcopy(image[keyword]))
    return complete(result, source, maker)


def draw_capture(
    source: DicomSource,
    document: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]],
    maker: Maker,
    maps: npt.NDArray[np.floating[Any]] | None,
    levels: Mapping[str, float] | None,
) -> tuple[Image.Image, int]:
    """The picture of the secondary capture.

    Returns:
        RGB picture; and the row in which the radiograph begins, below the banner. The radiograph has the picture's
        width, and its aspect in the patient.
    """
    findings = list(document["findings"])
    scores = {name: values.get("image") for name, values in document["findings"].items()}
    probability = str(document.get("probability", UNCALIBRATED)).partition(";")[0].partition(":")[0]
    said = ", ".join(f"{name} {score:.2f}" for name, score in scores.items() if score is not None)
    overlay = draw_overlay(
        source.image,
        candidate_table(shown, findings),
        findings,
        maps,
        min_score=0.0,  # they are chosen
        tint_from=[(levels or {}).get(name, 0.5) for name in findings],
        max_per_finding=max(1, len(shown)),
        caption=f"{maker.algorithm} {maker.version}. Image scores, {probability}: {said}." if said else "",
        long_side=LONG_SIDE,
        pixel_aspect=source.pixel_aspect,
    )
    letters = font(_LETTERS)
    for points in range(_LETTERS, _SMALLEST - 1, -1):
        letters = font(points)
        if letters.getlength(maker.notice) + 2 * _PADDING <= overlay.width:
            break
    top = letters.size + 2 * _PADDING
    page = Image.new("RGB", (overlay.width, overlay.height + int(top)), BANNER)
    page.paste(overlay, (0, int(top)))
    ImageDraw.Draw(page).text((overlay.width / 2, top / 2), maker.notice, fill=BANNER_INK, font=letters, anchor="mm")
    return page, int(top)


def _source_item(image: Dataset) -> Dataset:
    """A reference to the image that the picture was made from."""
    item, purpose = Dataset(), Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
