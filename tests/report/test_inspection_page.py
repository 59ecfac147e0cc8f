"""What a datalist holds: counted by hand, warned of, shown without names."""

import json
import re

import numpy as np
import pytest

from bundle.data.datalist import load_datalist
from bundle.data.inspection import inspect_datalist
from bundle.report.inspection_page import render_inspection
from scripts.inspect_datalist import main
from tests.tiny import write_dicom

FINDINGS = ["Mass", "Nodule", "Effusion"]


def entry(number, patient, labels, boxes=(), **more):
    boxes = [{"finding": finding, "box": box} for finding, box in boxes]
    return {"image": f"secret-{number}.dcm", "patient_id": patient, "labels": labels, "boxes": boxes, **more}


@pytest.fixture
def path(tmp_path):
    """Images of 80 x 160 stored pixels: on a grid of 16 a patch has 10."""
    rng = np.random.default_rng(0)
    for number in range(7):
        write_dicom(tmp_path / f"secret-{number}.dcm", rng.integers(0, 4095, (80, 160)))
    healthy = {"Mass": 0, "Nodule": 0}
    training = [
        entry(0, "p0", {"Mass": 1, "Nodule": 1}, [("Mass", [0, 0, 40, 20]), ("Nodule", [0, 0, 9, 11])], boxed=["Mass"]),
        entry(1, "p1", healthy, report="SecretReport"),
        entry(2, "p1", {"Mass": 1, "Nodule": 0, "Effusion": 0}, [("Mass", [10, 10, 30, 30])]),
        entry(3, "p1", {**healthy, "Effusion": 0}),
    ]
    validation = [entry(4, "p4", {"Mass": 1, "Nodule": 0})]
    test = [entry(5, "p5", {"Mass": 1}, [("Mass", [0, 0, 10, 10])]), entry(6, "p6", healthy)]
    document = {"findings": FINDINGS, "training": training, "validation": validation, "test": test}
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(document))
    return file


def test_counts(path):
    told = inspect_datalist(load_datalist(path))
    training = told.sections["training"]
    assert (training.images, training.patients, training.most_of_one) == (4, 2, 3)
    assert (training.reports, training.boxed, training.finding_free) == (1, 2, 1)
    mass, nodule = training.findings["Mass"], training.findings["Nodule"]
    assert (mass.positive, mass.negative, mass.unknown, mass.unboxed, mass.boxes) == (2, 2, 0, 1, 2)
    assert mass.patches.tolist() == [[4, 2], [2, 2]]
    assert (mass.small, nodule.small) == (0, 1)  # 9 x 11 px of 10 x 10
    assert np.isnan(training.findings["Effusion"].small)
    assert training.together.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert inspect_datalist(load_datalist(path), 8).sections["training"].findings["Mass"].patches.tolist() == [
        [2, 1],
        [1, 1],
    ]
    with pytest.raises(ValueError, match="grid is 0"):
        inspect_datalist(load_datalist(path), 0)


@pytest.mark.parametrize(
    "said",
    [
        "training: Effusion: one class only",
        "training: Nodule: more than 25% of the boxes are smaller than a patch of a 16 x 16 grid",
        "training: one patient has 3 of 4 images",
        "validation: Effusion: most images have no label",
        "validation: Mass, Nodule, Effusion: one class only .* have no AUROC",
        "validation: Mass: no box; no box threshold can be frozen",
        "validation: no image is labelled 0 for every finding",
        "test: Mass: fewer than 10 positive images",
        "test: Mass: 1 positive images whose boxes are not complete",
    ],
)
def test_warnings(path, said):
    warnings = inspect_datalist(load_datalist(path)).warnings
    assert any(re.match(said, words) for words in warnings), warnings


def test_missing_sections_and_folds(path):
    document = json.loads(path.read_text())
    del document["test"], document["validation"]
    path.write_text(json.dumps(document))
    warnings = inspect_datalist(load_datalist(path)).warnings
    assert [words.split(":")[0] for words in warnings[:2]] == ["validation has no image", "test has no image"]
    document["fold_0"] = document.pop("training")
    path.write_text(json.dumps(document))
    assert not any("has no image" in words for words in inspect_datalist(load_datalist(path, ["fold_0"])).warnings)


def test_nothing_to_say(tmp_path):
    rng = np.random.default_rng(0)
    sections, number = {}, 0
    for name in ("training", "validation", "test"):
        sections[name] = []
        for place in range(24):
            write_dicom(tmp_path / f"{number}.dcm", rng.integers(0, 4095, (60, 60)))
            present = place % 2
            boxes = [{"finding": "Mass", "box": [0, 0, 30, 30]}] * present
            boxed = {"labels": {"Mass": present}, "boxes": boxes, "boxed": ["Mass"], "report": "a report"}
            sections[name].append({"image": f"{number}.dcm", "patient_id": str(number), **boxed})
            number += 1
    (tmp_path / "datalist.json").write_text(json.dumps({"findings": ["Mass"], **sections}))
    page, told = render_inspection(load_datalist(tmp_path / "datalist.json"), pictures=0)
    assert told.warnings == []
    assert "Nothing that counting shows" in page
    assert "Contact sheet" not in page


def test_the_page(path, tmp_path, capsys):
    document = json.loads(path.read_text()) | {"description": "Simulated <noise>."}
    path.write_text(json.dumps(document))
    main(str(path), str(tmp_path / "page.html"), pictures=3)
    page = (tmp_path / "page.html").read_text()
    assert "- training: Effusion: one class only" in capsys.readouterr().out
    assert "Simulated &lt;noise&gt;." in page
    assert page.count("<img ") == 3
    assert "training[0]: Mass, Nodule" in page
    for secret in ("secret-", "SecretReport", "p1", "SECRET"):
        assert secret not in re.sub(r"base64,[^\"]*", "", page), secret
    assert "http" not in page


def test_readers(path):
    document = json.loads(path.read_text())
    first = document["training"][0]
    first["readers"] = ["r1", "r2"]
    for box in first["boxes"]:
        box["reader"] = "r1"
    first["boxes"].append({"finding": "Mass", "box": [2, 2, 38, 18], "reader": "r2"})
    path.write_text(json.dumps(document))
    page, _ = render_inspection(load_datalist(path), pictures=0)
    agreed = page[page.index("agreement") :]
    assert re.search(r"Mass</th><td>-</td><td>1\.00</td>", agreed)  # one image: no kappa
    assert re.search(r"Nodule</th><td>0\.00</td><td>0\.00</td>", agreed)
