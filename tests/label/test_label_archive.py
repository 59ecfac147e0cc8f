"""Radiographs from a DICOMweb archive, Orthanc: fetched as DICOM, looked at, drawn on."""

import json
import socket
import subprocess

import numpy as np
import pydicom
import pytest
import requests
from pydicom.uid import JPEG2000Lossless

from tests.label.conftest import radiograph
from tests.label.server import ENVIRONMENT, ROOT, Server, plane
from tests.orthanc import running_orthanc
from tests.tiny import write_dicom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tiny_package, tmp_path_factory):
    """A server over an archive with a DX of MONOCHROME1, a CR in JPEG 2000, and a CT that is none of its business."""
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
            if tags["Modality"] == "CR":  # which Debian's Orthanc can't decompress
                compressed = pydicom.dcmread(path)
                compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
                compressed.save_as(path)
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
    assert archive.request("GET", "/proxy/dicom/qido/studies?PatientID=nobody&limit=5").json() == []
    assert len(archive.request("GET", "/proxy/dicom/studies/1.2.3/series?Modality=DX").json()) == 1
    metadata = archive.request("GET", "/proxy/dicom/wado/studies/1.2.3/series/1.2.3.1/metadata").json()
    uid = metadata[0]["00080018"]["Value"][0]
    place = f"/proxy/dicom/wado/studies/1.2.3/series/1.2.3.1/instances/{uid}"
    frame = archive.request("GET", f"{place}/frames/1")
    assert frame.headers["content-type"].startswith("multipart/related")
    assert radiograph(150, 120).astype("<u2").tobytes() in frame.content
    assert frame.headers["content-security-policy"] == "sandbox"
    assert archive.request("GET", f"{place}/nonsense").status_code in (400, 404)  # the archive's own answer


def raw(archive, line, body=b""):
    """Status of the answer to a path that no client library would send as it stands."""
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{archive.port}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", archive.port), 30) as connection:
        connection.sendall(head.encode() + body)
        return int(connection.recv(200).split()[1])


@pytest.mark.parametrize(
    "out",
    ["%252e%252e", "%2e%2e", "..", "%25252e%25252e", ".%252e", "studies/%252e%252e/%252e%252e", "..%5c", "%255c.."],
)
@pytest.mark.parametrize("service", ["", "wado/", "qido/", "stow/"])
def test_nothing_leads_out_of_dicomweb(archive, out, service):
    """In the archive's own interface, next to DICOMweb, one POST deletes a patient."""
    patients = requests.get(archive.orthanc.url("patients"), timeout=30).json()
    body = json.dumps({"Resources": patients}).encode()
    statuses = [
        raw(archive, f"POST /proxy/dicom/{service}{out}/tools/bulk-delete", body),
        raw(archive, f"GET /proxy/dicom/{service}{out}/patients"),
        raw(archive, f"DELETE /proxy/dicom/{service}{out}/patients/{patients[0]}"),
    ]
    assert requests.get(archive.orthanc.url("patients"), timeout=30).json() == patients
    assert set(statuses) <= {400, 404}


@pytest.mark.parametrize("path", ["stow/studies", "studies", "wado/studies", "qido/studies", "stow/studies/1.2.3"])
def test_nothing_is_stored_in_the_archive(archive, path, tmp_path):
    new = write_dicom(tmp_path / "new.dcm", radiograph(60, 50), SeriesInstanceUID="1.2.9.1", StudyInstanceUID="1.2.9")
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + new.read_bytes() + b"\r\n--b--\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    before = len(archive.orthanc.instances())
    answers = [archive.request(method, f"/proxy/dicom/{path}", data=body, headers=kind) for method in ("POST", "PUT")]
    assert len(archive.orthanc.instances()) == before
    assert {answer.status_code for answer in answers} == {404}
    assert archive.request("GET", "/proxy/dicom/stow/studies").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "",
        "system",
        "instances/../../system",
        "//127.0.0.1:1/studies",
        "http://127.0.0.1:1/studies",
        "studies//1.2.3",
        "wadouri",
        "servers",
    ],
)
def test_of_the_archive_there_are_studies_series_and_instances(archive, path):
    assert raw(archive, f"GET /proxy/dicom/{path}") in (400, 404)


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
    """And runs nothing that lies where it is called."""
    (tmp_path / "argparse.py").write_text("open('ran', 'w').close()")
    command = ["bash", ROOT / "scripts" / "serve.sh", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


def test_other_machines_are_let_in_with_a_warning_alone(tiny_package, tmp_path):
    (tmp_path / "studies").mkdir()
    command = ["bash", ROOT / "scripts" / "serve.sh", "--studies", tmp_path / "studies", "--model", tiny_package]
    server = Server(
        [*command, "--host", "0.0.0.0", "--work", tmp_path / "work"], tmp_path / "log", tmp_path, "patch_clip"
    )
    try:
        assert server.info()["datastore"]["total"] == 0
        for headers in ({"Origin": "http://example.org"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert server.request("GET", "/info/", headers=headers).status_code == 403
        behind = {"Origin": "https://label.example.org", "X-Forwarded-Host": "label.example.org"}
        assert server.request("GET", "/info/", headers=behind).status_code == 200
        assert "no password and no encryption" in server.log.read_text()
    finally:
        server.stop()
