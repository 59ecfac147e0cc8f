"""What was found, as a structured report: Comprehensive 3D SR, TID 1500 Measurement Report, after IHE AI Results."""

from collections.abc import Mapping, Sequence
from typing import Any

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurement,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

from bundle.probability import ABSENT, PRESENT
from bundle.results.dicom.finding_codes import PRIVATE_SCHEME, PRIVATE_SCHEME_NAME, finding_code
from bundle.results.dicom.instance import MANUFACTURER, Maker, complete, quiet_highdicom
from bundle.results.dicom.outlines import box_outline
from bundle.results.dicom.source import DicomSource

CHEST_RADIOGRAPHY = CodedConcept("399208008", "SCT", "Plain chest X-ray")
CHEST = CodedConcept("816094009", "SCT", "Chest")
PRESENCE = CodedConcept("705057003", "SCT", "Presence")
# SNOMED CT's attribute of a situation, such as "no mass", that names what is there or not
ASSOCIATED_FINDING = CodedConcept("246090004", "SCT", "Associated finding")
ANSWERS = {PRESENT: codes.cid240.Present, ABSENT: codes.cid240.Absent, None: codes.cid240.Undetermined}


def structured_report(
    source: DicomSource,
    document: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]],
    maker: Maker,
    parameters: Sequence[str] = (),
    finding_codes: Mapping[str, Sequence[str]] | None = None,
) -> Comprehensive3DSR:
    """Build the report.

    One group of TID 1410 for each shown candidate, tracked as "Mass 1", "Mass 2" by falling score: Chest as its site,
    the score, and the box as SCOORD POLYLINE, closed, with the geometric purpose Bounded by. Then one group of TID 1501
    for each finding of the network, shown or not, tracked as "Mass, whole image": the image score. Each group says of
    its finding whether it is there: Presence, with the finding as its modifier Associated finding, is Present, Absent
    or, where no plan has judged it, Undetermined (CID 240). Only what is present is a Finding too. Scores
    are (111012, DCM, "Certainty of Finding") in percent, 100 · score; those of candidates order them and are no
    probabilities of disease, those of the image as far as they are calibrated. The notice is a Comment at the
    document's root, and so are the notes of the image's reader, if there are any. The report is complete, preliminary
    and unverified.

    Args:
        source: the image.
        document: what was found (`findings_document`).
        shown: the candidates to report (`shown_candidates`).
        maker: of the report.
        parameters: of the algorithm, in words.
        finding_codes: see `finding_code`.

    Returns:
        The report.
    """
    image = source.header
    size = (int(image.Rows), int(image.Columns))
    algorithm = {
        "algorithm_id": AlgorithmIdentification(
            name=maker.algorithm, version=maker.version, manufacturer=MANUFACTURER, parameters=list(parameters) or None
        ),
        "finding_sites": [FindingSite(CHEST)],
    }
    presence = document.get("presence", {})  # a document of an earlier release has none
    concepts = {name: finding_code(name, finding_codes) for name in document["findings"]}
    references = {"referenced_sop_class_uid": image.SOPClassUID, "referenced_sop_instance_uid": image.SOPInstanceUID}
    groups: list[PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations] = []
    count: dict[str, int] = {}
    with quiet_highdicom():
        for candidate in shown:
            name = candidate["finding"]
            count[name] = count.get(name, 0) + 1
            label = f"{name} {count[name]}"
            region = ImageRegion(
                GraphicTypeValues.POLYLINE, box_outline(candidate["box"], size), SourceImageForRegion(**references)
            )
            groups.append(
                PlanarROIMeasurementsAndQualitativeEvaluations(
                    tracking_identifier=TrackingIdentifier(uid=maker.uid(f"tracking {label}"), identifier=label),
                    referenced_region=region,
                    **_said(concepts[name], presence.get(name)),
                    geometric_purpose=codes.cid219.BoundedBy,
                    measurements=[_certainty(candidate["score"])],
                    **algorithm,
                )
            )
        for name, scores in document["findings"].items():
            if (score := scores.get("image")) is None:
                continue
            label = f"{name}, whole image"
            groups.append(
                MeasurementsAndQualitativeEvaluations(
                    tracking_identifier=TrackingIdentifier(uid=maker.uid(f"tracking {label}"), identifier=label),
                    **_said(concepts[name], presence.get(name)),
                    measurements=[_certainty(score, SourceImageForMeasurement(**references))],
                    source_images=[SourceImageForMeasurementGroup(**references)],
                    **algorithm,
                )
            )
        device = DeviceObserverIdentifyingAttributes(
            uid=maker.device_uid(),
            name=maker.algorithm,
            manufacturer_name=MANUFACTURER,
            model_name=f"{maker.algorithm} {maker.version}",
        )
        report = MeasurementReport(
            observation_context=ObservationContext(
                observer_device_context=ObserverContext(
                    observer_type=codes.DCM.Device, observer_identifying_attributes=device
                )
            ),
            procedure_reported=CHEST_RADIOGRAPHY,
            imaging_measurements=groups,
            title=codes.cid7021.ImagingMeasurementReport,
        )
        comments = [maker.notice]
        if notes := source.meta["notes"]:
            comments.append(f"How the image was read: {'; '.join(notes)}.")
        for comment in comments:
            report[0].ContentSequence.append(
                TextContentItem(codes.DCM.Comment, comment, RelationshipTypeValues.CONTAINS)
            )
        private = any(concept.scheme_designator == PRIVATE_SCHEME for concept in concepts.values())
        result = Comprehensive3DSR(
            evidence=[image],
            content=report[0],
            is_complete=True,
            is_final=False,
            is_verified=False,
            coding_schemes=[_private_scheme()] if private else None,
            **maker.series("sr", "findings"),
            **maker.equipment(),
        )
    return complete(result, source, maker)


def _said(finding: CodedConcept, presence: str | None) -> dict[str, Any]:
    """Arguments of a group that say whether its finding is there."""
    evaluation = QualitativeEvaluation(PRESENCE, ANSWERS[presence])
    modifier = CodeContentItem(ASSOCIATED_FINDING, finding, RelationshipTypeValues.HAS_CONCEPT_MOD)
    evaluation[0].ContentSequence = ContentSequence([modifier])
    return {"qualitative_evaluations": [evaluation], "finding_type": finding if presence == PRESENT else None}


def _certainty(score: float, image: SourceImageForMeasurement | None = None) -> Measurement:
    """A score 0..1, of at most 6 digits, in percent; with the image where no region says what was measured."""
    return Measurement(
        name=codes.DCM.CertaintyOfFinding,
        value=round(100 * score, 4),
        unit=codes.UCUM.Percent,
        referenced_images=None if image is None else [image],  # without it OHIF shows nothing of the whole report
    )


def _private_scheme() -> CodingSchemeIdentificationItem:
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME, name=PRIVATE_SCHEME_NAME, responsible_organization=MANUFACTURER
    )
