"""From the tables that archives publish, whole, over simulated pixels of some images, to a report."""

import json

import numpy as np
import pytest
from PIL import Image

from bundle.data.datalist import check_datalist
from bundle.data.nih_tables import packaged_tables
from bundle.data.sources.openi import read_openi
from bundle.data.sources.vinbigdata import read_vinbigdata
from tests.nih_files import real_tables
from tests.workflows.conftest import Place

pytestmark = pytest.mark.slow


def write_radiograph(path, size, boxes=()):
    """A slope of greys in which every box is brighter: (H, W), boxes x0, y0, x1, y1."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    pixels = (40 + 60 * rows / size[0] + 60 * columns / size[1]).astype(np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[int(y0) : int(y1), int(x0) : int(x1)] += 60
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def trained_and_judged(place, datalist, images, findings):
    """Metrics of one epoch on the datalist, and of its test section."""
    about = {"datalist": datalist, "image_dir": images, "findings": findings}
    place.run("training", "train", max_epochs=1, batch_size=16, **about)
    place.run("evaluating", "train", "evaluate", **about)
    assert (place.eval / "report.html").is_file()
    return place.metrics()


def test_nih(tmp_path):
    place, images = Place(tmp_path), tmp_path / "images"
    _, boxes = real_tables()
    boxed = {box.image: [] for box in boxes}
    for box in boxes:
        corners = [each / 4 for each in box.corners]
        boxed[box.image].append(corners)
    for name, own in boxed.items():
        write_radiograph(images / name, (256, 256), own)
    said = place.script(
        "prepare_datalist", "nih", f"--images={images}", f"--output={tmp_path / 'nih.json'}", "--require=boxed"
    )
    assert "880 images" in said
    findings = ["Cardiomegaly", "Effusion"]
    metrics = trained_and_judged(place, tmp_path / "nih.json", images, findings)
    assert metrics["n_lesions/Cardiomegaly"] > 10
    assert metrics["froc/mean/sens_at_1fp"] is not None


def test_vinbigdata(tmp_path):
    place, images = Place(tmp_path), tmp_path / "images"
    table, findings = packaged_tables() / "vinbigdata-train.csv.gz", ["Cardiomegaly", "Aortic enlargement"]
    records = read_vinbigdata(table, readers="majority").records
    hearts = [each for each in records if any(box.finding == "Cardiomegaly" for box in each.boxes)][:24]
    for record in [*hearts, *(each for each in records if not each.boxes)][:48]:
        name = record.image.rsplit(".", 1)[0] + ".png"
        write_radiograph(images / name, (3400, 3000), [box.corners for box in record.boxes])
    said = place.script(
        "prepare_datalist",
        "vinbigdata",
        *(f"--images={images}", f"--output={tmp_path / 'vin.json'}", f"--tables={table}", "--readers=majority"),
        *("--allow_missing", f"--findings={findings}", "--validation=0.25", "--test=0.25"),
    )
    assert "48" in said
    metrics = trained_and_judged(place, tmp_path / "vin.json", images, findings)
    assert metrics["n_lesions/Cardiomegaly"] > 0
    assert metrics["auroc/Cardiomegaly"] is not None


def test_openis_reports_become_labels(tmp_path):
    place, images = Place(tmp_path), tmp_path / "images"
    table = packaged_tables() / "NLMCXR_reports.tgz"
    told = [each for each in read_openi(table).records if "effusion" in each.report.lower()][:30]
    for record in told:
        write_radiograph(images / f"{record.image.rsplit('.', 1)[0]}.png", (60, 50))
    path = tmp_path / "openi.json"
    options = [f"--images={images}", f"--tables={table}", "--allow_missing", "--labels_from_reports=mentioned"]
    place.script("prepare_datalist", "openi", *options, f"--output={path}")
    check_datalist(path, base_dir=images)
    document = json.loads(path.read_text())
    entries = [entry for section in ("training", "validation", "test") for entry in document[section]]
    assert len(entries) == 30
    said = [entry.get("labels", {}).get("Effusion") for entry in entries]
    assert {0, 1} <= set(said), "reports deny it and state it"
