"""A tiny trained bundle, a folder of radiographs of every kind, and the two servers over them."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from bundle.export.package import package_bundle
from bundle.fingerprint import file_fingerprint
from bundle.frozen_plan import write_plan
from bundle.probability import NEVER
from tests.label.server import ENVIRONMENT, LABEL_PYTHON, ROOT, Server, hashes
from tests.tiny import write_dicom
from tests.workflows.conftest import TINY, Place

# with the paper's mean over patches so small a network hardly learns a drawn box
LESION_FIRST = {"loss#patch_reduction": "balanced"}


@pytest.fixture(scope="session")
def tiny_place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("label_trained"))
    place.run("training", "train", **LESION_FIRST)
    return place


@pytest.fixture(scope="session")
def tiny_package(tiny_place):
    """With a plan that shows all of the first finding and nothing of the second."""
    where = {"output_dir": str(tiny_place.eval), "ckpt_dir": str(tiny_place.models), **LESION_FIRST}
    findings, score = json.loads(TINY.read_text())["findings"], {"weights": "learned"}
    point = {"slope": 0.8, "offset": 0.3, "youden": 0.0, "sensitive": 0.0}
    points = {name: {**point, "box": box} for name, box in zip(findings, (0.0, NEVER), strict=True)}
    candidates = {"floor": 0.01, "smoothing": 0.0, "box_fraction": 0.5, "max_candidates": 9}
    made_for = {"weights": file_fingerprint(tiny_place.models / "model.pt"), "findings": findings, "image_score": score}
    plan = {"candidates": candidates, "points": points, "score": "image"}
    write_plan(tiny_place.models / "plan.json", made_for, plan)
    (tiny_place.folder / "places.json").write_text(json.dumps(where))
    configs = [ROOT / "configs" / "train.json", TINY, tiny_place.folder / "places.json"]
    return package_bundle(configs, ROOT, tiny_place.folder / "package")


def radiograph(height, width, seed=0):
    """12 bits, a bright square and a dark band, nothing symmetric."""
    pixels = np.random.default_rng(seed).normal(1500, 150, (height, width))
    pixels[10:40, 20:45] += 1500
    pixels[-20:, : width // 3] = 100
    return np.clip(pixels, 0, 4095)


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """Radiographs in subfolders, with and without suffix, and files that are none."""
    folder = tmp_path_factory.mktemp("hospital") / "studies"
    (folder / "ward").mkdir(parents=True)
    place = {"ImagerPixelSpacing": [0.2, 0.3], "ViewPosition": "PA"}
    computed = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"}
    write_dicom(folder / "dx.dcm", radiograph(150, 120), **place)
    write_dicom(
        folder / "inverse.dcm", 4095 - radiograph(130, 170, 1), PhotometricInterpretation="MONOCHROME1", **place
    )
    write_dicom(folder / "ward" / "IM0001", radiograph(160, 110, 2), **computed)
    imsave(folder / "export.png", (radiograph(140, 180, 3) * 16).astype(np.uint16), check_contrast=False)
    imsave(folder / "colour.png", np.arange(9000, dtype=np.uint8).reshape(50, 60, 3), check_contrast=False)
    (folder / "notes.txt").write_text("Secret^Name")
    return folder


@pytest.fixture(scope="session")
def label_python(tmp_path_factory):
    """The interpreter of .venv-label, which the launcher makes."""
    command = ["bash", "-c", f"cd {ROOT} && source scripts/setup_label.sh"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return LABEL_PYTHON


@pytest.fixture(scope="session")
def as_nifti(label_python, studies, tmp_path_factory):
    """dx.dcm as MONAI Label writes it when it comes from DICOMweb."""
    code = "from monailabel.datastore.utils.convert import dicom_to_nifti as d; import sys; print(d(sys.argv[1]))"
    done = subprocess.run(
        [label_python, "-c", code, studies / "dx.dcm"], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    path = tmp_path_factory.mktemp("web") / "series.nii.gz"
    Path(done.stdout.split()[-1]).replace(path)
    return path


@pytest.fixture(scope="session")
def serving(tiny_package, studies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    command = ["bash", ROOT / "scripts" / "serve.sh", "--studies", studies, "--model", tiny_package]
    originals = hashes(studies)
    server = Server([*command, "--work", folder / "work", "--max_upload_mb", "4"], folder / "log", folder, "patch_clip")
    server.work, server.originals = folder / "work", originals
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stock(label_python, tiny_package, studies, tmp_path_factory):
    """MONAI Label's own application for bundles, with MONAI Label's own command, over a copy of the studies."""
    folder = tmp_path_factory.mktemp("stock")
    command = [label_python, "-m", "monailabel.main"]
    subprocess.run(
        [*command, "apps", "--download", "--name", "monaibundle", "--output", folder], check=True, env=ENVIRONMENT
    )
    (folder / "monaibundle" / "model").mkdir()
    (folder / "monaibundle" / "model" / "cxr").symlink_to(tiny_package)
    (folder / "studies").mkdir()
    conf = {"models": "cxr", "zoo_source": "local", "skip_trainers": "true", "sam2": "false"}
    started = ["start_server", "--app", folder / "monaibundle", "--studies", folder / "studies", "--host", "127.0.0.1"]
    started += [part for item in conf.items() for part in ("--conf", *item)]
    server = Server([*command, *started], folder / "log", folder, "cxr")
    yield server
    server.stop()
