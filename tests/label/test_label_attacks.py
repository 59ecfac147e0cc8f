"""Attacks on the real server, on loopback: code from uploads, paths in answers, requests from web pages of others."""

import json
import re
import time
from pathlib import Path

import pytest

from bundle.label.routes import ROUTES
from tests.label.server import ROOT

pytestmark = pytest.mark.slow


def wait_for_training(serving, seconds=120):
    """Until no training runs; None if none was begun."""
    deadline = time.monotonic() + seconds
    while True:
        answer = serving.request("GET", "/train/")
        if answer.status_code != 200 or answer.json()["status"] not in ("SUBMITTED", "RUNNING"):
            return answer.json() if answer.status_code == 200 else None
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_no_file_of_a_client_ever_runs(serving, tmp_path):
    """Two requests were enough: a session keeps sitecustomize.py, a training is told to look there."""
    ran, place = tmp_path / "ran", tmp_path / "place"
    place.mkdir()
    code = f"open({str(ran)!r}, 'w').close()\n"
    (place / "sitecustomize.py").write_text(code)
    kept = serving.request("PUT", "/session/", files={"files": ("sitecustomize.py", code)})
    folders = [place, *((kept.json()["session_info"] or {}).get(key) for key in ("path",) if kept.status_code == 200)]
    answers = [serving.request("POST", "/train/patch_clip", json={"bundle_path": str(folder)}) for folder in folders]
    wait_for_training(serving)
    assert not ran.exists()
    assert kept.status_code == 422
    assert "not a radiograph" in kept.json()["detail"]
    assert [answer.status_code for answer in answers] == [404]


@pytest.mark.parametrize(
    "key", ["bundle_path", "model", "dataset", "conf", "device", "gpus", "local_rank", "multi_gpu", "init_checkpoint"]
)
def test_a_training_takes_no_other_keys_than_its_own(serving, key):
    for path, body in (
        ("/train/patch_clip", {key: "/tmp"}),
        ("/train/", {"patch_clip": {key: "/tmp"}}),
        ("/train/", {key: "/tmp"}),
    ):
        answer = serving.request("POST", path, json=body)
        assert answer.status_code == 404, path
        assert key in answer.json()["detail"]
    assert serving.request("GET", "/train/", params={"check_if_running": "true"}).status_code == 404


@pytest.mark.parametrize(
    "params",
    [
        *({"max_epochs": value} for value in (0, -1, 10**9, "$1", [1], True, 1e400)),
        *({"learning_rate": value} for value in (0, 2, "nan", "@max_epochs", {})),
        {"pretrained": "$False"},
    ],
    ids=str,
)
def test_the_numbers_of_a_training_are_numbers(serving, params):
    answer = serving.request("POST", "/train/patch_clip", data=json.dumps(params))
    assert answer.status_code == 400, answer.text


def test_the_training_process_imports_nothing_from_where_clients_write(serving):
    """What it is given as its folder and its path: neither is one of these."""
    assert serving.request("POST", "/train/patch_clip", json={"max_epochs": 1}).status_code == 200
    found = None
    deadline = time.monotonic() + 60
    while found is None and time.monotonic() < deadline:
        found = child_of(serving.process.pid)
    assert found is not None
    folder, environment = found
    assert environment["PYTHONPATH"] == str(ROOT)
    assert environment["PYTHONSAFEPATH"] == "1"
    assert folder == serving.work / "app"
    state = wait_for_training(serving)
    assert state["status"] == "ERROR"
    assert "Nothing is drawn yet" in state["details"][-1]
    assert_no_paths(serving, state)


def child_of(pid):
    """(folder, environment) of the process that trains; None if it is not there."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"train" in (process / "cmdline").read_bytes().split(b"\0"):
                lines = (process / "environ").read_bytes().decode().split("\0")
                return (process / "cwd").resolve(), dict(line.split("=", 1) for line in lines if "=" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return None


def assert_no_paths(serving, content):
    text = content if isinstance(content, str) else json.dumps(content)
    for folder in (serving.work, serving.work.parent, ROOT, "/usr/", "/root/", "/home/", "/tmp/", "/opt/"):
        assert str(folder) not in text


def test_answers_hold_no_path_of_the_server(serving, studies):
    good = ("x.dcm", (studies / "dx.dcm").read_bytes())
    session = serving.request("PUT", "/session/", files={"files": good}).json()["session_id"]
    assert re.fullmatch("[0-9a-f]{32}", session)  # not to be guessed from another
    requests = [
        ("GET", "/info/", {}),
        ("GET", f"/session/{session}", {}),
        ("DELETE", f"/session/{session}", {}),
        ("GET", "/datastore/?output=all", {}),
        ("GET", "/datastore/?output=train", {}),
        ("GET", "/datastore/image/info?image=dx", {}),
        ("POST", "/activelearning/first", {"json": {}}),
        ("POST", "/infer/patch_clip?image=dx&output=json", {"data": {"params": "{}"}}),
        ("POST", "/infer/patch_clip?output=json", {"files": {"file": good}}),
        ("GET", "/train/", {}),
        ("GET", "/logs/?lines=1000", {}),
        ("GET", "/logs/?lines=1000&html=true", {}),
        ("GET", "/openapi.json", {}),
    ]
    for file in (("x.png", b"none"), ("x.nii.gz", b"none"), ("x.tif", b"none"), ("x", good[1][:300]), ("x.nrrd", b"x")):
        requests += [
            ("POST", "/infer/patch_clip", {"files": {"file": file}}),
            ("PUT", "/session/", {"files": {"files": file}}),
            ("PUT", "/datastore/label?image=dx", {"files": {"label": file}}),
        ]
    for method, path, more in requests:
        answer = serving.request(method, path, **more)
        assert_no_paths(serving, answer.text + str(answer.headers))


def test_a_session_keeps_a_radiograph_under_a_name_of_ours(serving, studies):
    content = (studies / "dx.dcm").read_bytes()
    before = set((serving.work / "sessions").rglob("*"))
    for name in ("sitecustomize.py.dcm", "../../../x.dcm", ".env", "__init__", "1.2.840.5"):
        answer = serving.request("PUT", "/session/", files={"files": (name, content)}, data={"client_id": "user"})
        assert answer.status_code == (422 if name == ".env" else 200), name
    for name, bad in (("x.py", content), ("x.dcm", content[:400]), ("x.pth", b"import os"), ("main.py", b"import os")):
        assert serving.request("PUT", "/session/", files={"files": (name, bad)}).status_code == 422, name
    kept = {path.name for path in set((serving.work / "sessions").rglob("*")) - before if path.is_file()}
    assert kept == {"radiograph.dcm", "meta.info"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Origin": "null"},
        {"Origin": "https://example.org"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
        {"Host": "example.org"},
        {"Host": "127.0.0.1.example.org"},
        {"Host": "localhost.example.org:8000"},
        {"Host": ""},
    ],
    ids=str,
)
def test_web_pages_of_others_may_ask_nothing(serving, headers):
    for method, path in (("GET", "/info/"), ("GET", "/ohif/"), ("POST", "/train/patch_clip")):
        answer = serving.request(method, path, headers=headers)
        assert answer.status_code in (400, 403), path
    assert serving.request("OPTIONS", "/train/patch_clip").status_code == 404  # no preflight is answered


def test_what_a_browser_says_of_the_servers_own_pages_is_let_in(serving):
    for site in ("same-origin", "none"):
        answer = serving.request("GET", "/info/", headers={"Sec-Fetch-Site": site, "Origin": serving.url})
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_load_nothing_from_other_servers(serving):
    """What a browser makes of the policy is in test_pages.py."""
    for path in ("/ohif/", "/ohif/viewer?StudyInstanceUIDs=1.2.3", "/ohif/init-service-worker.js"):
        policy = serving.request("GET", path).headers["content-security-policy"]
        rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
        sources = {word.partition("-")[0] if "sha256" in word else word for words in rules.values() for word in words}
        assert sources == {"'self'", "'none'", "data:", "blob:", "'unsafe-inline'", "'unsafe-eval'", "'sha256"}
        assert "'unsafe-inline'" not in rules["script-src"]
    page = serving.request("GET", "/ohif/").text
    assert "https://fonts.googleapis.com" in page  # what the policy is for
    scripts = [text for text in re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) if text]
    assert len(scripts) == len([word for word in rules["script-src"] if word.startswith("'sha256-")]) == 2


def test_a_body_that_is_deep_or_large_is_refused(serving):
    deep = "[" * 100_000
    assert serving.request("POST", "/train/patch_clip", data=deep).status_code == 400
    assert serving.request("POST", "/infer/patch_clip?image=dx", data={"params": deep}).status_code == 400
    assert serving.request("POST", "/train/patch_clip", data=b" " * 2_000_000).status_code == 413
    assert serving.info()


def test_keys_that_are_not_in_the_table_are_refused_everywhere(serving):
    for route in ROUTES:
        path = re.sub("{model}", "patch_clip", route.path).replace("{strategy}", "first").replace("{session_id}", "x")
        if not route.any_query:
            answer = serving.request(route.method, path, params={"bundle_path": "/tmp"})
            assert answer.status_code == 404, path
            assert "bundle_path" in answer.json()["detail"], path
        if route.form:
            answer = serving.request(route.method, path, files={"bundle_path": ("x", b"x")})
            assert answer.status_code == 404, path
        if route.json is not None:
            answer = serving.request(route.method, path, json={"bundle_path": "/tmp"})
            assert answer.status_code == 404, path


def test_a_link_that_was_swapped_after_the_listing_gives_nothing_away(serving, studies, tmp_path):
    serving.info()
    kept = (studies / "dx.dcm").rename(tmp_path / "dx.dcm")
    (studies / "dx.dcm").symlink_to(kept)
    try:
        image = serving.request("GET", "/datastore/image", params={"image": "dx"})
        for answer in (serving.post("dx"), image):
            assert answer.status_code == 403
            assert "leads out of the studies" in answer.json()["detail"]
    finally:
        kept.rename(studies / "dx.dcm")
    assert serving.post("dx", output="json").status_code == 200
