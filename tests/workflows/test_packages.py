"""A package stands alone: judged, zipped, checked by the zoo's rules, exported, and used by onnxruntime alone."""

import json
import re
import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch
from monai.bundle.scripts import download_large_files
from pydicom.data import get_testdata_file
from skimage.io import imsave

from bundle.export import archive
from bundle.export.archive import zip_bundle
from bundle.export.check_bundle import BundleFaultsError, check_bundle
from bundle.export.export import export_package
from bundle.export.package import WEIGHTS, package_bundle
from bundle.export.runner import write_runner
from bundle.fingerprint import file_fingerprint, file_sha256
from bundle.frozen_plan import write_plan
from tests.lean import environment, needed, stated
from tests.node.image_node import said_by_the_image
from tests.workflows.conftest import ROOT, TINY

pytestmark = pytest.mark.slow
ADDRESS = "https://example.org/cxr"


@pytest.fixture(scope="module")
def package(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    models = folder / "models"
    models.mkdir()
    shutil.copyfile(trained.models / "model.pt", models / "model.pt")
    findings, score = json.loads(TINY.read_text())["findings"], {"weights": "learned"}
    made_for = {"weights": file_fingerprint(models / "model.pt"), "findings": findings, "image_score": score}
    point = {"slope": 0.5, "offset": -0.7, "youden": 0.2, "sensitive": 0.1, "box": 0.4}
    candidates = json.loads((ROOT / "configs" / "train.json").read_text())["candidates"]
    points = dict.fromkeys(findings, point)
    write_plan(models / "plan.json", made_for, {"candidates": candidates, "points": points, "score": "image"})
    where = {"output_dir": str(trained.eval), "ckpt_dir": str(models), "dataset_dir": str(trained.data)}
    (folder / "places.json").write_text(json.dumps({**where, "notice": "for tests"}))
    configs = [ROOT / "configs" / "train.json", TINY, folder / "places.json"]
    return package_bundle(configs, ROOT, folder / "package")


def run(place, package, run_id, *configs, **overrides):
    files = [str(package / "configs" / f"{name}.json") for name in configs]
    settings = [f"--{key}={value}" for key, value in {"bundle_root": package, **overrides}.items()]
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, f"--config_file={files}", *settings]
    return place.execute(command, cwd=package.parent)


def test_a_packages_weights_are_without_text_tower_and_judged_alike(package, trained, tmp_path):
    assert json.loads((package / "configs" / "inference.json").read_text())["notice"] == "for tests"
    full = torch.load(trained.models / "model.pt", weights_only=True)
    small = torch.load(package / WEIGHTS, weights_only=True)
    assert set(full) - set(small) == {name for name in full if name.startswith("clip.text.")} != set()
    run(
        trained, package, "evaluating", "train", "evaluate", dataset_dir=trained.data, output_dir=tmp_path, replicates=0
    )
    trained.run("evaluating", "train", "evaluate", output_dir=tmp_path / "full", replicates=0)
    one, other = trained.metrics(tmp_path), trained.metrics(tmp_path / "full")
    assert one.keys() == other.keys()
    assert one["auroc/mean"] == pytest.approx(other["auroc/mean"])
    assert one["froc/mean/score"] == pytest.approx(other["froc/mean/score"])


def test_a_zip_holds_the_package_alone_and_passes_the_zoos_rules(package, tmp_path):
    (package / "last.pt").write_bytes(b"a training's, not the package's")
    file = zip_bundle(package, tmp_path / "cxr_v0.1.0.zip")
    with zipfile.ZipFile(file) as content:
        names = content.namelist()
        content.extractall(tmp_path)
    (package / "last.pt").unlink()
    assert {name.split("/")[0] for name in names} == {"cxr"}
    assert {"cxr/LICENSE", "cxr/docs/data_license.txt", "cxr/models/model.pt", "cxr/bundle/grid.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith("last.pt")]
    check_bundle(tmp_path / "cxr")


def test_large_weights_are_named_and_not_held(package, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_FILE", (package / WEIGHTS).stat().st_size - 1)
    with pytest.raises(ValueError, match=r"models/model\.pt \(0 MB\): above the model zoo's 25 MB.*--weights_url"):
        zip_bundle(package, tmp_path / "cxr.zip")
    zip_bundle(package, tmp_path / "cxr.zip", ADDRESS)
    with zipfile.ZipFile(tmp_path / "cxr.zip") as content:
        content.extractall(tmp_path)
    unpacked = tmp_path / "cxr"
    assert not (unpacked / WEIGHTS).exists()
    with pytest.raises(BundleFaultsError, match=r"models/model\.pt is not there: .* download_large_files"):
        check_bundle(unpacked)
    # MONAI fetches it; from the disk here
    text = (unpacked / "large_files.yml").read_text()
    assert f"url: {ADDRESS}/models/model.pt" in text
    assert f"hash_val: {file_sha256(package / WEIGHTS)}" in text
    (unpacked / "large_files.yml").write_text(text.replace(ADDRESS, package.as_uri()))
    download_large_files(str(unpacked))
    assert file_sha256(unpacked / WEIGHTS) == file_sha256(package / WEIGHTS)
    (unpacked / WEIGHTS).write_bytes(b"other weights")
    with pytest.raises(BundleFaultsError, match=r"models/model\.pt has another SHA-256"):
        check_bundle(unpacked)


def test_all_faults_are_listed_at_once(package, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(package, broken)
    (broken / WEIGHTS).unlink()
    edit(broken / "configs" / "metadata.json", version="9.9.9", monai_version=1)
    edit(
        broken / "configs" / "train.json",
        image_dir="/home/somebody/images",
        models_dir="$'/mnt/models'",
        val_interval=None,
    )
    edit(broken / "configs" / "inference.json", key_metric=None, findings=["Mass"])
    with pytest.raises(BundleFaultsError) as caught:
        check_bundle(broken)
    message = str(caught.value)
    for fault in (
        "version '9.9.9' is not in the changelog",
        "monai_version: 1 is not of type 'string'",
        "image_dir is '/home/somebody/images', a path of one machine",
        "models_dir is '$'/mnt/models''",
        "output channel number `1` doesn't match: `2`",
        "inferring fails: ",
    ):
        assert fault in message, (fault, message)
    (broken / "LICENSE").unlink()
    with pytest.raises(BundleFaultsError, match=r"breaks 1 of .*\n- LICENSE is missing\."):
        check_bundle(broken)


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="module")
def exported(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_package(package, folder, ["onnx"])
    return folder


def test_onnxruntime_alone_sees_what_inferring_sees(package, exported, trained, tmp_path, monkeypatch):
    """The lines of docs/exports.md, as they stand, on an 8-bit and a 16-bit image."""
    shutil.copyfile(exported / "model.onnx", tmp_path / "model.onnx")
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "exports.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(3)
    for number, dtype in enumerate((np.uint8, np.uint16)):
        folder = tmp_path / f"input{number}"
        folder.mkdir()
        coarse = np.kron(generator.random((13, 10)), np.ones((23, 19)))  # 299 x 190
        pixels = (coarse * np.iinfo(dtype).max).astype(dtype)
        for path in (folder / "radiograph.png", tmp_path / "radiograph.png"):
            imsave(path, pixels, check_contrast=False)
        where = {"dataset_dir": folder, "output_dir": folder / "out", "precision#autocast": "float32"}
        run(trained, package, "inferring", "inference", **where, map_side="$None")
        result = json.loads((folder / "out" / "radiograph.json").read_text())
        names: dict = {}
        exec(code, names)
        assert result["probability"].startswith("calibrated")
        scores = dict(zip(names["findings"], names["probability"], strict=True))
        assert scores.keys() == result["findings"].keys()
        for finding, said in result["findings"].items():
            assert said["image"] == pytest.approx(float(scores[finding]), abs=1e-4)
        best = {c["finding"]: c["score"] for c in reversed(result["candidates"])}
        assert best
        limits = [score for finding, score in scores.items() if score >= 0.2]
        assert len(names["present"]) == len(limits)
        for finding, score in best.items():
            k = names["findings"].index(finding)
            assert np.abs(names["pred"][0, k] - score).min() < 1e-4


def test_lean_environments_look_at_a_real_radiograph_and_say_the_same(package, exported, trained, tmp_path):
    """What requirements-inference.txt and requirements-onnx.txt state is enough, small, and gives one JSON."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    shutil.copyfile(get_testdata_file("RG1_J2KR.dcm", download=False), inputs / "real.dcm")
    coarse = np.random.default_rng(3).integers(0, 256, (13, 10), np.uint8)
    imsave(inputs / "small.png", coarse.repeat(9, 0).repeat(9, 1))
    torchful, torch_size = environment(tmp_path / "inference", "requirements-inference.txt")
    command = [str(torchful), "-B", "-m", "monai.bundle", "run", "inferring", "--bundle_root", str(package)]
    command += ["--config_file", str(package / "configs" / "inference.json"), "--dataset_dir", str(inputs)]
    trained.execute([*command, "--output_dir", str(tmp_path / "torch"), "--precision#autocast", "float32"], tmp_path)
    assert (tmp_path / "torch" / "real_map.nii.gz").exists()

    write_runner(ROOT, exported)
    lean, size = environment(tmp_path / "onnx", "requirements-onnx.txt")
    command = [str(lean), "-B", "-m", "bundle.onnx_run", "--model", "model.onnx", "--dataset_dir", str(inputs)]
    trained.execute([*command, "--output_dir", str(tmp_path / "runner")], exported)
    for name in ("real", "small"):
        one, other = (json.loads((tmp_path / where / f"{name}.json").read_text()) for where in ("torch", "runner"))
        for key in ("overlay", "map", "versions", "analysed"):
            one.pop(key, None), other.pop(key, None)
        assert one["candidates"]
        assert one["findings"]["Mass"].keys() == {"global", "pooled", "sparse", "patch", "image"}
        assert_close(one, other)
    packages = needed(stated("requirements-onnx.txt"))
    assert not {"torch", "monai", "itk", "transformers"} & packages.keys()
    assert size < 450 * 2**20
    unwanted = {"itk", "mlflow", "scikit-learn", "matplotlib", "jsonschema", "pandas", "pyarrow"}
    assert not unwanted & needed(stated("requirements-inference.txt")).keys()
    if torch.version.cuda is None:
        assert torch_size < 1300 * 2**20


def test_the_nodes_image_has_all_that_the_node_needs(package, tmp_path):
    echo, results, healthy, log = said_by_the_image(package, tmp_path)
    assert (echo, results, healthy) == (0, [".dcm"] * 3, b"ok\n")
    assert f"queue {tmp_path / 'queue'}" in log
    assert "Stopped" in log


def assert_close(one, other, path=""):
    """Two documents are the same, numbers to 1e-4 (places in pixels, which are rounded to .01, to .02)."""
    if isinstance(one, dict):
        assert list(one) == list(other), path
        for key, value in one.items():
            assert_close(value, other[key], f"{path}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_close(left, right, f"{path}/{place}")
    elif isinstance(one, float):
        assert other == pytest.approx(one, abs=0.021 if "/peak" in path else 1e-4), path
    else:
        assert one == other, path
