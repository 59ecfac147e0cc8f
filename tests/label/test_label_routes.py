"""The table of routes: what is in it works on the real server, and nothing else of MONAI Label is there."""

import json
import re
import subprocess

import numpy as np
import pytest
from skimage.io import imsave

from bundle.label.routes import ROUTES
from tests.label.server import ENVIRONMENT, ROOT

THEIRS = """
import importlib, json, pkgutil
import monailabel.endpoints as endpoints
from monailabel.app import app

names = [each.name for each in pkgutil.iter_modules(endpoints.__path__)]
modules = [importlib.import_module(f"monailabel.endpoints.{name}") for name in names]
routes = [route for module in modules if hasattr(module, "router") for route in module.router.routes]
routes += [route for route in app.routes if hasattr(route, "path")]
print(json.dumps([(method, route.path) for route in routes for method in getattr(route, "methods", None) or ["GET"]]))
"""
ARCHIVE = ("GET", "/proxy/dicom/{rest}")  # see test_label_archive.py


def test_the_documentation_lists_every_route_with_its_keys():
    text = (ROOT / "docs" / "monai_label.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+) (/\S*)` \| (.*?) \|", text, re.M)
    documented = {(method, path): set(re.findall(r"`(\w+)`", keys)) for method, path, keys in rows}
    for route in ROUTES:
        keys = {*route.query, *route.form, *(route.json or {})}
        assert documented.pop((route.method, route.path)) == keys, route
    assert not documented


@pytest.mark.slow
def test_of_monai_labels_routes_those_in_the_table_are_there_and_no_others(serving, label_python):
    done = subprocess.run(
        [label_python, "-c", THEIRS], capture_output=True, text=True, check=True, env=ENVIRONMENT, timeout=300
    )
    theirs = {(method, path) for method, path in json.loads(done.stdout.splitlines()[-1])}
    assert len(theirs) > 40
    for method, path in sorted(theirs):
        place = path.replace("{model}", "patch_clip").replace("{strategy}", "first").replace("{session_id}", "x")
        place = place.replace("{path:path}", "studies")
        if any(route.method == method and route.match(place) is not None for route in ROUTES if "proxy" not in place):
            continue
        answer = serving.request(method, place, json={})
        assert answer.status_code == 404, (method, path)
        assert method == "HEAD" or answer.json()["detail"], (method, path)
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD"):
        assert serving.request(method, "/info/").status_code == 404


@pytest.mark.slow
def test_every_route_in_the_table_works(serving, studies, tmp_path):
    content = (studies / "dx.dcm").read_bytes()
    imsave(tmp_path / "mask.png", np.pad(np.ones((30, 25), np.uint8), ((10, 110), (20, 75))), check_contrast=False)
    mask, dicom = ("mask.png", (tmp_path / "mask.png").read_bytes()), ("x.dcm", content)
    notes = {"params": '{"label_info": [{"name": "Effusion", "idx": 1}], "client_id": "user"}'}
    drawn = {"params": {"label": "dx", "tag": "final"}}
    viewers = '{"result_extension": ".nrrd", "result_dtype": "uint8", "device": "cpu", "client_id": "user"}'
    answers = {}

    def ask(method, route, place=None, **more):
        answers[method, route] = answer = serving.request(method, place or route, **more)
        assert answer.status_code == 200, (method, route, answer.text)
        return answer

    assert "patch_clip" in ask("GET", "/info/").json()["models"]
    where = {"params": {"image": "dx", "output": "all"}}
    answer = ask("POST", "/infer/{model}", "/infer/patch_clip", **where, data={"params": viewers})
    assert answer.headers["content-type"].startswith("multipart/form-data")
    sample = ask("POST", "/activelearning/{strategy}", "/activelearning/first", json={"client_id": "user"}).json()
    assert sample["id"] == "colour"
    session = ask("PUT", "/session/", files={"files": dicom}, data={"client_id": "user"}).json()["session_id"]
    place = f"/session/{session}"
    assert ask("GET", "/session/{session_id}", place, params={"image": "true"}).content == content
    ask("DELETE", "/session/{session_id}", place)
    assert serving.request("GET", place).status_code == 404
    assert "dx" in ask("GET", "/datastore/", params={"output": "all"}).json()["objects"]
    try:
        ask("PUT", "/datastore/", params={"image": "sent"}, files={"file": dicom}, data={"params": "{}"})
        ask("PUT", "/datastore/image", params={"image": "sent2"}, files={"file": dicom})
        assert ask("GET", "/datastore/image", params={"image": "sent2"}).content == content
    finally:
        for name in ("sent", "sent2"):
            (serving.work / "studies" / f"{name}.dcm").unlink(missing_ok=True)
    info = {"params": {"image": "dx"}, "data": {"info": '{"seen": true}'}}
    ask("PUT", "/datastore/image/info", **info)
    assert ask("GET", "/datastore/image/info", params={"image": "dx"}).json()["seen"] is True
    ask("PUT", "/datastore/label", params={"image": "dx", "tag": "final"}, files={"label": mask}, data=notes)
    assert ask("GET", "/datastore/label", **drawn).content == mask[1]
    ask("PUT", "/datastore/label/info", **drawn, data={"info": '{"absent": ["Mass"]}'})
    assert ask("GET", "/datastore/label/info", **drawn).json()["absent"] == ["Mass"]
    ask("DELETE", "/datastore/label", params={"id": "dx", "tag": "final"})
    begun = ask("POST", "/train/{model}", "/train/patch_clip", params={"enqueue": "true"}, json={"client_id": "user"})
    assert begun.json()["status"] in ("SUBMITTED", "RUNNING")
    begun = ask("POST", "/train/", json={"patch_clip": {"max_epochs": "2"}, "client_id": "user"})
    assert begun.json()["patch_clip"]["result"]["id"]
    assert ask("GET", "/train/").json()["status"]
    for _ in range(2):  # the second waits for the first
        ask("DELETE", "/train/")
    assert ask("GET", "/logs/", params={"lines": 5, "text": "true"}).headers["content-type"].startswith("text/plain")
    assert "OHIF" in ask("GET", "/ohif/{rest}", "/ohif/viewer?StudyInstanceUIDs=1.2.3").text
    assert "window.config" in serving.request("GET", "/ohif/app-config.js").text
    assert set(answers) == {(route.method, route.path) for route in ROUTES} - {ARCHIVE}
    serving.info()
