"""Further chest CTs: fetched, framed, labelled, their lesions taken out, simulated, left out of a training."""

import json
import re
import shutil
import sys
from pathlib import Path

import itk
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from bundle.data.datalist import datalist_section
from bundle.data.demo import make_demo_radiographs, real_case, simulate
from bundle.data.demo.anatomy import load_anatomy
from bundle.data.demo.contact_sheet import _caption
from bundle.data.demo.fetch import fetch_anatomies
from bundle.data.demo.framing import LUNGS, frame_ct, lungs_by_threshold, read_nrrd, top_of_lungs
from bundle.data.demo.projection import Pose, base_projection
from bundle.data.demo.removal import remove_lesion
from bundle.data.demo.sdist import DistributionError, download, extract
from bundle.data.demo.source import LOBES, SHAPE, SPACING, read_ct
from bundle.data.demo.subjects import ABOUT, BONE, LESION, LIDC, Subject, Volumes, chosen_subjects, read_subject
from bundle.experiments.left_out_anatomy import LeftOutAnatomy, make_sets
from scripts.leave_one_anatomy_out import anatomies_tables
from tests.workflows.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return download(tmp_path_factory.mktemp("sdist"))
    except DistributionError as error:
        if not re.search(r"No matching distribution|[Cc]onnection|[Tt]imed? ?out", str(error)):
            raise
        pytest.skip(f"no package index can be reached: {str(error).splitlines()[0]}")


@pytest.fixture(scope="module")
def folder(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anatomies")
    fetch_anatomies(folder, "lung2", sdist)
    return folder


@pytest.fixture(scope="module")
def lung2(folder: Path) -> Subject:
    return chosen_subjects("lung2", folder)[0]


@pytest.fixture(scope="module")
def volumes(lung2: Subject) -> Volumes:
    return read_subject(lung2)


@pytest.fixture(scope="module")
def removed(volumes: Volumes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return remove_lesion(volumes.hu, volumes.labels)


# --- fetched ----------------------------------------------------------------------------------------------------------


def test_an_index_that_cannot_be_reached_is_an_error_that_says_what_remains(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DistributionError, match=r"(?s)wanted its source distribution.*--sdist.*one anatomy remains"):
        download(tmp_path)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.tar.gz").write_bytes(b"another")
    with pytest.raises(DistributionError, match=r"other.tar.gz: found SHA-256 .*wanted 47c57f44"):
        fetch_anatomies(tmp_path / "anatomies", "lung1", tmp_path / "other.tar.gz")
    assert not (tmp_path / "anatomies").exists()


def test_what_is_not_fetched_or_not_known_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lung1: found nothing.*python -m scripts\.fetch_anatomies --output"):
        chosen_subjects("lidc,lung1", tmp_path)
    (tmp_path / "lung1").mkdir()
    (tmp_path / "lung1" / ABOUT).write_text('{"format": 0}')
    with pytest.raises(FileNotFoundError, match="found format 0"):
        chosen_subjects("lung1", tmp_path)
    for wrong in ("lung3", "lidc,lidc", ""):
        with pytest.raises(ValueError, match="each once, of lidc, lung1, lung2"):
            chosen_subjects(wrong, tmp_path)
    assert chosen_subjects("lidc", tmp_path) == (LIDC,)


def test_what_is_there_is_not_made_again(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    about = fetch_anatomies(folder, ("lung2",), "no file: nothing is read")["lung2"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert (about["finding"], about["spacing_mm"]) == ("Mass", [0.6269531, 0.6269531, 5.0])
    assert about["dice_lungs"] > 0.9
    assert 50 < about["lesion_mm"][0] < 60


# --- framed and labelled ----------------------------------------------------------------------------------------------


def test_a_voxel_lies_where_its_scan_says(sdist, tmp_path):
    """Checked against ITK's own idea of the patient's space: lung1, whose lowest recesses are cut off."""
    ct, outline = (str(file) for file in extract(sdist, tmp_path)["lung1"])
    (hu, spacing), (lesion, _) = read_nrrd(ct), read_nrrd(outline)
    framed = frame_ct(hu, lesion, spacing)
    image = itk.imread(ct, itk.F)
    origin = np.array(image.GetOrigin())
    rng = np.random.default_rng(0)
    inside = np.argwhere(framed.lesion | (rng.random(SHAPE) < 2e-5))
    pairs = []
    for voxel in inside:
        x, y, z = (float(v) * s - o for v, s, o in zip(voxel, SPACING, framed.offset, strict=True))
        depth = (hu.shape[1] - 1) * spacing[1] - y  # the patient's y runs from front to back
        index = image.TransformPhysicalPointToIndex((origin + np.array([x, depth, z])).tolist())
        if image.GetLargestPossibleRegion().IsInside(index):
            pairs.append((image.GetPixel(index), framed.hu[tuple(voxel)]))
    theirs, ours = np.array(pairs, float).T
    assert len(pairs) > 800
    assert np.median(np.abs(theirs - ours)) < 60  # ITK's is the nearest voxel, of slices of 5 mm
    assert np.corrcoef(theirs, ours)[0, 1] > 0.9
    middle = np.argwhere(framed.lesion).mean(axis=0) * SPACING
    assert middle[0] < SHAPE[0] * SPACING[0] / 2, "the right lung lies at low columns"
    assert framed.lesion.sum() * np.prod(SPACING) == pytest.approx(float(lesion.sum() * np.prod(spacing)), rel=0.05)
    # The apices lie where those of the other chest lie; below the scan the lungs end by themselves.
    lungs = lungs_by_threshold(framed.hu[::2, ::2], (2 * SPACING[0], 2 * SPACING[1], SPACING[2]))
    assert top_of_lungs(lungs, (2 * SPACING[0], 2 * SPACING[1])) * SPACING[2] == pytest.approx(LUNGS[2][1], abs=5)
    lowest = np.flatnonzero(lungs.any(axis=(0, 1)))[0]
    assert 0 < lowest < framed.lowest
    areas = lungs.sum(axis=(0, 1))[lowest : framed.lowest]
    assert (np.diff(areas) >= 0).all()


def test_organs_lie_where_they_belong(volumes):
    labels, hu = volumes.labels[::4, ::4], volumes.hu[::4, ::4]
    litre, middle = 16 * np.prod(SPACING) / 1e6, SHAPE[0] / 8
    for lobe in LOBES:
        part = labels == lobe
        assert 0.3 < part.sum() * litre < 1.5
        assert hu[part].mean() < -700
        left = np.argwhere(part)[:, 0].mean() > middle
        assert left == (lobe in LOBES[:2])
    assert _height(labels == 10) > _height(labels == 11)
    assert _height(labels == 12) > _height(labels == 13) > _height(labels == 14)
    heart = labels == 51
    assert 0.3 < heart.sum() * litre < 0.7  # that of the CT the labels come from: 0.37
    assert hu[heart].mean() == pytest.approx(40, abs=25)
    assert np.argwhere(heart)[:, 0].mean() > middle
    bone = labels == BONE
    assert hu[bone].mean() > 200
    assert np.argwhere(bone)[:, 1].mean() < np.argwhere(heart)[:, 1].mean(), "spine and ribs lie behind the heart"


def _height(mask: np.ndarray) -> float:
    return float(np.argwhere(mask)[:, 2].mean())


# --- its lesion -------------------------------------------------------------------------------------------------------


def test_the_mass_is_replaced_by_lung_and_nothing_else_is(volumes, removed):
    hu, labels, region = removed
    lesion = volumes.labels == LESION
    assert volumes.hu[lesion].mean() > -50
    assert not (labels == LESION).any()
    assert (labels[lesion] == 11).all(), "it lies in the left lower lobe"
    deep = ndimage.binary_erosion(volumes.labels[::2, ::2] == 11, iterations=4)
    lung = volumes.hu[::2, ::2][deep]
    assert hu[lesion].mean() == pytest.approx(lung.mean(), abs=60)
    assert 0.6 < hu[lesion].std() / lung.std() < 1.5
    # Vessels, as in lung, and no shell of the mass: solid parts are about as frequent and as large as elsewhere.
    assert (hu[lesion] > -300).mean() < 1.5 * (lung > -300).mean() + 0.01
    (cut,) = ndimage.find_objects(region.view(np.uint8))
    near = ndimage.binary_dilation(lesion[cut], iterations=3) & region[cut]
    parts, count = ndimage.label((hu[cut] > -300) & near)
    assert max(np.bincount(parts.ravel())[1:], default=0) * np.prod(SPACING) < 2000, f"{count} remnants"
    assert np.array_equal(hu[~region], volumes.hu[~region])
    assert np.array_equal(labels[~region], volumes.labels[~region])
    assert region[lesion].all()


def test_a_ct_without_a_lesion_is_refused():
    with pytest.raises(ValueError, match="no voxel labelled 255"):
        remove_lesion(np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 4), np.uint8))


def test_the_real_case_shows_the_mass_in_its_box(lung2, volumes, removed):
    case = real_case(lung2)
    assert case.finding == "Mass"
    height, width = case.pixels.shape
    assert (height * case.pixel_mm, width * case.pixel_mm) == pytest.approx((305, 321), abs=3), "what was scanned"
    ((x0, y0, x1, y1),) = case.boxes
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert x0 > width / 2, "the left lung is the image's right"
    added = np.clip(volumes.hu - removed[0].astype(np.float32), 0, None).sum(axis=1) * SPACING[1] / 1000  # mm of water
    assert added.max() > 30
    columns = np.flatnonzero(added.max(axis=1) > 5) - np.flatnonzero(np.arange(SHAPE[0]) * SPACING[0] > 12.29)[0]
    assert (columns[0], columns[-1]) == pytest.approx((x0, x1), abs=6)


# --- simulated --------------------------------------------------------------------------------------------------------


def test_the_chest_hangs_as_for_reading_without_its_mass(lung2):
    base, anatomy = base_projection(Pose(), lung2), load_anatomy(lung2)
    left, right = (np.average(np.arange(512), weights=lung.sum(axis=0)) for lung in base.lungs)
    assert left > right
    assert np.average(2 * np.indices(base.heart_shadow.shape)[1], weights=base.heart_shadow) > 0.5 * (left + right)
    assert 1 < anatomy.tall < 1.4
    assert load_anatomy().tall == 1
    assert (anatomy.half[anatomy.depth[0] > 12] > 0.9).mean() < 0.02, "solid tissue deep in the left lung"


def test_drawing_the_first_anatomy_leaves_its_image_as_it_is_alone(lung2):
    both = (LIDC, lung2)
    drawn = [simulate(seed, subjects=both) for seed in range(5)]
    assert {each.anatomy for each in drawn} == {"lidc", "lung2"}
    for each in drawn:
        alone = simulate(each.seed)
        if each.anatomy == "lidc":
            assert np.array_equal(each.pixels, alone.pixels)
            assert (each.report, each.boxes, each.anatomy) == (alone.report, alone.boxes, alone.anatomy)
        else:
            assert each.pixels.shape == alone.pixels.shape, "the same view, of another chest"
            assert not np.array_equal(each.pixels, alone.pixels)
            assert np.array_equal(each.pixels, simulate(each.seed, subjects=both).pixels)
        assert all(1.5 <= box.attributes["cnr"] <= 10 for box in each.boxes)


def test_a_set_says_whose_chest_each_image_shows(lung2, tmp_path):
    options = {"images": 6, "validation": 1, "test": 2, "workers": 1, "progress": False}
    options |= {"anatomies": "lidc", "test_anatomies": "lung2", "anatomies_dir": lung2.folder}
    datalist = make_demo_radiographs(tmp_path, **options)
    content = json.loads(datalist.read_text())
    assert content["generator"]["anatomies"] == ["lidc"]
    assert content["generator"]["test_anatomies"] == ["lung2"]
    assert "2 CTs mean 2 anatomies" in content["description"]
    for section, anatomy in (("training", "lidc"), ("validation", "lidc"), ("test", "lung2")):
        assert {entry["anatomy"] for entry in content[section]} == {anatomy}
        assert len(datalist_section(datalist, section, content["findings"])) == len(content[section])
    own, other = (pydicom.dcmread(tmp_path / content[part][0]["image"]) for part in ("training", "test"))
    assert "Simulated from the CT LIDC" in own.ImageComments
    assert "the CT lung2 of the package pyradiomics" in other.ImageComments
    assert "licence is not stated" in other.ImageComments
    first = tmp_path / content["training"][0]["image"]
    kept = first.read_bytes()
    before = first.stat().st_mtime_ns
    assert make_demo_radiographs(tmp_path, **options) == datalist
    assert first.stat().st_mtime_ns == before, "nothing is made again"
    make_demo_radiographs(tmp_path, **options, more_training=1)
    more = json.loads(datalist.read_text())
    assert [entry["anatomy"] for entry in more["training"]] == ["lidc"] * 4
    assert more["test"] == content["test"]
    make_demo_radiographs(tmp_path, **options | {"test_anatomies": None})
    alone = json.loads(datalist.read_text())
    assert "anatomies" not in alone["generator"]
    assert not any("anatomy" in entry for part in ("training", "validation", "test") for entry in alone[part])
    assert first.read_bytes() == kept, "the same image, bit by bit"
    again = pydicom.dcmread(tmp_path / alone["test"][0]["image"])
    assert again.SOPInstanceUID != other.SOPInstanceUID, "another image of the same seed is another instance"


def test_a_sheet_names_the_cts_of_its_test_split():
    assert "projections of one CT (LIDC-IDRI-0001" in _caption({})
    assert "one CT (LIDC-IDRI-0001" in _caption({"anatomies": ["lung1"], "test_anatomies": ["lidc"]})
    mixed = _caption({"anatomies": ["lidc", "lung2"]})
    assert "2 CTs (LIDC-IDRI-0001" in mixed
    assert "lung2 of pyradiomics" in mixed


# --- left out ---------------------------------------------------------------------------------------------------------


def test_an_anatomy_is_left_out_and_its_real_lesion_judged(lung2, tmp_path, monkeypatch):
    # of fifteen, each projected once
    monkeypatch.setattr(sys.modules["bundle.data.demo.simulate"], "POSES", (Pose(),))
    data, output = tmp_path / "loo", tmp_path / "eval"
    make_sets(data, 20, names=("lidc", "lung2"), anatomies_dir=lung2.folder, workers=1, progress=False)
    content = json.loads((data / "without_lung2" / "datalist.json").read_text())
    assert {e["anatomy"] for e in content["training"]} == {"lidc"}
    assert {e["anatomy"] for e in content["test"]} == {"lung2"}
    image = pydicom.dcmread(data / "without_lung2" / "real" / "images" / "lung2.dcm")
    assert "untouched" in image.ImageComments
    assert "computer-inserted" not in image.ImageComments
    assert (image.PatientAge, image.PatientSex) == ("", "")
    files = [ROOT / "configs" / "train.json", ROOT / "tests" / "tiny.json"]
    judging = [ROOT / "configs" / name for name in ("evaluate.json", "compare.json", "patch_maps_alone.json")]
    small = {"max_epochs": 1}
    with pytest.raises(ValueError, match=r"dataset_dir would have no effect"):
        LeftOutAnatomy(files, judging, data, output, ["lung2"], overrides={"dataset_dir": "x"})
    with pytest.raises(FileNotFoundError, match=r"without_lung1: found no datalist\.json.*leave_one_anatomy_out make"):
        LeftOutAnatomy(files, judging, data, output, ["lung1"])
    summary = LeftOutAnatomy(files, judging, data, output, ["lung2"], overrides=small).run()
    cell = output / "without_lung2" / "share_1_seed_0"
    assert (cell / "plan.json").is_file()
    verdict = summary["lung2"]["real"]["0"]
    assert verdict == json.loads((cell / "real.json").read_text())
    document = json.loads((cell / "real" / "lung2.json").read_text())
    assert verdict["probability"] == document["findings"]["Mass"]["image"]
    plan = json.loads((cell / "plan.json").read_text())
    assert verdict["box_threshold"] == plan["points"]["Mass"]["box"], "the plan of these weights judges it"
    assert set(summary["lung2"]["figures"]) >= {"auroc/mean", "auroc/mean/seen", "froc/mean/sens_at_1fp/seen"}
    told = anatomies_tables(summary)
    assert "| lung2, Mass " in told
    assert "... of new images of the anatomies trained on" in told
    shutil.rmtree(cell / "real")  # what is done is not done again
    assert LeftOutAnatomy(files, judging, data, output, ["lung2"], overrides=small).run() == summary


def test_the_wheels_ct_is_the_one_that_labels_come_from():
    labels = read_ct()[1]
    ends = [np.flatnonzero(np.isin(labels, LOBES).any(axis=k))[[0, -1]] for k in ((1, 2), (0, 2), (0, 1))]
    for (first, last), spacing, wanted in zip(ends, SPACING, LUNGS, strict=True):
        assert (first * spacing, last * spacing) == pytest.approx(wanted, abs=6)
