"""What a report says is there: by codes, present where the plan judged so; what is absent is never a Finding."""

import highdicom
import pytest
from pydicom import dcmread

from bundle.probability import OperatingPoints
from bundle.results.dicom import DicomOptions
from tests.results.dicom_case import FINDINGS, PLAN, errors, program
from tests.results.test_dicom_results import write_results


def test_findings_have_codes_and_image_scores(tmp_path):
    report = highdicom.sr.srread(write_results(tmp_path)["sr"])
    groups = report.content.get_image_measurement_groups()
    assert {g.tracking_identifier: g.get_measurements()[0].value for g in groups} == {
        "Effusion, whole image": 25.0,
        "Mass, whole image": pytest.approx(91.2345),
        "Pneumothorax, whole image": 12.5,  # one without an image score has no group
    }
    for group in groups:  # OHIF 3 shows nothing of a report with a measurement of neither a region nor an image
        (image,) = group.get_measurements()[0].referenced_images
        assert image.referenced_sop_instance_uid == dcmread(tmp_path / "in.dcm").SOPInstanceUID
    (notching,) = [answer(group)[1] for group in all_groups(report) if group.tracking_identifier == "Rib notching 1"]
    assert notching == highdicom.sr.CodedConcept("RIB_NOTCHING", "99PATCHCLIP", "Rib notching")
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99PATCHCLIP"


def all_groups(report):
    return [*report.content.get_planar_roi_measurement_groups(), *report.content.get_image_measurement_groups()]


def answer(group):
    """What a group says of its finding, and which that is."""
    presence = highdicom.sr.CodedConcept("705057003", "SCT", "Presence")
    (item,) = [item for item in group[0].ContentSequence if item.name == presence]
    (subject,) = item.ContentSequence
    assert subject.name == highdicom.sr.CodedConcept("246090004", "SCT", "Associated finding")
    assert subject.relationship_type == highdicom.sr.RelationshipTypeValues.HAS_CONCEPT_MOD
    return item.value, subject.value


def said(path):
    """By what is tracked: whether its finding is there, which that is, and what is asserted as Finding."""
    groups = {group.tracking_identifier: group for group in all_groups(highdicom.sr.srread(path))}
    return {
        name: (*(concept.meaning for concept in answer(group)), group.finding_type and group.finding_type.meaning)
        for name, group in groups.items()
    }


def asserted(path):
    """All that the report calls a Finding, at whatever depth."""
    return [
        item.ConceptCodeSequence[0].CodeMeaning
        for item in dcmread(path).iterall()
        if item.VR == "SQ"
        for item in item.value
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeValue == "121071"
    ]


def test_what_is_absent_is_not_asserted_as_a_finding(tmp_path):
    path = write_results(tmp_path)["sr"]
    assert said(path) == {
        "Mass 1": ("Present", "Lung mass", "Lung mass"),
        "Mass 2": ("Present", "Lung mass", "Lung mass"),
        "Rib notching 1": ("Undetermined", "Rib notching", None),  # it has no image score
        "Effusion, whole image": ("Absent", "Pleural effusion", None),
        "Mass, whole image": ("Present", "Lung mass", "Lung mass"),
        "Pneumothorax, whole image": ("Absent", "Pneumothorax", None),
    }
    assert set(asserted(path)) == {"Lung mass"}


@pytest.mark.parametrize(
    ("points", "options"),
    [
        (None, None),
        (OperatingPoints(FINDINGS, {name: {"image": 0.5, "box": 0.5} for name in FINDINGS}), None),  # uncalibrated
        (PLAN.replaced(min_image_score=0.1), None),
        (PLAN, DicomOptions(min_score=0.7)),
    ],
    ids=["no plan", "uncalibrated", "thresholds of a request", "thresholds of the options"],
)
def test_without_the_plans_thresholds_nothing_is_present_or_absent(tmp_path, points, options):
    path = write_results(tmp_path, options, points)["sr"]
    assert {answer for answer, _, _ in said(path).values()} == {"Undetermined"}
    assert asserted(path) == []
    assert errors(program("dciodvfy", path)) == []


def test_codes_of_ones_own(tmp_path):
    options = DicomOptions(codes={"rib notching": ["RID4801", "RADLEX", "rib notching"]})
    report = highdicom.sr.srread(write_results(tmp_path, options)["sr"])
    assert "CodingSchemeIdentificationSequence" not in report
    schemes = {answer(group)[1].scheme_designator for group in all_groups(report)}
    assert schemes == {"SCT", "RADLEX"}
