"""What is no frontal chest radiograph gets a reason and no score, in files and in a viewer's answer."""

import json
import logging

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from bundle.reading import read_radiograph
from bundle.results import SaveDicomResultsd, ViewerResultd
from bundle.results.overlay import draw_overlay
from bundle.transforms import FitToCanvasd, LoadRadiographd
from tests.results.test_save_findings import CANVAS, FINDINGS, GRID, HEIGHT, WIDTH, infer, lesion_pixels
from tests.tiny import write_dicom

LATERAL = "View Position (0018,5101) states a lateral view"
HAND = "Body Part Examined (0018,0015) states HAND, not the chest"
BLANK = "the image is blank: what it shows is constant, or noise"


@pytest.fixture
def folder(tmp_path):
    """A frontal chest, and three that are none."""
    (tmp_path / "in").mkdir()
    write_dicom(tmp_path / "in" / "blank.dcm", np.full((HEIGHT, WIDTH), 400))
    write_dicom(tmp_path / "in" / "chest.dcm", lesion_pixels(), ViewPosition="PA", BodyPartExamined="CHEST")
    write_dicom(tmp_path / "in" / "hand.dcm", lesion_pixels(), ViewPosition="PA", BodyPartExamined="HAND")
    write_dicom(tmp_path / "in" / "side.dcm", lesion_pixels(), ViewPosition="LL", BodyPartExamined="CHEST")
    return tmp_path / "in"


def documents(folder):
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def test_a_reason_takes_the_place_of_scores_maps_and_dicom_results(folder, tmp_path, caplog):
    out = tmp_path / "out"
    with caplog.at_level(logging.WARNING):
        samples = infer(folder, out)
    written = documents(out)
    assert {name: document["not_assessed"] for name, document in written.items()} == {
        "blank": BLANK,
        "chest": None,
        "hand": HAND,
        "side": LATERAL,
    }
    assert list(written["chest"]["findings"]) == FINDINGS
    assert written["chest"]["candidates"]
    assert written["chest"].keys() - written["side"].keys() == {"map"}
    assert (out / "chest_map.nii.gz").is_file()
    for name in ("blank", "hand", "side"):
        document = written[name]
        assert (document["findings"], document["candidates"]) == ({}, [])
        assert document["overlay"]["findings_considered"] == []
        assert not (out / f"{name}_map.nii.gz").exists()
        assert "score" not in json.dumps({**document, "overlay": None})
    assert [record.getMessage() for record in caplog.records if "Not assessed" in record.getMessage()] == [
        f"Not assessed (1 in this run): blank: {BLANK}.",
        f"Not assessed (2 in this run): hand: {HAND}.",
        f"Not assessed (3 in this run): side: {LATERAL}.",
    ]

    save = SaveDicomResultsd(output_dir=out, inputs=[{"image": str(path)} for path in sorted(folder.iterdir())])
    for sample, name in zip(samples, ("blank", "hand", "side"), strict=False):
        file = folder / f"{name}.dcm"
        save({**sample, "image": MetaTensor(torch.zeros(1, 8, 8), meta={"filename_or_obj": str(file)})})
    assert list(out.glob("*.dcm")) == []


def test_the_overlay_is_the_image_with_the_reason_below(folder, tmp_path):
    infer(folder / "side.dcm", tmp_path / "out", anonymous_names=True)
    (path,) = (tmp_path / "out").glob("*_overlay.png")
    image, _ = read_radiograph(folder / "side.dcm")
    bare = draw_overlay(image, (), (), legend=False)
    drawn = Image.open(path)
    assert drawn.size[0] == bare.size[0]
    np.testing.assert_array_equal(np.asarray(drawn)[: bare.size[1]], np.asarray(bare))
    caption = f"Research software, not for clinical use. Not assessed: {LATERAL}."
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(draw_overlay(image, (), (), caption=caption)))


def test_all_are_assessed_where_that_is_configured(folder, tmp_path):
    infer(folder, tmp_path / "out", options={"frontal": "any"})
    for document in documents(tmp_path / "out").values():
        assert document["not_assessed"] is None
        assert list(document["findings"]) == FINDINGS


def answer(file, **asked):
    """What a viewer is answered; the network found everything everywhere."""
    sample = FitToCanvasd(size=CANVAS)(LoadRadiographd()({"image": str(file)}))
    row = [1, 0.9, 50, 50, 40, 40, 60, 60]
    sample |= {"pred": torch.full((2, GRID, GRID), 0.9), "scores": {"image": torch.tensor([0.8, 0.9])}, **asked}
    sample["candidates"] = torch.tensor([row], dtype=torch.float64)
    done = ViewerResultd(findings=FINDINGS)(sample)
    return np.asarray(done["pred"]), done["result"]


@pytest.mark.parametrize("show", ["regions", "boxes"])
def test_a_viewer_gets_the_reason_and_an_empty_mask(folder, show):
    mask, result = answer(folder / "chest.dcm", show=show)
    assert mask.any()
    assert result["not_assessed"] is None
    mask, result = answer(folder / "side.dcm", show=show)
    assert mask.shape == (WIDTH, HEIGHT, 1)
    assert not mask.any()
    assert result["not_assessed"] == LATERAL
    assert (result["findings"], result["candidates"], result["prediction"], result["segments"]) == ({}, [], [], {})


def test_a_map_is_empty_and_names_no_finding_above_another(folder):
    heat, result = answer(folder / "chest.dcm", show="map")
    assert result["finding"] == "Mass"
    assert np.isfinite(heat).any()
    heat, result = answer(folder / "hand.dcm", show="map")
    assert result["finding"] == FINDINGS[0]
    assert np.isnan(heat).all()
