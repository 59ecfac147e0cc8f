"""What the server keeps: originals as they are, drawings while their radiograph is away, uploads until the answer."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from skimage.io import imsave

from tests.label.server import hashes

pytestmark = pytest.mark.slow
NAMED = [{"name": "Effusion", "idx": 1}]


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    """Of dx.dcm, without geometry; everything in it is 1."""
    pixels = np.zeros((150, 120), np.uint8)
    pixels[10:40, 20:45] = 1
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    imsave(path, pixels, check_contrast=False)
    return path.read_bytes()


def submit(serving, mask, notes, name="dx", file="mask.png"):
    data = {"params": notes if isinstance(notes, str) else json.dumps(notes)}
    return serving.request("PUT", "/datastore/label", params={"image": name}, data=data, files={"label": (file, mask)})


def notes_of(serving, name="dx"):
    return serving.request("GET", "/datastore/label/info", params={"label": name, "tag": "final"}).json()


@pytest.fixture
def label(serving, mask):
    assert submit(serving, mask, {"label_info": NAMED}).status_code == 200
    yield {"label": "dx", "tag": "final"}
    serving.request("DELETE", "/datastore/label", params={"id": "dx", "tag": "final"})


def upload(serving, image, file, content):
    return serving.request("PUT", "/datastore/image", params={"image": image}, files={"file": (file, content)})


def test_an_upload_reaches_no_original_and_no_file_of_the_server(serving, studies, as_nifti):
    (studies / "a.nii.gz").write_bytes(as_nifti.read_bytes())
    before, good, view = hashes(studies), (studies / "dx.dcm").read_bytes(), serving.work / "studies"
    try:
        assert serving.info()["datastore"]["total"] == 6
        kept = sorted(path.name for path in view.iterdir())
        for image, file, status in (
            ("a.nii", "x.gz", 422),
            ("a", "x.nii.gz", 409),
            ("dx", "x.dcm", 409),
            ("datastore_v2", "x.json", 422),
            ("page", "x.html", 422),
        ):
            content = as_nifti.read_bytes() if file == "x.nii.gz" else good
            answer = upload(serving, image, file, content)
            assert (answer.status_code, image) == (status, image), answer.text
            assert answer.json()["detail"]
        assert hashes(studies) == before
        assert sorted(path.name for path in view.iterdir()) == kept
    finally:
        (studies / "a.nii.gz").unlink()
    assert serving.info()["datastore"]["total"] == 5


def test_a_dicom_file_called_by_its_uid_is_kept_as_dicom(serving, studies):
    try:
        assert upload(serving, "sent", "1.2.840.7", (studies / "dx.dcm").read_bytes()).status_code == 200
        assert serving.info()["datastore"]["total"] == 6
        assert serving.post("sent", output="json").status_code == 200
    finally:
        (serving.work / "studies" / "sent.dcm").unlink()
        serving.info()


def test_what_is_drawn_stays_while_its_radiograph_is_away(serving, studies, label):
    noted, elsewhere = notes_of(serving), studies.with_name("elsewhere")
    studies.rename(elsewhere)
    try:
        for empty in (False, True):
            if empty:  # as a share that is not mounted
                studies.mkdir()
            assert serving.info()["datastore"] == {"total": 0, "completed": 0, "label_tags": {"final": 1}}
            assert serving.post("dx").status_code == 404
        studies.rmdir()
    finally:
        elsewhere.rename(studies)
    assert serving.info()["datastore"] == {"total": 5, "completed": 1, "label_tags": {"final": 1}}
    assert notes_of(serving) == noted
    assert noted["label_info"] == NAMED


def test_a_deleted_label_is_gone_at_once_and_for_good(serving, mask, label):
    assert submit(serving, mask, {"label_info": NAMED}).status_code == 200
    for status in (200, 404):
        assert serving.request("DELETE", "/datastore/label", params={"id": "dx", "tag": "final"}).status_code == status
        for _ in range(2):
            assert serving.request("GET", "/datastore/").json()["completed"] == 0
            serving.info()
    assert not list((serving.work / "studies" / "labels" / "final").iterdir())


def test_a_mask_without_notes_gets_the_servers_numbering_as_notes(serving, mask, label):
    assert submit(serving, mask, {}).status_code == 200
    assert notes_of(serving)["label_info"] == [{"name": "Effusion", "idx": 1}, {"name": "Mass", "idx": 2}]


@pytest.mark.parametrize(
    ("notes", "reason"),
    [
        ('{"more": NaN}', "NaN"),
        ({"label_info": 5}, "label_info must be a list"),
        ({"label_info": [{"name": "Effusion", "idx": "abc"}]}, "idx of Effusion"),
        ({"label_info": [{"name": "Spam", "idx": 1}]}, "segments must be called"),
        ({"label_info": [{"name": "Effusion", "idx": 2}]}, "other values than"),
        ({"absent": 5}, "absent is '5'"),
        ({"absent": ["Fracture"]}, "absent names"),
    ],
)
def test_notes_that_training_cannot_read_are_refused_when_they_come(serving, mask, label, notes, reason):
    noted = notes_of(serving)
    info = notes if isinstance(notes, str) else json.dumps(notes)
    for answer in (
        submit(serving, mask, notes),
        serving.request("PUT", "/datastore/label/info", params=label, data={"info": info}),
    ):
        assert answer.status_code == 422, answer.text
        assert reason in answer.json()["detail"]
    assert notes_of(serving) == noted


def test_good_notes_are_taken_and_the_servers_own_stay(serving, label):
    info = json.dumps({"absent": ["Mass"], "image_sha256": "x"})
    assert serving.request("PUT", "/datastore/label/info", params=label, data={"info": info}).status_code == 200
    noted = notes_of(serving)
    assert noted["absent"] == ["Mass"]
    assert len(noted["image_sha256"]) == 64


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("m.nii.gz", b"garbage", "cannot be read as an image"),
        ("m.png", b"garbage", "cannot be read as an image"),
        ("m.txt", b"1", "must be a mask in"),
    ],
)
def test_a_mask_that_is_none_is_refused_when_it_comes(serving, file, content, reason):
    answer = submit(serving, content, {"label_info": NAMED}, file=file)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
    assert serving.info()["datastore"]["completed"] == 0


def test_notes_about_a_radiograph_keep_the_servers_form(serving):
    for info in ("[1]", '{"x": NaN}', '{"strategy": "x"}', '{"strategy": {"first": 1}}'):
        answer = serving.request("PUT", "/datastore/image/info", params={"image": "dx"}, data={"info": info})
        assert answer.status_code in (400, 422), info
    assert serving.request("POST", "/activelearning/uncertainty", json={}).status_code == 200


def test_nothing_is_left_of_requests_that_fail(serving, studies):
    good = (studies / "dx.dcm").read_bytes()
    infer, label = "/infer/patch_clip", ("l.nii.gz", b"xx")
    for path, status, data, files in (
        (infer, 400, {"params": "{"}, [("file", ("x.dcm", good))]),
        (infer, 404, {"params": '{"image": "nope"}'}, [("file", ("x.dcm", good))]),
        (infer, 422, {}, [("file", ("x.dcm", good[:500]))]),
        (infer, 200, {}, [("file", ("x.dcm", good))]),
        (infer, 404, {}, [("file", ("x.dcm", good)), ("label", label)]),
        (f"{infer}?output=dicom_seg", 400, {}, [("file", ("x.dcm", good))]),
        ("/session/", 200, {}, [("files", ("..", good))]),
        ("/session/", 422, {}, [("files", ("sitecustomize.py", b"import os"))]),
        ("/session/", 422, {}, [("files", ("radiograph.py", good))]),
        ("/session/", 422, {}, [("files", ("x.dcm", good)), ("files", ("y.dcm", good))]),
        ("/datastore/label?image=nope", 404, {}, [("label", label)]),
    ):
        method = "POST" if path.startswith(infer) else "PUT"
        answer = serving.request(method, path, data=data, files=files)
        assert answer.status_code == status, (path, answer.text)
        deadline = time.monotonic() + 5  # removed after the answer
        while left := list((serving.work / "uploads").iterdir()):
            assert time.monotonic() < deadline, (path, left)


def test_requests_at_once_take_nothing_from_each_other(serving, studies):
    files = [studies / name for name in ("dx.dcm", "inverse.dcm", "export.png")] * 4
    alone = {file: serving.post(file=file, output="json").json()["candidates"] for file in files[:3]}
    broken = ("broken.dcm", files[0].read_bytes()[:500])
    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(serving.post, file=file) for file in files]  # mask and figures
        bad = [pool.submit(serving.post, file=broken) for _ in files]
        shown = [pool.submit(serving.post, file=file, output="image") for file in files]
        told = [pool.submit(serving.post, file=file, output="json") for file in files]
    assert {each.result().status_code for each in (*good, *shown)} == {200}
    assert {each.result().status_code for each in bad} == {422}
    assert [each.result().json()["candidates"] for each in told] == [alone[file] for file in files]
    assert all(each.result().content for each in shown)


def test_a_session_lives_on(serving, studies):
    session = serving.request("PUT", "/session/", files={"files": ("x.dcm", (studies / "dx.dcm").read_bytes())}).json()
    where = {"session_id": session["session_id"], "output": "json"}
    assert serving.request("POST", "/infer/patch_clip", params=where).status_code == 200
    image = serving.request("GET", f"/session/{session['session_id']}", params={"image": "true"})
    assert image.content == (studies / "dx.dcm").read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("POST", "/infer/patch_clip", 400, {}),
        ("POST", "/infer/patch_clip?image=dx&output=dicom_seg", 400, {}),
        ("POST", "/infer/patch_clip?image=dx", 400, {"data": {"params": '{"result_compress": "x"}'}}),
        ("POST", "/infer/other?image=dx", 404, {}),
        ("POST", "/activelearning/uncertainty", 404, {"json": {"strategy": ["x"]}}),
        ("POST", "/activelearning/none", 404, {"json": {}}),
        ("GET", "/proxy/dicom/studies", 404, {}),
        ("POST", "/train/other", 404, {"json": {}}),
        ("POST", "/train/patch_clip?run_sync=true", 404, {"json": {}}),
        ("POST", "/train/patch_clip?run_sync=1&enqueue=true", 404, {"json": {}}),
        ("POST", "/train/?run_sync=yes", 404, {"json": {}}),
    ],
)
def test_mistakes_are_the_requests_and_say_so(serving, method, path, status, body):
    answer = serving.request(method, path, **body)
    assert answer.status_code == status, answer.text
    assert len(answer.json()["detail"]) > 10


def test_what_it_writes_is_for_its_owner_alone(serving, studies, label):
    good = (studies / "dx.dcm").read_bytes()
    assert serving.request("PUT", "/session/", files={"files": ("x.dcm", good)}).status_code == 200
    assert upload(serving, "kept", "kept.dcm", good).status_code == 200
    try:
        there = [serving.work, *(path for path in serving.work.rglob("*") if not path.is_symlink())]
        names = {path.name for path in there}
        assert {"app.log", "dx.png", "datastore_v2.json", "kept.dcm", "radiograph.dcm", "meta.info"} <= names
        assert not [path for path in there if path.stat().st_mode & 0o077]
    finally:
        (serving.work / "studies" / "kept.dcm").unlink()
        serving.info()
