"""What dcmtk, which shares no code with us, shows of the results: the picture, and the original's grey values."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import read_radiograph
from bundle.results.colours import finding_colour, rgb
from bundle.results.dicom import dicom_results, save_dicom_results
from bundle.results.dicom.secondary_capture import BANNER, LONG_SIDE
from tests.results.dicom_case import CANDIDATES, HEIGHT, LESION, PLAN, WIDTH, document, maps, program, write_radiograph

MASS = np.array(rgb(finding_colour(1)))


def test_dcmtk_shows_heat_and_boxes_where_they_belong(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm")
    _, _, capture = save_dicom_results(dicom_results(source, document(), maps()), tmp_path, "in")
    program("dcmj2pnm", "+on", capture, tmp_path / "sc.png")
    picture = np.asarray(Image.open(tmp_path / "sc.png"))
    assert picture.shape[2] == 3
    assert tuple(picture[0, 0]) == rgb(BANNER)
    scale = picture.shape[1] / WIDTH
    assert round(HEIGHT * scale) == round(LONG_SIDE * 2 / 3)  # a small image is enlarged to that
    top = int((picture == rgb(BANNER)).all(2)[:, 0].sum())  # rows of the banner

    def at(x: float, y: float) -> np.ndarray:
        return picture[top + round(y * scale), round(x * scale)].astype(int)

    def tint(x: float, y: float) -> float:
        """How far from grey towards the colour of Mass."""
        colour = MASS - MASS.mean()
        return float((at(x, y) - at(x, y).mean()) @ colour / (colour @ colour))

    x0, y0, _, y1 = LESION
    assert tint(x0 + 8, y1 - 8) == pytest.approx(0.45, abs=0.02)  # the map is 1: a full tint
    assert abs(tint(x0 - 12, y0 + 12)) < 0.01  # 0: grey
    for box in (CANDIDATES[0][4:], CANDIDATES[1][4:]):
        left, upper, right, lower = (round(n * scale) for n in box)  # the line lies within the box
        middle, across = top + (upper + lower) // 2 + 9, (left + right) // 2 + 12
        for row, column in ((middle, left), (middle, right - 1), (top + lower - 1, across)):
            assert tuple(picture[row, column]) == tuple(MASS)
    not_shown = CANDIDATES[3][4:]
    assert abs(tint(not_shown[0], 52)) < 0.01


def lut(values: np.ndarray, bits: int, first: int = 0, **tags: str) -> Dataset:
    """An item of a VOI or Modality LUT Sequence; 65536 entries are written as 0."""
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    item.add_new("LUTDescriptor", "US", [len(values) % 65536, first, bits])
    item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
    return item


CURVE = lut(np.round(255 * np.linspace(0, 1, 4096) ** 0.5), 8)
MODALITY = lut(np.round(65535 * np.linspace(0, 1, 4096) ** 0.5), 16, ModalityLUTType="US")
NARROW = np.round(4095 * np.linspace(0, 1, 4096) ** 0.5)
FROM_BELOW = {"RescaleSlope": 1, "RescaleIntercept": -1024, "VOILUTSequence": [lut(16 * NARROW, 16, first=0xFC00)]}
LINEAR = {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationship": "LIN"}


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 1000, "WindowWidth": 1500},
        {"WindowCenter": [1000, 3000], "WindowWidth": [1500, 100]},
        {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 1000, "WindowWidth": 1500},
        {"WindowCenter": 1000, "WindowWidth": 3000, "RescaleSlope": 2, "RescaleIntercept": -1024},
        {"WindowCenter": 1000, "WindowWidth": 1500, "VOILUTSequence": [CURVE]},
        {"ModalityLUTSequence": [MODALITY], "WindowCenter": 30000, "WindowWidth": 50000},
        {"PresentationIntentType": "FOR PROCESSING"},
        {},
        {"BitsStored": 16, "HighBit": 15},
        {"VOILUTSequence": [lut(NARROW, 16)]},
        {"BitsStored": 16, "HighBit": 15, "VOILUTSequence": [lut(np.arange(65536), 16)]},
        FROM_BELOW,
        {"ModalityLUTSequence": [lut(NARROW, 16, ModalityLUTType="US")]},
        {**LINEAR, "PixelIntensityRelationshipSign": 1},
        {**LINEAR, "PixelIntensityRelationshipSign": -1},
    ],
    ids=[
        *("window", "two windows", "MONOCHROME1", "rescaled", "LUT", "modality LUT", "FOR PROCESSING", "bits stored"),
        *("12 bits in 16", "LUT of 12 bits in 16", "LUT of 16 bits over 12", "LUT from below 0"),
        *("modality LUT of 12 bits in 16", "linear in intensity", "linear in intensity, inverted"),
    ],
)
def test_the_presentation_state_shows_what_the_network_saw(tmp_path, tags):
    source = write_radiograph(tmp_path / "in.dcm", **tags)
    _, state, _ = save_dicom_results(dicom_results(source, document(), maps()), tmp_path, "in")
    shown = render(source, state, tmp_path)
    assert shown.shape == (HEIGHT, WIDTH)
    assert np.abs(shown - 255 * read_radiograph(source)[0][0]).max() < 2  # two roundings to 8 bits


@pytest.mark.parametrize("options", [{"value_range": [500, 2000]}, {"voi_index": 1}], ids=["stated", "second"])
def test_results_are_of_the_grey_values_that_were_chosen(tmp_path, options):
    source = write_radiograph(tmp_path / "in.dcm", WindowCenter=[1000, 3000], WindowWidth=[1500, 4000])
    results = dicom_results(source, document(reading={"options": options}), maps())
    _, state, _ = save_dicom_results(results, tmp_path, "in")
    wanted = read_radiograph(source, ReadingOptions.of(options))[0][0]
    assert np.abs(render(source, state, tmp_path) - 255 * wanted).max() < 2


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("vr", ["OW", "US"])
def test_lookup_tables_of_a_big_endian_image_are_turned(tmp_path, keyword, vr):
    source = write_radiograph(tmp_path / "in.dcm", **{keyword: [CURVE if keyword[0] == "V" else MODALITY]})
    little = dcmread(source)
    (item,) = little[keyword].value
    words = np.frombuffer(item.LUTData, "<u2")
    item["LUTData"].VR, item["LUTData"].value = vr, words.astype(">u2").tobytes() if vr == "OW" else words.tolist()
    little.PixelData = little.pixel_array.astype(">u2").tobytes()
    little.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(tmp_path / "big.dcm", little, enforce_file_format=True)
    _, state, _ = save_dicom_results(dicom_results(tmp_path / "big.dcm", document(), maps()), tmp_path, "in")
    assert np.abs(render(source, state, tmp_path) - 255 * read_radiograph(source)[0][0]).max() < 2


def render(source: Path, state: Path, folder: Path) -> np.ndarray:
    """The image through a presentation state, by dcmtk, 0..255."""
    said = program("dcmp2pgm", "-p", state, source, folder / "shown.pgm")
    assert (folder / "shown.pgm").is_file(), said
    return np.asarray(Image.open(folder / "shown.pgm"), np.float64)


def test_dcmtk_finds_the_state_well_formed(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm")
    _, state, _ = save_dicom_results(dicom_results(source, document(), maps()), tmp_path, "in")
    report = program("dcmpschk", state)
    assert "Test passed" in report
    assert "Error" not in report


def test_dcmtk_reads_findings_and_boxes_from_the_report(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm")
    report, _, _ = save_dicom_results(dicom_results(source, document(points=PLAN), maps()), tmp_path, "in")
    said = program("dsrdump", "+Pl", report)
    assert "PARTIAL" not in said
    for line in (
        'contains CODE:(,,"Finding")=(309529002,SCT,"Lung mass")',
        'contains CODE:(,,"Presence")=(272519000,SCT,"Absent")',
        'has concept mod CODE:(,,"Associated finding")=(60046008,SCT,"Pleural effusion")',
        'Certainty of Finding")="91.2345" (%,UCUM,"Percent")',
        "POLYLINE,130/60,160/60,160/90,130/90,130/60",
        'Comment")="Not for clinical use; trained on simulated images."',
    ):
        assert line in said, said
    assert 'Finding")=(60046008' not in said.replace('"Associated finding")', "")


def test_the_report_holds_the_notes_of_the_reader(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm", WindowCenter=30000, WindowWidth=100)
    report, _, _ = save_dicom_results(dicom_results(source, document(), maps()), tmp_path, "in")
    note = "How the image was read: the window of centre 30000 and width 100 holds no pixel; it was passed over."
    assert f'Comment")="{note}"' in program("dsrdump", "+Pl", report)
