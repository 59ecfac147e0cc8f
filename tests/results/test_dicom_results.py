"""DICOM results of real files: valid, with the same boxes, about the right study, and about no one else."""

import importlib.util
import logging
from datetime import datetime, timedelta
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from skimage import measure

from bundle.atomic import write_json
from bundle.probability import OperatingPoints
from bundle.results.dicom import (
    DicomOptions,
    DicomSourceError,
    dicom_results,
    read_findings,
    save_dicom_results,
)
from bundle.results.findings_file import write_maps
from tests.results.dicom_case import (
    FINDINGS,
    HEIGHT,
    LESION,
    NOTICE,
    PATIENT,
    PLAN,
    SHOWN,
    UIDS,
    WIDTH,
    document,
    errors,
    maps,
    program,
    write_radiograph,
)

SOURCES = {
    "plain": {},
    "monochrome1": {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 3000},
    "two_windows": {"WindowCenter": [2000, 1000], "WindowWidth": [3000, 500]},
    "rescaled": {"RescaleSlope": 2, "RescaleIntercept": -1024},
    "for_processing": {"PresentationIntentType": "FOR PROCESSING"},
    "window_beside": {"WindowCenter": 30000, "WindowWidth": 100},
    "named_twice": {"PatientName": "Müller^Jörg=山田", "SpecificCharacterSet": "ISO_IR 192"},
    "unusual": {
        "PatientName": "Nobody",
        "PatientSex": "O",
        "PatientOrientation": ["L", "F"],
        "BurnedInAnnotation": "NO",
    },
}


def rg1(name: str = "RG1_UNCR.dcm") -> Path:
    spec = importlib.util.find_spec("data_store")
    assert spec is not None, "pip install --no-deps pydicom-data==1.0.0"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data" / name


ANALYSED = "2026-11-29T10:20:30+01:00"


def write_results(
    folder: Path, options: DicomOptions | None = None, points: OperatingPoints | None = PLAN, **tags: object
) -> dict[str, Path]:
    source = write_radiograph(folder / "in.dcm", **tags)
    found = document(points=points, analysed=ANALYSED)
    paths = save_dicom_results(dicom_results(source, found, maps(), options), folder / "out", "in")
    return dict(zip(("sr", "gsps", "sc"), paths, strict=True))


@pytest.mark.parametrize("tags", SOURCES.values(), ids=SOURCES)
def test_results_are_valid_dicom(tmp_path, tags):
    paths = write_results(tmp_path, **tags)
    assert [path.name for path in paths.values()] == ["in_sr.dcm", "in_gsps.dcm", "in_sc.dcm"]
    for path, kind in zip(
        paths.values(), ("Comprehensive3DSR", "GrayscaleSoftcopyPresentationState", "SCImage"), strict=True
    ):
        report = program("dciodvfy", path)
        assert kind in report
        assert errors(report) == []
    assert errors(program("dcentvfy", tmp_path / "in.dcm", *paths.values())) == []


def test_the_judge_finds_errors(tmp_path):
    """So that a silent dciodvfy would not pass for a clean one."""
    path = write_results(tmp_path)["sr"]
    broken = dcmread(path)
    del broken.VerificationFlag
    broken.save_as(path)
    assert errors(program("dciodvfy", path)) != []
    broken.StudyInstanceUID, broken.PatientBirthDate = "1.2.3.4", "19991231"
    broken.save_as(path)
    assert "19991231" in program("dcentvfy", tmp_path / "in.dcm", path)


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG1_J2KR.dcm"])
def test_a_real_radiograph_uncompressed_and_jpeg_2000(tmp_path, name):
    source = dcmread(rg1(name), stop_before_pixels=True)
    height, width = int(source.Rows), int(source.Columns)
    found = document() | {"stored_size": {"height": height, "width": width}}
    paths = save_dicom_results(dicom_results(rg1(name), found, maps()), tmp_path, "rg1")
    for path in paths:
        assert errors(program("dciodvfy", path)) == []
        result = dcmread(path)
        assert result.PatientName == source.PatientName
        assert "OtherPatientIDs" not in result  # only what archives file by
    assert errors(program("dcentvfy", rg1(name), *paths)) == []


def test_boxes_and_scores_survive_the_round_trip(tmp_path):
    paths = write_results(tmp_path)
    source = dcmread(tmp_path / "in.dcm")
    report = highdicom.sr.srread(paths["sr"])
    groups = report.content.get_planar_roi_measurement_groups()
    seen: dict[str, tuple[float, np.ndarray]] = {}
    for group in groups:
        assert group.reference_type == highdicom.sr.CodedConcept("111030", "DCM", "Image Region")
        assert group.roi.graphic_type == highdicom.sr.GraphicTypeValues.POLYLINE
        points = group.roi.value
        assert np.array_equal(points[0], points[-1])  # closed
        (region,) = [item for item in group[0].ContentSequence if item.ValueType == "SCOORD"]
        reference = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        (measured,) = group.get_measurements()
        assert measured.unit == highdicom.sr.CodedConcept("%", "UCUM", "Percent")
        seen[group.tracking_identifier] = (measured.value, points)
    assert list(seen) == list(SHOWN)
    for label, (_, score, *_, x0, y0, x1, y1) in SHOWN.items():
        value, points = seen[label]
        assert value == pytest.approx(100 * score, abs=1e-9)
        corners = np.float32([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])  # FL holds single precision
        assert np.array_equal(np.float32(points), corners)

    graphics = {
        layer: [np.reshape(g.GraphicData, (-1, 2)) for g in annotation.GraphicObjectSequence]
        for annotation in dcmread(paths["gsps"]).GraphicAnnotationSequence
        if (layer := annotation.GraphicLayer) in ("MASS", "RIB_NOTCHING")
    }
    expected = {"MASS": ["Mass 1", "Mass 2"], "RIB_NOTCHING": ["Rib notching 1"]}
    for layer, labels in expected.items():
        for points, label in zip(graphics[layer], labels, strict=True):
            assert np.array_equal(np.float32(points), np.float32(seen[label][1]))
            assert (points.max(0) <= [WIDTH, HEIGHT]).all()


def test_algorithm_notice_and_references_travel_with_every_object(tmp_path):
    source = write_radiograph(tmp_path / "source.dcm")
    paths = write_results(tmp_path)
    results = {kind: dcmread(path) for kind, path in paths.items()}
    for kind, result in results.items():
        assert result.StudyInstanceUID == UIDS["StudyInstanceUID"]
        assert result.SeriesInstanceUID != UIDS["SeriesInstanceUID"]
        assert {key: str(result[key].value) for key in PATIENT} == PATIENT
        assert (result.ManufacturerModelName, result.SoftwareVersions) == ("Patch-CLIP", "1.2.3")
        assert NOTICE.encode() in paths[kind].read_bytes()
    assert len({r.SeriesInstanceUID for r in results.values()} | {r.SOPInstanceUID for r in results.values()}) == 6
    assert str(results["sr"]).count("111003") == 6  # the algorithm's version, in each group
    assert results["gsps"].ReferencedSeriesSequence[0].SeriesInstanceUID == UIDS["SeriesInstanceUID"]
    referenced = results["sc"].SourceImageSequence[0].ReferencedSOPInstanceUID
    assert referenced == dcmread(tmp_path / "in.dcm").SOPInstanceUID != dcmread(source).SOPInstanceUID


def test_the_same_input_gives_the_same_bytes_only_when_asked(tmp_path):
    made = []
    for number, deterministic in enumerate((True, True, False, False)):
        (tmp_path / str(number)).mkdir()
        paths = write_results(tmp_path / str(number), DicomOptions(deterministic=deterministic))
        made.append([path.read_bytes() for path in paths.values()])
    assert made[0] == made[1]
    for first, second, third in zip(made[0], made[2], made[3], strict=True):
        assert first != second != third
    options = DicomOptions(min_score=0.7, deterministic=True)  # other content: other UIDs
    (tmp_path / "other").mkdir()
    other = dcmread(write_results(tmp_path / "other", options)["sr"])
    assert other.SOPInstanceUID != dcmread(tmp_path / "0" / "out" / "in_sr.dcm").SOPInstanceUID


def test_results_are_dated_when_the_image_was_analysed(tmp_path):
    """Not when it was taken, in 2020; the UIDs are the same for an analysis that comes later."""
    source, found = write_radiograph(tmp_path / "in.dcm"), document(points=PLAN)
    uids = []
    for analysed in (ANALYSED, "2026-11-30T00:00:00", None):
        said = found | ({"analysed": analysed} if analysed else {})  # one of an earlier release does not say
        results = dicom_results(source, said, maps(), DicomOptions(deterministic=True))
        uids.append([result.SOPInstanceUID for result in results.by_kind().values()])
        when = datetime.fromisoformat(analysed).replace(tzinfo=None) if analysed else datetime.now()
        sr, sc, gsps = results.sr, results.sc, results.gsps
        dates = (sr.ContentDate, sc.ContentDate, gsps.PresentationCreationDate)
        times = (sr.ContentTime, sc.ContentTime, gsps.PresentationCreationTime)
        for date, time in zip(dates, times, strict=True):
            late = when - datetime.strptime(f"{date}{time}", "%Y%m%d%H%M%S")
            assert timedelta(0) <= late < timedelta(minutes=0 if analysed else 5, seconds=1)
        assert results.sr.StudyDate == "20200102"
    assert uids[0] == uids[1] == uids[2]


@pytest.mark.parametrize(
    "tags",
    [
        {"StudyInstanceUID": "1.2.3.9"},
        {"SeriesInstanceUID": "1.2.3.9"},
        {"PatientID": "OTHER"},
        {"PatientName": "Other^Name"},
        {"StudyTime": "0304"},
        {"RescaleSlope": 2, "RescaleIntercept": 0},
        {"WindowCenter": 2000, "WindowWidth": 3000},
        {"PhotometricInterpretation": "MONOCHROME1"},
    ],
    ids=lambda tags: next(iter(tags)),
)
def test_an_image_edited_for_another_patient_or_study_has_other_uids(tmp_path, tags):
    def uids(**tags: object) -> list[set[str]]:
        source = write_radiograph(tmp_path / "in.dcm", **tags)
        results = dicom_results(source, document(), maps(), DicomOptions(deterministic=True))
        return [{result.SOPInstanceUID, result.SeriesInstanceUID} for result in results.by_kind().values()]

    first, other = uids(), uids(**tags)
    assert first == uids()
    assert all(one.isdisjoint(two) for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize("name", ["Secret^Name", "Secret"])  # one that highdicom would warn of, quoting it
def test_no_patient_in_logs_warnings_or_file_names(tmp_path, caplog, recwarn, name):
    with caplog.at_level(logging.DEBUG):
        paths = write_results(
            tmp_path, PatientName=name, ReferringPhysicianName="Secretdoctor", StudyDescription="Secret"
        )
    said = caplog.text + "".join(str(w.message) for w in recwarn) + "".join(map(str, paths.values()))
    for secret in ("Secret", "SECRET", "19501231"):
        assert secret not in said


def test_malformed_patient_values_are_neither_refused_nor_quoted(tmp_path, caplog, recwarn):
    source = write_radiograph(tmp_path / "in.dcm")
    content = source.read_bytes()
    source.write_bytes(content.replace(b"19501231", b"Xmas1950").replace(b"20200102", b"January "))
    results = dicom_results(source, document(), options=DicomOptions(deterministic=True))
    save_dicom_results(results, tmp_path, "in")
    assert "Xmas" not in caplog.text + "".join(str(w.message) for w in recwarn)


UNUSUAL = {
    b"19501231": b"Secret50",
    b"20200102": b"Secret20",
    b"030405.678": b"Secret3.67",
    b"1.2.3.4\0": b"Secret.4",
    b"1.2.3.4.5\0": b"Secret.4.5",
    b"ISO_IR 192": b"Secret_192",
}


@pytest.mark.filterwarnings("default")  # as outside of tests: an error would end the reading, and hide the others
@pytest.mark.parametrize("old", UNUSUAL, ids=lambda old: old.decode().strip("\0"))
def test_no_malformed_value_is_logged_or_quoted(tmp_path, caplog, recwarn, old):
    source = write_radiograph(tmp_path / "in.dcm", SpecificCharacterSet="ISO_IR 192", PatientName="Müller")
    content = source.read_bytes()
    assert old in content
    source.write_bytes(content.replace(old, UNUSUAL[old]))
    caplog.set_level(logging.DEBUG)
    refused = ""
    try:
        results = dicom_results(source, document(), maps(), DicomOptions(deterministic=True))
        save_dicom_results(results, tmp_path, "in")
    except DicomSourceError as error:
        refused = str(error)
    assert bool(refused) == old.startswith(b"1.2.3.4")  # the UIDs
    said = refused + caplog.text + "".join(str(w.message) for w in recwarn)
    assert "secret" not in said.lower()


def test_text_beyond_ascii_is_in_the_characters_of_the_image(tmp_path):
    findings = ["Erguss", "Rundherd ≥ 3 cm", "Pneu", "Übrige"]
    source = write_radiograph(tmp_path / "in.dcm", PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100")
    for path in save_dicom_results(dicom_results(source, document(findings), maps()), tmp_path, "in"):
        result = dcmread(path)
        assert result.SpecificCharacterSet == "ISO_IR 100"
        assert result.PatientName == "Müller^Jörg"
        assert errors(program("dciodvfy", path)) == []
        if result.Modality != "OT":
            assert "Rundherd >= 3 cm" in str(result)
            assert "Übrige" in str(result)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"StudyInstanceUID": None}, "StudyInstanceUID is missing or not a UID.*archive"),
        ({"SeriesInstanceUID": "", "StudyInstanceUID": "1.02.x"}, "StudyInstanceUID, SeriesInstanceUID is missing"),
    ],
)
def test_an_image_that_cannot_be_referred_to_is_refused(tmp_path, tags, wanted, recwarn):
    source = write_radiograph(tmp_path / "in.dcm", **tags)
    with pytest.raises(DicomSourceError, match=rf"in\.dcm: {wanted}"):
        dicom_results(source, document())


def test_findings_of_another_image_are_refused(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm")
    with pytest.raises(ValueError, match=r"findings are of one of \(10, 10\)"):
        dicom_results(source, document() | {"stored_size": {"height": 10, "width": 10}})
    with pytest.raises(ValueError, match=r"maps are \(2, 150, 100\); wanted \(4, h, w\)"):
        dicom_results(source, document(), maps()[:2])


def test_a_missing_patient_is_empty(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm", AccessionNumber=None)
    whole = dcmread(source)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber"):
        del whole[keyword]
    whole.save_as(source)
    for path in save_dicom_results(dicom_results(source, document()), tmp_path, "in"):
        result = dcmread(path)
        assert not result.PatientName
        assert not result.StudyDate
        assert errors(program("dciodvfy", path)) == []


def test_findings_and_maps_are_read_as_they_were_written(tmp_path):
    write_maps(tmp_path / "in_map.nii.gz", maps(), np.eye(4), (HEIGHT, WIDTH))
    write_json(tmp_path / "in.json", document(map={"file": "in_map.nii.gz"}))
    found, read = read_findings(tmp_path / "in.json")
    assert list(found["findings"]) == FINDINGS
    assert np.array_equal(read, maps(), equal_nan=True)
    write_json(tmp_path / "other.json", {"auroc": 1})
    with pytest.raises(ValueError, match=r"other\.json: no note, stored_size, findings, candidates in it"):
        read_findings(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("tags", "ratio"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, [2, 1]),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.1, 0.15]}, [2, 3]),
        ({"PixelSpacing": None, "PixelAspectRatio": [5, 4]}, [5, 4]),
        ({"PixelAspectRatio": [5, 4]}, [1, 1]),  # the spacing goes first
        ({"PixelSpacing": None, "PixelAspectRatio": [0, 0]}, [1, 1]),
        ({"PixelSpacing": None}, [1, 1]),
    ],
)
def test_the_aspect_of_the_pixels_is_kept(tmp_path, tags, ratio):
    source = write_radiograph(tmp_path / "in.dcm", **{k: v for k, v in tags.items() if v})
    if not tags.get("PixelSpacing", True):
        whole = dcmread(source)
        del whole.PixelSpacing
        whole.save_as(source)
    results = dicom_results(source, document() | {"candidates": []})  # nothing is drawn
    for path in save_dicom_results(results, tmp_path, "in"):
        assert errors(program("dciodvfy", path)) == []
    (area,) = results.gsps.DisplayedAreaSelectionSequence
    assert area.PresentationPixelAspectRatio == ratio
    lesion = max(
        measure.regionprops(measure.label(results.sc.pixel_array.min(2) > 220)), key=lambda region: region.area
    )
    top, left, bottom, right = lesion.bbox  # a square in stored pixels
    assert (bottom - top) / (right - left) == pytest.approx(ratio[0] / ratio[1], rel=0.02)


def test_contours_surround_the_lesion(tmp_path):
    state = dcmread(write_results(tmp_path)["gsps"])
    (annotation,) = [a for a in state.GraphicAnnotationSequence if a.GraphicLayer == "MASS_MAP"]
    (contour,) = [np.reshape(g.GraphicData, (-1, 2)) for g in annotation.GraphicObjectSequence]
    assert np.array_equal(contour[0], contour[-1])
    # the map goes from 1 to 0 between the centres of its pixels, which are two stored ones wide: at the lesion's edge
    assert contour.min(0) == pytest.approx(LESION[:2], abs=0.01)
    assert contour.max(0) == pytest.approx(LESION[2:], abs=0.01)
