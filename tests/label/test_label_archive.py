"""Radiographs from a DICOMweb archive, Orthanc: fetched as DICOM, looked at, drawn on."""

import subprocess

import numpy as np
import pydicom
import pytest
import requests

from tests.label.conftest import radiograph
from tests.label.server import ENVIRONMENT, ROOT, Server, plane
from tests.orthanc import running_orthanc
from tests.tiny import write_dicom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tiny_package, tmp_path_factory):
    """A server over an archive with a DX of MONOCHROME1, a CR, and a CT that is none of its business."""
    folder = tmp_path_factory.mktemp("archive")
    kinds = {
        "1.2.3.1": {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1"},
        "1.2.3.2": {"Modality": "CR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"},
        "1.2.3.3": {"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
    }
    with running_orthanc(folder / "orthanc") as orthanc:
        for uid, tags in kinds.items():
            path = write_dicom(
                folder / f"{uid}.dcm", radiograph(150, 120), SeriesInstanceUID=uid, StudyInstanceUID="1.2.3", **tags
            )
            requests.post(orthanc.url("instances"), data=path.read_bytes(), timeout=30).raise_for_status()
        command = [
            "bash",
            ROOT / "scripts" / "serve.sh",
            "--studies",
            orthanc.url("dicom-web"),
            "--model",
            tiny_package,
        ]
        server = Server([*command, "--work", folder / "work"], folder / "log", folder, "patch_clip")
        server.folder, server.orthanc = folder, orthanc
        yield server
        server.stop()


def test_the_archives_radiographs_are_listed_and_no_others(archive):
    assert archive.info()["datastore"] == {"total": 2, "completed": 0, "label_tags": {}}
    assert archive.post("1.2.3.3").status_code == 404
    assert archive.post("1.2.3.99").status_code == 404


def test_a_series_is_looked_at_as_the_same_file_is(archive, tmp_path):
    for uid in ("1.2.3.1", "1.2.3.2"):
        named, one = archive.infer(tmp_path, uid, min_image_score=0)
        sent, other = archive.infer(tmp_path, file=archive.folder / f"{uid}.dcm", min_image_score=0)
        assert one["findings"] == other["findings"]
        assert one["candidates"] == other["candidates"]
        np.testing.assert_array_equal(plane(named), plane(sent))
        np.testing.assert_array_equal(named.affine, sent.affine)


def test_what_ohif_draws_is_kept_here_and_not_sent_to_the_archive(archive):
    mask = np.zeros((150, 120), np.uint8)
    mask[10:40, 20:45] = 2
    answer = archive.request(
        "PUT", "/datastore/label", params={"image": "1.2.3.1"}, files={"label": ("label.bin", mask.tobytes())}
    )
    assert answer.status_code == 200, answer.text
    assert archive.info()["datastore"]["completed"] == 1
    assert len(archive.orthanc.instances()) == 3
    proposed = archive.request("POST", "/activelearning/uncertainty", json={}).json()
    assert proposed["id"] == "1.2.3.2"


def test_ohif_and_its_way_to_the_archive_are_served(archive):
    assert "OHIF" in archive.request("GET", "/ohif/").text
    studies = archive.request("GET", "/proxy/dicom/qido/studies").json()
    assert pydicom.Dataset.from_json(studies[0]).StudyInstanceUID == "1.2.3"
    assert archive.request("GET", "/proxy/dicom/wado/..%2f..%2fsystem").status_code == 400


def test_an_archive_that_is_away_is_not_the_requests_fault(tiny_package, tmp_path):
    command = [
        "bash",
        ROOT / "scripts" / "serve.sh",
        "--studies",
        "http://127.0.0.1:9/dicom-web",
        "--model",
        tiny_package,
    ]
    server = Server([*command, "--work", tmp_path / "work"], tmp_path / "log", tmp_path, "patch_clip")
    try:
        answer = server.post("1.2.3")
        assert answer.status_code == 502
        assert "archive does not answer" in answer.json()["detail"]
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--studies", "nowhere"], "there is no such folder"),
        (["--studies", ".", "--model", "."], "models/model.pt missing"),
    ],
)
def test_a_start_that_cannot_be_says_why(arguments, message, label_python, tmp_path):
    command = ["bash", ROOT / "scripts" / "serve.sh", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_other_machines_are_let_in_with_a_warning_alone(tiny_package, tmp_path):
    (tmp_path / "studies").mkdir()
    command = ["bash", ROOT / "scripts" / "serve.sh", "--studies", tmp_path / "studies", "--model", tiny_package]
    server = Server(
        [*command, "--host", "0.0.0.0", "--work", tmp_path / "work"], tmp_path / "log", tmp_path, "patch_clip"
    )
    try:
        assert server.info()["datastore"]["total"] == 0
        assert "no password and no encryption" in server.log.read_text()
    finally:
        server.stop()
