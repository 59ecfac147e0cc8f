"""Drawing, training and proposing through the real server, label_training.json: what was drawn is learnt."""

import json
import math
import shutil
import time

import nibabel
import numpy as np
import pytest

from bundle.reading.radiograph import read_radiograph
from bundle.results.findings_file import viewer_affine
from tests.label.server import ROOT, Server, plane
from tests.tiny import FINDINGS, write_tiny_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawing(tiny_package, tmp_path_factory):
    """A server of its own, over radiographs with a datalist: training changes what it serves."""
    folder = tmp_path_factory.mktemp("drawing")
    write_tiny_data(folder / "studies", {"training": 6}, seed=5)
    command = ["bash", ROOT / "scripts" / "serve.sh", "--studies", folder / "studies", "--model", tiny_package]
    server = Server([*command, "--work", folder / "work"], folder / "log", folder, "patch_clip")
    server.work, server.studies = folder / "work", folder / "studies"
    yield server
    server.stop()


def entries(server):
    document = json.loads((server.studies / "datalist.json").read_text())
    return {entry["image"].replace("/", "__").removesuffix(".dcm"): entry for entry in document["training"]}


def draw(server, name, tmp_path, **params):
    """Submit a label as 3D Slicer does: the true boxes, filled, in the order of drawing."""
    entry = entries(server)[name]
    file = server.studies / entry["image"]
    _, meta = read_radiograph(file)
    mask = np.zeros(meta["stored_size"], np.uint8)
    for value, box in enumerate(entry["boxes"], start=1):
        x0, y0, x1, y1 = box["box"]
        mask[y0:y1, x0:x1] = value
    path = tmp_path / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(mask.T[:, :, None]), viewer_affine(file, meta)), path)
    named = [{"name": box["finding"], "idx": value} for value, box in enumerate(entry["boxes"], start=1)]
    return server.request(
        "PUT",
        "/datastore/label",
        params={"image": name},
        data={"params": json.dumps({"label_info": named, **params})},
        files={"label": ("label.nii.gz", path.read_bytes())},
    )


def train(server, **settings):
    answer = server.request("POST", "/train/patch_clip", json=settings)
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + 300
    while (state := server.request("GET", "/train/").json())["status"] in ("SUBMITTED", "RUNNING"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return state


def contrast(server, name, tmp_path):
    """Of each box: its finding's map, mean inside minus mean outside."""
    differences = []
    for box in entries(server)[name]["boxes"]:
        image, _ = server.infer(tmp_path, name, show="map", finding=box["finding"])
        heat, (x0, y0, x1, y1) = plane(image), box["box"]
        inside = np.zeros(heat.shape, bool)
        inside[y0:y1, x0:x1] = True
        differences.append(heat[inside].mean() - heat[~inside].mean())
    return differences


def test_1_nothing_drawn_says_so_and_serving_goes_on(drawing):
    state = train(drawing)
    assert state["status"] == "ERROR"
    assert "Nothing is drawn yet" in "".join(state["details"])
    assert drawing.post("images__000").status_code == 200


def test_2_the_most_uncertain_radiograph_is_proposed(drawing):
    def entropy(name):
        scores = [p["score"] for p in drawing.post(name, output="json").json()["prediction"]]
        return np.mean([-p * math.log2(p) - (1 - p) * math.log2(1 - p) for p in scores])

    expected = sorted(entries(drawing), key=entropy, reverse=True)
    proposed = [drawing.request("POST", "/activelearning/uncertainty", json={}).json() for _ in range(3)]
    assert [each["id"] for each in proposed] == expected[:3]  # the one proposed before comes last
    assert proposed[0]["weight"] == pytest.approx(entropy(expected[0]), abs=1e-3)
    assert all(each["name"] == f"{each['id']}.dcm" and "path" not in each for each in proposed)


def test_3_what_is_drawn_is_learnt(drawing, tiny_package, tmp_path):
    drawn = [name for name, entry in entries(drawing).items() if entry["boxes"]][:3]
    for name in drawn:
        assert draw(drawing, name, tmp_path).status_code == 200
    before = [value for name in drawn for value in contrast(drawing, name, tmp_path)]
    original = (tiny_package / "models" / "model.pt").read_bytes()
    _, told = drawing.infer(tmp_path, drawn[0])
    assert told["probability"].startswith("calibrated")

    state = train(drawing, max_epochs=60, learning_rate=0.02)
    assert state["status"] == "DONE", "\n".join(state["details"])

    after = [value for name in drawn for value in contrast(drawing, name, tmp_path)]  # no restart
    assert np.mean(after) > np.mean(before) + 0.05
    _, told = drawing.infer(tmp_path, drawn[0])
    assert told["probability"].startswith("uncalibrated")  # the plan is of the weights before
    figures = drawing.info()["train_stats"]["patch_clip"]
    assert figures["images"] == 3
    inside = figures["mean_inside_minus_outside_boxes"]
    assert inside["after"] > inside["before"]
    assert (tiny_package / "models" / "model.pt").read_bytes() == original

    datalist = json.loads((drawing.work / "training" / "datalist.json").read_text())
    for name, entry in zip(sorted(drawn), datalist["training"], strict=True):
        known = entries(drawing)[name]
        assert entry["report"] == known["report"]
        assert entry["labels"] == known["labels"]
        key = lambda box: (box["finding"], box["box"])  # noqa: E731
        assert sorted(map(key, entry["boxes"])) == sorted(map(key, known["boxes"]))


def test_4_drawn_radiographs_are_not_proposed(drawing):
    labelled = set(entries(drawing)) - {
        drawing.request("POST", "/activelearning/uncertainty", json={}).json()["id"] for _ in range(6)
    }
    assert len(labelled) == 3
    assert drawing.info()["datastore"]["completed"] == 3


def test_5_a_segment_of_another_name_is_refused_when_it_is_submitted(drawing, tmp_path):
    answer = draw(drawing, "images__000", tmp_path, label_info=[{"name": "Segment_1", "idx": 1}])
    assert answer.status_code == 422
    assert f"segments must be called {', '.join(FINDINGS)}" in answer.json()["detail"]


def test_6_a_training_can_begin_again_from_the_weights_served_first(drawing):
    state = train(drawing, max_epochs=1, pretrained=False)
    assert state["status"] == "DONE"
    inside = drawing.info()["train_stats"]["patch_clip"]["mean_inside_minus_outside_boxes"]
    state = train(drawing, max_epochs=1, pretrained=False)
    again = drawing.info()["train_stats"]["patch_clip"]["mean_inside_minus_outside_boxes"]
    assert again["before"] == inside["before"]
    assert state["status"] == "DONE"


def test_7_labels_that_cannot_be_used_are_named_and_nothing_is_trained(drawing, tmp_path):
    """A mask of which nobody said what it is, and one whose radiograph is another one now."""
    labels = drawing.work / "studies" / "labels" / "final"
    known = sorted(path.name.removesuffix(".nii.gz") for path in labels.iterdir())
    found = next(name for name in entries(drawing) if name not in known)
    shutil.copy(labels / f"{known[0]}.nii.gz", labels / f"{found}.nii.gz")
    images = {name: drawing.studies / entry["image"] for name, entry in entries(drawing).items()}
    shutil.copy(images[found], images[known[0]])

    state = train(drawing, max_epochs=1)

    assert state["status"] == "ERROR"
    said = state["details"][-1]
    assert "2 labels cannot be used, so that nothing is trained" in said
    assert f"{found}: no label_info says which value of the mask is which finding" in said
    assert f"{known[0]}: the file has changed since it was drawn on" in said


def test_8_logs_name_nobody_after_a_training(drawing):
    text = drawing.log.read_text() + (drawing.work / "app" / "logs" / "app.log").read_text()
    assert "Secret" not in text
    assert "images__00" not in text
