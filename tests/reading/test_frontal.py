"""What is no frontal chest radiograph is named as such, and what may be one is not."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr._snomed_dict import mapping
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from skimage.io import imsave

from bundle.reading import ReadingOptions, look_at_header, read_radiograph
from bundle.reading.body_parts import ELSEWHERE, IN_THE_CHEST
from bundle.reading.frontal import VIEW_CODES, blank, odd_shape
from bundle.reading.radiograph import Layout

# Values that public archives hold (Open-i, NIH, RSNA, PadChest, MIMIC-CXR), and terms of the standard
FRONTAL = {
    "ViewPosition": ["AP", "PA", "POSTEROANTERIOR", "ANTERO_POSTERIOR", "AP AXIAL", "PA LLD", "RLD", "GENERICA", ""],
    "BodyPartExamined": [
        *("CHEST", "THORAX", "PORT CHEST", "NON GRID CHEST", "CHEST_TO_ABDOMEN", "CHESTABDPELVIS", "NECKCHEST"),
        *("LUNG", "RIB", "RIBS", "HEART", "WHOLEBODY", "UNKNOWN", "EXTREMETY", "Pulmón", ""),
    ],
    "Modality": ["CR", "DX", "RG", "RF", "XA", "OT", "DR", ""],
    "PatientOrientation": [["L", "F"], ["R", "F"], ["F", "L"], ["LF", "FR"], ""],
}
ELSE = {
    "ViewPosition": [
        *("LL", "RL", "LATERAL", "LARGE LATERAL", "LAT", "lateral ", "LEFT_LATERAL", "XTABLE LATERAL", "SWIMMERS"),
        *("LLO", "RLO", "RAO", "LAO", "LPO", "RPO", "OBLICUA", "AP OBLIQUE", "MLO"),
    ],
    "BodyPartExamined": [
        *("HAND", "LEFT HAND", "HAND_R", "HANDS", "SKULL", "ABDOMEN", "L-SPINE", "LSPINE", "T SPINE", "KNEES", "FEET"),
        *("PELVIS", "UPPER_ARM", "UP_EXM", "EXTREMITY", "SINUSES", "shoulder", "STERNUM", "PHANTOM"),
    ],
    "Modality": ["CT", "MR", "US", "MG", "PT", "NM", "PX", "IO", "XC"],
    "PatientOrientation": [["A", "F"], ["P", "F"], ["AL", "F"], ["F", "P"]],
}


FRONTAL_VIEWS = ("antero-posterior", "postero-anterior", "frontal", "axial")
# Codes of earlier editions: right anterior oblique and sagittal; abdomen, pelvis, both, and three parts of the spine
FORMER = {
    *("410467002", "R-10222"),
    *("113345001", "12921003", "416949008", "416631005", "297171002", "297173004"),
}
ANNEX_L = {"12738006", "64033007", "10200004", "62413002", "12611008", "23416004"}  # brain to ulna: in Annex L alone


def code(value: str, scheme: str = "SRT") -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "Secret"
    return Sequence([item])


@pytest.fixture
def assessed(picture, write_dicom):
    """A function that writes a DX image with some attributes, and gives why it is not assessed."""

    def reason(syntax=ImplicitVRLittleEndian, **attributes):
        with disable_value_validation():  # archives hold values that the standard forbids
            path = write_dicom(picture, syntax=syntax, **attributes)
        of_header = look_at_header(path).not_assessed
        assert read_radiograph(path)[1]["not_assessed"] == of_header
        return of_header

    return reason


@pytest.mark.parametrize(("keyword", "value"), [(key, value) for key, values in FRONTAL.items() for value in values])
def test_what_may_be_a_frontal_chest_passes(assessed, keyword, value):
    assert assessed(**{keyword: value}) is None
    assert assessed(**{keyword: None if keyword == "Modality" else value}, syntax=ExplicitVRBigEndian) is None


@pytest.mark.parametrize(("keyword", "value"), [(key, value) for key, values in ELSE.items() for value in values])
def test_what_says_that_it_is_something_else_is_not_assessed(assessed, keyword, value):
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        reason = assessed(syntax, **{keyword: value})
        assert reason is not None
        assert " ".join(reason.split()[:2]) in (
            "View Position",
            "Body Part",
            "Modality (0008,0060)",
            "Patient Orientation",
        )


@pytest.mark.parametrize("scheme", ["SRT", "SNM3"])
def test_codes_of_view_and_region(assessed, scheme):
    assert assessed(ViewCodeSequence=code("R-10214", scheme), AnatomicRegionSequence=code("T-D3000", scheme)) is None
    lateral = assessed(ViewCodeSequence=code("R-10236", scheme))
    assert lateral == "View Code Sequence (0054,0220) states a lateral view"
    hand = assessed(AnatomicRegionSequence=code("T-D8700", scheme))
    assert hand == "Anatomic Region Sequence (0008,2218) states HAND, not the chest"
    assert (
        assessed(ViewCodeSequence=code("399135007", "SCT")) == "View Code Sequence (0054,0220) states an oblique view"
    )
    assert assessed(AnatomicRegionSequence=code("T-D8700", "99LOCAL")) is None
    axial = code("399348003", "SCT")  # antero-posterior; its modifier, cephalad, is also the code of a view of breasts
    axial[0].ViewModifierCodeSequence = code("399196006", "SCT")
    assert assessed(ViewCodeSequence=axial) is None
    assert assessed(ViewCodeSequence=Sequence(), AnatomicRegionSequence=Sequence()) is None


def test_the_code_tables_are_the_standards():
    def today(value):
        return mapping["SRT"].get(value, value)

    views = {view.value: view.meaning.casefold() for view in codes.CID4010.concepts.values()}
    oblique = {value for value, meaning in views.items() if "oblique" in meaning}
    lateral = {value for value, meaning in views.items() if "lateral" in meaning or "sagittal" in meaning} - oblique
    frontal = {value for value, meaning in views.items() if meaning in FRONTAL_VIEWS}
    of_kind = {kind: {today(value) for value in values} - FORMER for kind, values in VIEW_CODES.items()}
    assert len(frontal) == len(FRONTAL_VIEWS)
    assert of_kind == {
        "a lateral view": lateral,
        "an oblique view": oblique,
        "a view that no chest radiograph has": set(views) - lateral - oblique - frontal,
    }

    regions = {region.value: name for name, region in codes.CID4031.concepts.items()}
    listed = {today(value) for value in ELSEWHERE if any(letter.isdigit() for letter in value)}
    inside = {name for value, name in regions.items() if value not in listed}
    assert listed - FORMER - ANNEX_L <= set(regions)
    assert inside == {
        *("Chest", "ChestAndAbdomen", "ChestAbdomenAndPelvis", "NeckAndChest", "NeckChestAndAbdomen", "Rib", "Heart"),
        *("NeckChestAbdomenAndPelvis", "ApexOfLung", "Bronchus", "Trachea", "Mediastinum", "EntireBody"),
    }
    assert not [word for word in ELSEWHERE if any(part in word for part in IN_THE_CHEST)]


@pytest.mark.parametrize("keyword", ["ViewPosition", "BodyPartExamined", "Modality", "PatientOrientation"])
def test_a_value_is_never_quoted(assessed, keyword, caplog):
    for value in (
        "Secret^Name lateral HAND, and far longer than the sixteen letters of a code string",
        "Geheim LL hand",
    ):
        reason = assessed(**{keyword: value})  # nor in a warning: these are errors here
        said = f"{reason}{caplog.text}".casefold()
        assert not any(word in said for word in ("secret", "geheim", "name"))


def test_a_damaged_sequence_says_nothing(picture, write_dicom):
    path = write_dicom(picture, ViewCodeSequence=code("R-10236"), ViewPosition="PA")
    content = path.read_bytes()
    place = content.index(b"\x54\x00\x20\x02SQ") + 4
    for vr in (b"ZQ", b"LO"):  # one that there is not, and one of text
        path.write_bytes(content[:place] + vr + content[place + 4 : place + 6] + content[place + 8 :])
        assert read_radiograph(path)[1]["not_assessed"] is None


def test_any_image_is_assessed_where_that_is_asked_for(picture, write_dicom):
    path = write_dicom(np.zeros((20, 500), np.uint16), ViewPosition="LL", BodyPartExamined="HAND")
    anything = ReadingOptions(frontal="any")
    assert read_radiograph(path)[1]["not_assessed"] == "Body Part Examined (0018,0015) states HAND, not the chest"
    assert read_radiograph(path, anything)[1]["not_assessed"] is None
    assert look_at_header(path, anything) == Layout((20, 500))
    with pytest.raises(ValueError, match=r'reading#frontal is .*lateral.*; wanted "require" or "any"'):
        ReadingOptions(frontal="lateral")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(2500, 1200), (1200, 2480), (28, 28), (2866, 2320)])
def test_shapes_of_chests_pass(size):
    assert odd_shape(size) is None


@pytest.mark.parametrize("size", [(300, 119), (1, 1), (15, 20), (100, 400)])
def test_other_shapes_do_not(size, tmp_path):
    assert odd_shape(size) == f"no chest radiograph has {size[0]} rows and {size[1]} columns"
    pixels = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    imsave(tmp_path / "a.png", pixels, check_contrast=False)
    assert look_at_header(tmp_path / "a.png") == Layout(size, not_assessed=odd_shape(size))


def smooth(height, width):
    """A bright middle and dark sides, as a chest is seen from afar."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.exp(-(rows**2) - 2 * columns**2).astype(np.float32)


@pytest.mark.parametrize("size", [(48, 64), (300, 200), (2000, 900), (464, 512)])
def test_pictures_are_not_blank_and_empty_ones_are(size):
    random = np.random.default_rng(0)
    picture, noise = smooth(*size), random.normal(0, 0.15, size).astype(np.float32)
    assert blank(picture[None]) is None
    assert blank(np.clip(picture + noise, 0, 1)[None]) is None
    assert blank((0.06 * picture)[None]) is None  # dark, but there
    assert blank(1 - (picture > 0.9).astype(np.float32)[None]) is None
    for level in (0.0, 0.37, 1.0):
        empty = np.full((1, *size), level, np.float32)
        assert blank(empty)
        assert blank(np.clip(empty + 0.02 * noise, 0, 1))
        marked = empty.copy()
        marked[0, : size[0] // 16, : size[1] // 16] = 1 - level  # a side marker
        assert blank(marked)
    if min(size) > 400:  # a plate without a patient, in the window of its own percentiles
        assert blank(np.clip(0.5 + noise, 0, 1)[None])
        assert blank(random.random((1, *size), np.float32))


def test_a_blank_file_is_not_assessed(write_dicom, tmp_path):
    empty = np.full((60, 50), 1000, np.uint16)
    empty[::7, ::5] += 3
    of_dicom = read_radiograph(write_dicom(empty))[1]["not_assessed"]
    imsave(tmp_path / "a.png", np.full((60, 50), 9, np.uint8), check_contrast=False)
    assert of_dicom == read_radiograph(tmp_path / "a.png")[1]["not_assessed"]
    assert str(of_dicom).startswith("the image is blank")
