"""Codes of findings."""

import pytest
from pydicom.sr.codedict import codes

from bundle.results.dicom.finding_codes import PRIVATE_SCHEME, SNOMED_CT, finding_code
from bundle.results.dicom.presentation_state import layer_names


def test_every_finding_of_nih_has_a_standard_code():
    names = ["Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"]
    found = [finding_code(name) for name in names]
    assert {code.scheme_designator for code in found} == {"SCT"}
    assert len({code.value for code in found}) == len(SNOMED_CT) == 8
    assert finding_code("EFFUSION") == codes.SCT.PleuralEffusion  # pydicom's copy of the standard's tables
    assert finding_code("Pneumothorax") == codes.SCT.Pneumothorax


def test_sct_codes_have_the_check_digit_of_their_scheme():
    """SNOMED CT identifiers end with a Verhoeff check digit, which finds any digit that is mistyped."""
    for value, _ in SNOMED_CT.values():
        assert verhoeff(value) == 0, value
    assert verhoeff("36118009") != 0


def test_other_names_are_private_codes_that_say_so():
    code = finding_code("Lung opacity, other")
    assert (code.value, code.scheme_designator) == ("LUNG_OPACITY_OTHER", PRIVATE_SCHEME)
    assert PRIVATE_SCHEME.startswith("99")  # PS3.3 8.2
    assert len(finding_code("x" * 100).meaning) == 64


def test_codes_of_ones_own_go_first_and_are_checked():
    own = {"Mass": ("RID3874", "RADLEX", "mass")}
    assert finding_code("mass", own).value == "RID3874"
    for bad in ("RID3874", ["RID3874", "RADLEX"], ["", "RADLEX", "mass"]):
        with pytest.raises(ValueError, match=r"code of 'Mass'.*scheme designator"):
            finding_code("Mass", {"Mass": bad})
    with pytest.raises(ValueError, match="cannot be a code"):
        finding_code("§")


def test_layers_have_names_of_their_own():
    findings = ["Mass", "Pneumothorax", "Lung opacity, other", "3rd", "mass!", "Notice"]
    assert layer_names(findings) == ["FINDING_1", "PNEUMOTHORAX", "FINDING_3", "FINDING_4", "FINDING_5", "FINDING_6"]


def verhoeff(number: str) -> int:
    """0 for a number whose last digit checks the others (Verhoeff 1969): the dihedral group of order 10."""
    permutation, check = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], 0
    for place, digit in enumerate(reversed(number)):
        turned = int(digit)
        for _ in range(place):
            turned = permutation[turned]
        check = multiply(check, turned)
    return check


def multiply(a: int, b: int) -> int:
    """Of the dihedral group: 0..4 are rotations, 5..9 reflections."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
    return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5
