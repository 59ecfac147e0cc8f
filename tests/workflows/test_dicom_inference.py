"""`run inferring --dicom true`, as a user types it, on a folder of DICOM and PNG files."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from bundle.export.package import package_bundle
from tests.results.dicom_case import errors, program, write_radiograph
from tests.workflows.conftest import ROOT, TINY

NOTICE = "Not for clinical use; trained on simulated images."


@pytest.fixture(scope="module")
def package(trained, tmp_path_factory):
    """The tiny training as a self-contained bundle, its notice that of the demo."""
    folder = tmp_path_factory.mktemp("dicom")
    where = {"output_dir": str(trained.eval), "ckpt_dir": str(trained.models), "dataset_dir": str(trained.data)}
    (folder / "places.json").write_text(json.dumps({**where, "notice": NOTICE}))
    return package_bundle([ROOT / "configs" / "train.json", TINY, folder / "places.json"], ROOT, folder / "p")


def infer(trained, package, folder, output, *more):
    command = [
        sys.executable,
        *["-m", "monai.bundle", "run", "inferring", f"--config_file={package / 'configs' / 'inference.json'}"],
        *[f"--bundle_root={package}", f"--dataset_dir={folder}", f"--output_dir={output}", *more],
    ]
    return trained.execute(command, cwd=folder)


@pytest.mark.slow
def test_inference_writes_dicom_results_when_asked(trained, package, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    source = write_radiograph(tmp_path / "in" / "sub" / "a.dcm")
    Image.fromarray(np.indices((90, 90)).sum(0).astype(np.uint8)).save(tmp_path / "in" / "b.png")
    more = ("--dicom", "true", "--dicom_deterministic", "true", "--min_image_score", "0", "--min_score", "0.01")
    said = infer(trained, package, tmp_path / "in", tmp_path / "in" / "out", *more)
    results = sorted((tmp_path / "in" / "out").rglob("*.dcm"))
    assert [path.name for path in results] == ["a_gsps.dcm", "a_sc.dcm", "a_sr.dcm"]
    assert "b.png: this is a PNG file" in said
    assert not any(secret in said for secret in ("Secret", "SECRET", "19501231"))
    for path in results:
        assert errors(program("dciodvfy", path)) == []
        assert NOTICE.encode() in path.read_bytes()
        assert dcmread(path).StudyInstanceUID == dcmread(source).StudyInstanceUID
    assert errors(program("dcentvfy", source, *results)) == []
    document = json.loads((tmp_path / "in" / "out" / "sub" / "a.json").read_text())
    shown = sorted(candidate["box"] for candidate in document["candidates"] if candidate["shown"])
    corners = [np.reshape(data, (-1, 2)) for data in polylines(dcmread(results[-1]))]
    boxes = sorted([*xy.min(0).tolist(), *xy.max(0).tolist()] for xy in corners)
    assert np.array(boxes) == pytest.approx(np.array(shown), abs=0.02)  # the report shows what the JSON does
    version = json.loads((ROOT / "configs" / "metadata.json").read_text())["version"]
    assert dcmread(results[0]).SoftwareVersions == version
    assert json.loads((tmp_path / "in" / "out" / "sub" / "a.json").read_text())["note"] == NOTICE

    # again, with the results inside the input folder: they are not read, and come out the same but for their date
    before = [undated(path) for path in results]
    infer(trained, package, tmp_path / "in", tmp_path / "in" / "out", *more)
    assert [undated(path) for path in sorted((tmp_path / "in" / "out").rglob("*.dcm"))] == before


def undated(path):
    """A result without dates and times."""
    result = dcmread(path)
    result.walk(lambda data, element: data.pop(element.tag) if element.VR in ("DA", "TM", "DT") else None)
    return result


def polylines(item):
    """Graphic Data of all SCOORD items of a report."""
    if item.get("ValueType") == "SCOORD":
        yield item.GraphicData
    for child in item.get("ContentSequence", []):
        yield from polylines(child)


def test_dicom_false_writes_none(trained, package, tmp_path):
    (tmp_path / "in").mkdir()
    write_radiograph(tmp_path / "in" / "a.dcm")
    infer(trained, package, tmp_path / "in", tmp_path / "out", "--dicom", "false")
    assert (tmp_path / "out" / "a.json").is_file()
    assert list((tmp_path / "out").rglob("*.dcm")) == []
