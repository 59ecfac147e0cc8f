"""What the server refuses, what it says then, and what it does not write down."""

import json
import re
import socket
import time
from pathlib import Path

import pytest

from tests.label.malformed import malformed

pytestmark = pytest.mark.slow


def test_200_malformed_uploads_are_refused_and_the_next_good_one_works(serving, studies):
    files = malformed((studies / "dx.dcm").read_bytes(), 200)
    assert len(files) == 200
    for number, file in enumerate(files):
        if number % 2:
            answer = serving.post(file=file)
        else:
            answer = serving.request("PUT", "/datastore/image", params={"image": "new"}, files={"file": file})
        assert 400 <= answer.status_code < 500, (file[0], answer.status_code, answer.text)
        assert len(answer.json()["detail"]) > 10, file[0]
        assert "Secret" not in answer.text
    assert serving.post(file=studies / "dx.dcm").status_code == 200
    assert serving.info()["datastore"]["total"] == 5
    deadline = time.monotonic() + 10  # the last one is removed after its answer
    while left := [path for path in (serving.work / "uploads").iterdir() if path.is_file()]:
        assert time.monotonic() < deadline, left


@pytest.mark.parametrize("show", ["nothing", 7, {"a": 1}])
def test_a_request_for_what_there_is_not_says_what_there_is(serving, show):
    answer = serving.post("dx", show=show)
    assert answer.status_code == 400
    assert "regions, boxes, map" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"min_score": "high"}, 400),
        ({"min_score": -1}, 400),
        ({"finding": "Fracture", "show": "map"}, 400),
        ({"result_extension": "/../../x"}, 400),
        ({"image": "/etc/hostname"}, 404),
        ({"image": "../app/main.py"}, 404),
        ({"image": ["dx"]}, 404),
        ({"model": "other"}, 404),
    ],
)
def test_parameters_open_no_other_way(serving, params, status):
    data = {"params": json.dumps(params)}
    answer = serving.request("POST", "/infer/patch_clip", params={"image": "dx"}, data=data)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_what_is_not_json_is_the_requests_fault(serving):
    for text in ("{", "7", '"dx"', "[1]"):
        answer = serving.request("POST", "/infer/patch_clip", params={"image": "dx"}, data={"params": text})
        assert answer.status_code == 400, text
        assert "params" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name", ["../../etc/hostname", "/etc/hostname", "..", ".hidden", "a\\b", "a\0b", "ward/IM0001"]
)
def test_names_lead_nowhere_else(serving, studies, name):
    good = ("good.dcm", (studies / "dx.dcm").read_bytes())
    assert serving.post(name).status_code == 400
    assert serving.request("GET", "/datastore/image", params={"image": name}).status_code == 400
    assert serving.request("PUT", "/datastore/image", params={"image": name}, files={"file": good}).status_code == 400
    label = {"label": ("label.nii.gz", b"x")}
    for where in ({"image": name}, {"image": "dx", "tag": name}):
        assert serving.request("PUT", "/datastore/label", params=where, files=label).status_code == 400
    assert serving.request("POST", "/infer/patch_clip", params={"session_id": name}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/datastore/image?id=dx"),
        ("PUT", "/model/patch_clip"),
        ("DELETE", "/model/patch_clip"),
        ("GET", "/datastore/dataset"),
        ("GET", "/logs/gpu"),
        ("POST", "/reload"),
        ("POST", "/batch/infer/patch_clip"),
        ("PUT", "/session/?uncompress=true"),
    ],
)
def test_what_could_do_harm_is_not_offered(serving, method, path):
    answer = serving.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["detail"]


def raw(serving, request):
    """The first line of the answer to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", serving.port), 30) as connection:
        connection.sendall(request)
        return connection.recv(200).split(b"\r\n")[0].decode()


def test_paths_are_not_left(serving):
    head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    for path in ("/static/../../../main.py", "/static/%2e%2e/%2e%2e/main.py", "/ohif/..%2f..%2f..%2fapp.py"):
        assert " 400 " in raw(serving, f"GET {path} {head}".encode())


def test_too_large_an_upload_is_refused_with_its_limit(serving):
    large = ("large.dcm", bytes(6_000_000))
    answer = serving.post(file=large)
    assert answer.status_code == 413
    assert "4 MB" in answer.json()["detail"]

    def chunks():
        for _ in range(60):
            yield bytes(100_000)

    answer = serving.request(
        "POST", "/infer/patch_clip", data=chunks(), headers={"Content-Type": "multipart/form-data"}
    )
    assert answer.status_code in (400, 413)
    assert serving.post("dx").status_code == 200


def test_no_other_page_may_call(serving):
    assert serving.request("GET", "/info/", headers={"Origin": "https://example.org"}).status_code == 403
    assert serving.request("GET", "/info/", headers={"Host": "example.org"}).status_code == 400
    own = serving.request("GET", "/info/", headers={"Origin": serving.url})
    assert own.status_code == 200
    assert "*" not in own.headers.get("access-control-allow-origin", "")


def test_it_listens_on_this_machine_alone(serving):
    sockets = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    listening = [
        place for _, place, _, state, *_ in sockets[1:] if place.endswith(f":{serving.port:04X}") and state == "0A"
    ]
    assert listening == [f"0100007F:{serving.port:04X}"]


def test_logs_name_nobody(serving, studies):
    """After all that the other tests of this module asked for; the files' names and tags are a patient's here."""
    serving.post(file=("Secret^Name.dcm", (studies / "dx.dcm").read_bytes()))
    serving.post(file=("Secret^Name.dcm", (studies / "dx.dcm").read_bytes()[:400]))
    serving.post("Secret^Name")
    text = serving.log.read_text() + (serving.work / "app" / "logs" / "app.log").read_text()
    assert re.search(r"POST /infer 200", text)
    for secret in ("Secret", "SECRET", "IM0001", "inverse"):
        assert secret not in text
    shown = serving.request("GET", "/logs/", params={"lines": 20, "text": "true"})
    assert shown.status_code == 200
    assert "Secret" not in shown.text
