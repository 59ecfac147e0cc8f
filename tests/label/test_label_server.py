"""The real server: what it answers is what inference writes, in the image's geometry; nothing makes it fall."""

import json
import sys

import itk
import nibabel
import numpy as np
import pytest

from tests.label.conftest import radiograph
from tests.label.server import hashes, plane
from tests.tiny import write_dicom

pytestmark = pytest.mark.slow
FILES = ("dx.dcm", "inverse.dcm", "ward/IM0001", "export.png", "series.nii.gz")
NAMES = {"ward/IM0001": "ward__IM0001"}


@pytest.fixture(scope="module")
def inferred(tiny_place, tiny_package, studies, as_nifti, tmp_path_factory):
    """What the inference workflow writes about the same files: file -> (document, maps (K, H, W))."""
    folder = tmp_path_factory.mktemp("inferred")
    config = tiny_package / "configs" / "inference.json"
    for number, source in enumerate((studies, as_nifti)):
        settings = {"config_file": config, "bundle_root": tiny_package, "dataset_dir": source, "map_side": "$None"}
        settings["output_dir"] = folder / str(number)
        arguments = [f"--{key}={value}" for key, value in settings.items()]
        tiny_place.execute([sys.executable, "-m", "monai.bundle", "run", "inferring", *arguments])
    found = {}
    for path in folder.rglob("*.json"):
        document = json.loads(path.read_text())
        if "map" in document:
            maps = nibabel.load(path.parent / document["map"]["file"])
            found[document["file"]] = document, np.asarray(maps.dataobj)[:, :, 0].transpose(2, 1, 0)
    assert set(found) == {file.split("/")[-1] for file in FILES}
    return found


def path_of(file, studies, as_nifti):
    return as_nifti if file == "series.nii.gz" else studies / file


def check_same(params, document):
    for finding, scores in document["findings"].items():
        assert params["findings"][finding] == pytest.approx(scores, abs=1e-4)
        assert {"label": finding, "score": pytest.approx(scores["image"], abs=1e-4)}.items() <= next(
            p for p in params["prediction"] if p["label"] == finding
        ).items()
    assert len(params["candidates"]) == len(document["candidates"]) > 0
    for one, other in zip(params["candidates"], document["candidates"], strict=True):
        assert one["finding"] == other["finding"]
        assert [one["score"], *one["box"], *one["peak"]] == pytest.approx(
            [other["score"], *other["box"], *other["peak"]], abs=1e-4
        )
    assert params["stored_size"] == document["stored_size"]
    assert params["notice"]


def check_geometry(result, path):
    """As ITK, and with it 3D Slicer, places the image."""
    image = itk.imread(str(path))
    size = list(itk.size(image))
    assert list(result.shape) == [*size, 1][:3]
    spacing, origin = np.ones(3), np.zeros(3)
    spacing[: len(size)], origin[: len(size)] = itk.spacing(image), itk.origin(image)
    direction = np.eye(3)
    direction[: len(size), : len(size)] = itk.array_from_matrix(image.GetDirection())
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = direction * spacing, origin
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ lps, result.affine, atol=1e-5)


def check_boxes(mask, params, findings):
    """Painted is what the candidates say: the highest score is on top, and nothing else than boxes is painted."""
    table = [c for c in params["candidates"] if c["shown"]]
    assert set(np.unique(mask)) - {0} == set(params["segments"].values())
    outside = np.ones(mask.shape, bool)
    for candidate in table:
        x0, y0, x1, y1 = candidate["box"]
        outside[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = False
    assert not mask[outside].any()
    x0, y0, x1, y1 = table[0]["box"]
    assert (
        mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] == findings.index(table[0]["finding"]) + 1
    ).all()


@pytest.mark.parametrize("file", FILES)
def test_what_is_served_is_what_inference_writes(file, serving, studies, as_nifti, inferred, tmp_path):
    document, maps = inferred[file.split("/")[-1]]
    path = path_of(file, studies, as_nifti)
    findings = list(document["findings"])
    low = {"min_score": 0.05, "min_image_score": 0}

    boxes, params = serving.infer(tmp_path, file=path, show="boxes", **low)
    check_same(params, document)
    check_geometry(boxes, path)
    check_boxes(plane(boxes), params, findings)

    regions, params = serving.infer(tmp_path, file=path, **low)
    check_geometry(regions, path)
    assert params["show"] == "regions"
    assert params["label_names"] == params["segments"]
    assert plane(regions).any()
    assert not plane(regions)[plane(boxes) == 0].any()

    for k, finding in enumerate(findings):
        heat, params = serving.infer(tmp_path, file=path, show="map", finding=finding)
        check_geometry(heat, path)
        assert plane(heat).dtype == np.float32
        np.testing.assert_allclose(plane(heat), maps[k], atol=1e-4)


@pytest.mark.parametrize("file", FILES)
def test_what_is_shown_is_the_plans_in_inference_and_the_viewer(file, serving, studies, as_nifti, inferred, tmp_path):
    """The first finding shows all that it may, the last nothing, whatever their scores."""
    document, _ = inferred[file.split("/")[-1]]
    findings = list(document["findings"])
    shown = [candidate for candidate in document["candidates"] if candidate["shown"]]
    count = {name: sum(candidate["finding"] == name for candidate in shown) for name in findings}
    assert count[findings[0]] == min(3, sum(c["finding"] == findings[0] for c in document["candidates"])) > 0
    assert count[findings[-1]] == 0 < sum(c["finding"] == findings[-1] for c in document["candidates"])
    assert document["probability"].startswith("calibrated")

    boxes, params = serving.infer(tmp_path, file=path_of(file, studies, as_nifti), show="boxes")
    assert [c["shown"] for c in params["candidates"]] == [c["shown"] for c in document["candidates"]]
    assert params["operating_points"] == document["operating_points"]
    inside = np.zeros(plane(boxes).shape, bool)
    for x0, y0, x1, y1 in (candidate["box"] for candidate in shown):
        inside[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    assert ((plane(boxes) > 0) == inside).all()


@pytest.mark.parametrize("file", FILES[:4])
def test_radiographs_of_the_studies_are_served_by_name(file, serving, inferred, tmp_path):
    name = NAMES.get(file, file.split(".")[0])
    _, params = serving.infer(tmp_path, name)
    check_same(params, inferred[file.split("/")[-1]][0])
    answer = serving.post(name, output="json")
    assert answer.json()["candidates"] == params["candidates"]


@pytest.mark.parametrize("file", FILES)
def test_the_stock_application_answers_the_same(file, stock, studies, as_nifti, inferred, tmp_path):
    path = path_of(file, studies, as_nifti)
    document, maps = inferred[file.split("/")[-1]]
    result, params = stock.infer(tmp_path, file=path, min_score=0.05, min_image_score=0)
    check_same(params, document)
    check_geometry(result, path)
    finding = list(document["findings"])[1]
    heat, _ = stock.infer(tmp_path, file=path, show="map", finding=finding)
    np.testing.assert_allclose(plane(heat), maps[1], atol=1e-4)


def test_info_lists_model_and_radiographs(serving, studies):
    info = serving.info()
    model = info["models"]["patch_clip"]
    assert model["type"] == "segmentation"
    assert model["labels"] == {"Effusion": 1, "Mass": 2}
    assert info["datastore"]["total"] == 5  # the header of colour.png shows no fault
    write_dicom(studies / "ward" / "later.dcm", radiograph(100, 90, 5))
    try:
        assert serving.info()["datastore"]["total"] == 6  # no restart
    finally:
        (studies / "ward" / "later.dcm").unlink()
    assert serving.info()["datastore"]["total"] == 5


def test_studies_are_never_written(serving, studies):
    assert serving.request("DELETE", "/datastore/image", params={"id": "dx"}).status_code == 404
    assert hashes(studies) == serving.originals


def test_memory_stays(serving):
    for _ in range(20):
        assert serving.post("dx").status_code == 200
    before = serving.rss_mb()
    for number in range(100):
        name, show = ("dx", "inverse", "export", "ward__IM0001")[number % 4], ("regions", "boxes", "map")[number % 3]
        assert serving.post(name, show=show).status_code == 200
    assert serving.rss_mb() - before < 50
