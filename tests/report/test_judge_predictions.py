"""Another model's maps and boxes: judged like our own, in the stored picture's frame, and refused with all faults."""

import json
import math
import re

import nibabel
import numpy as np
import pytest

from bundle.comparison.predictions import MapReading
from bundle.metrics.records_io import load_records, records_made_for
from bundle.report.judge_predictions import judge_predictions
from tests.transforms.test_canvas import write_dicom

FINDINGS = ["Mass", "Nodule"]
HEIGHT, WIDTH = 60, 80  # stored
BOXES = {"a": [20, 10, 40, 30], "turned": [50, 20, 70, 40]}  # of a mass; `none` has nothing


@pytest.fixture
def folder(tmp_path):
    """Three radiographs in a datalist, one of them stored on its side, and a fourth in another section."""
    rng = np.random.default_rng(0)
    entries = []
    for name in ("a", "turned", "none", "other"):
        across = ["F", "L"] if name == "turned" else ["L", "F"]  # stored on its side: rows for columns
        picture = rng.integers(40, 200, (HEIGHT, WIDTH)).astype(np.uint16)
        write_dicom(tmp_path / f"{name}.dcm", picture, PatientOrientation=across)
        boxes = [{"finding": "Mass", "box": BOXES[name]}] if name in BOXES else []
        labels = {"Mass": int(bool(boxes)), "Nodule": 0}
        entries.append({"image": f"{name}.dcm", "patient_id": name, "labels": labels, "boxes": boxes})
        entries[-1]["boxed"] = ["Mass"] if boxes else []
    document = {"findings": FINDINGS, "training": entries[3:], "validation": [], "test": entries[:3]}
    (tmp_path / "datalist.json").write_text(json.dumps(document))
    (tmp_path / "theirs").mkdir()
    return tmp_path


def run(folder, output="eval", **settings):
    judge_predictions(folder / "datalist.json", folder / "theirs", folder / output, **{"replicates": 0, **settings})
    return json.loads((folder / output / "metrics.json").read_text()), load_records(folder / output / "records")


def write_table(folder, rows, name="boxes.csv", header="image,finding,score,x0,y0,x1,y1"):
    (folder / "theirs" / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")


def boxes_of(records):
    candidates = records.candidates
    return {int(index): box.tolist() for index, box in zip(candidates.index, candidates.box, strict=True)}


def hot_maps(scale=1):
    """Stored maps (K, h, w) of each image: .9 in the mass's box, .3 in the corner of `none`."""
    maps = {name: np.zeros((2, HEIGHT // scale, WIDTH // scale)) for name in ("a", "turned", "none")}
    for name, (x0, y0, x1, y1) in BOXES.items():
        maps[name][0, y0 // scale : y1 // scale, x0 // scale : x1 // scale] = 0.9
    maps["none"][0, :2, :2] = 0.3
    return maps


def test_boxes(folder):
    write_table(
        folder,
        [
            "a.dcm,Mass,0.8,22,12,38,28",
            "turned,Mass,0.7,50,20,70,40",
            "none.dcm,Mass,.75,0,0,10,10",
            "other.dcm,Mass,0.9,0,0,10,10",  # of another section: passed over
        ],
    )
    metrics, records = run(folder)
    assert metrics["froc/Mass/sens_at_1fp"] == 1
    assert metrics["froc/Mass/sens_at_0.125fp"] == 0.5  # the false positive lies between the two hits
    assert metrics["auroc/Mass"] == 0.5
    assert records.lesions.box[1].tolist() == [20, 50, 40, 70]
    assert boxes_of(records)[1] == [20, 50, 40, 70]
    assert (folder / "eval" / "report.html").is_file()


def test_maps_say_what_their_boxes_say(folder):
    for name, values in hot_maps().items():
        np.save(folder / "theirs" / f"{name}.npy", values)
    metrics, records = run(folder, maps=MapReading(side=80))
    assert metrics["froc/Mass/sens_at_0.125fp"] == 1
    assert records.lesions.score.tolist() == pytest.approx([0.9, 0.9])
    boxes = {
        int(index): box.tolist() for index, box in zip(records.candidates.index, records.candidates.box, strict=True)
    }
    assert boxes[0] == BOXES["a"]
    assert boxes[1] == [20, 50, 40, 70]
    assert records_made_for(folder / "eval" / "records")["section"] == ["test"]

    again = folder / "nifti"
    again.mkdir()
    for name, values in hot_maps().items():
        nibabel.save(nibabel.Nifti1Image(values.T * 255, np.eye(4)), again / f"{name}.nii.gz")
    judge_predictions(
        folder / "datalist.json", again, folder / "second", replicates=0, maps=MapReading(side=80, highest=255)
    )
    assert json.loads((folder / "second" / "metrics.json").read_text()) == metrics


def test_finer_maps_become_cells(folder):
    for name, values in hot_maps().items():
        np.save(folder / "theirs" / f"{name}.npy", values)
    _, records = run(folder, maps=MapReading(side=8))  # cells of 10 px: the boxes' edges lie on theirs
    boxes = {
        int(index): box.tolist() for index, box in zip(records.candidates.index, records.candidates.box, strict=True)
    }
    assert boxes[0] == BOXES["a"]
    assert records.candidates.score.max() == pytest.approx(0.9)
    assert len(records.candidates.index) == 2  # .3 in 2 x 2 of 10 x 10 px is .012, below the floor


def test_scores_of_the_image(folder):
    write_table(folder, ["a,Mass,0.8,22,12,38,28"])
    _, records = run(folder)
    assert records.images.scores["image"][:, 0].tolist() == [0.8, 0, 0]
    write_table(folder, ["a,.1,.2", "turned,.3,.4", "none,.5,.6"], "scores.csv", "image,Mass,Nodule")
    metrics, records = run(folder)
    assert records.images.scores["image"].tolist() == [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    assert metrics["auroc/Mass"] == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a,Mas,2,22,12,38,28", "a,Mass,.5,30,12,20,28"], ["2 faults|3 faults", "'Mas'", "score '2'", "box 30, 12"]),
        (["b.dcm,Mass,.5,22,12,38,28"], ["line 2", "'b.dcm'"]),
        (["a,Mass,.5,22,12,38,70"], ["80 x 60 stored pixels"]),
        (["a,Mass,.5"], ["fields"]),
        (["other,Mass,.5,22,12,38,28"], ["no row"]),
    ],
)
def test_wrong_rows_are_named(folder, rows, said):
    write_table(folder, rows)
    with pytest.raises(ValueError, match=r"boxes\.csv") as error:
        run(folder)
    for words in said:
        assert re.search(words, str(error.value)), words


def test_wrong_maps_are_named(folder):
    with pytest.raises(FileNotFoundError, match=r"3 of 3 images: a\.dcm, turned\.dcm"):
        run(folder)
    maps = hot_maps()
    for name, values in maps.items():
        np.save(folder / "theirs" / f"{name}.npy", values)
    for wrong, said in (
        (maps["a"][:1], r"a\.npy.*\(1, 60, 80\).*Mass, Nodule"),
        (maps["a"] * 2, r"a\.npy.*0 to 1\.8.*highest"),
        (maps["a"] * math.nan, r"a\.npy.*finite"),
        (np.array(["x"], dtype=object), r"a\.npy cannot be read"),
    ):
        np.save(folder / "theirs" / "a.npy", wrong, allow_pickle=True)
        with pytest.raises(ValueError, match=said):
            run(folder)
    write_table(folder, ["a,Mass,.5,22,12,38,28"])
    with pytest.raises(ValueError, match="no effect"):
        run(folder, maps=MapReading(side=8))


def test_a_score_of_an_image_is_missing_or_there_twice(folder):
    write_table(folder, ["a,Mass,0.8,22,12,38,28"])
    write_table(folder, ["a,.1,.2", "a,.1,.2"], "scores.csv", "image,Mass,Nodule")
    with pytest.raises(ValueError, match="second row"):
        run(folder)
    write_table(folder, ["a,.1,.2"], "scores.csv", "image,Mass,Nodule")
    with pytest.raises(ValueError, match="no row of 2 of 3 images"):
        run(folder)
    write_table(folder, ["a,.1"], "scores.csv", "image,Mass")
    with pytest.raises(ValueError, match=r"lacks the columns .*Nodule"):
        run(folder)


def test_a_model_that_finds_nothing_at_all_is_judged(folder):
    write_table(folder, [])
    metrics, records = run(folder)
    assert metrics["froc/Mass/sens_at_1fp"] == 0
    assert len(records.candidates.index) == 0
    write_table(folder, ["other.dcm,Mass,0.9,0,0,10,10"])
    with pytest.raises(ValueError, match="no row of an image of this section"):
        run(folder)
