"""Records on disk: read back to the last bit, and enough to draw the curve again."""

import csv
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from bundle.metrics import AUROCMetric, FROCMetric, Records, load_records, records_io, save_records, summarise
from tests.metrics.drawn import candidates, random_evaluation, truth

FINDINGS = ["A", "Pleural, thickening", 'The "third"']


@pytest.fixture
def records() -> Records:
    tables, truths, scores = random_evaluation(20)
    froc, auroc = FROCMetric(FINDINGS), AUROCMetric(FINDINGS, ["image", "pooled"])
    froc(tables, truths)
    auroc(scores, truths)
    return froc.records().with_scores(auroc.records())


def assert_equal(a: Records, b: Records) -> None:
    assert (a.findings, a.criterion) == (b.findings, b.criterion)
    assert list(a.images.scores) == list(b.images.scores)
    for name in a.images.scores:
        np.testing.assert_array_equal(a.images.scores[name], b.images.scores[name])
    for part in ("images", "lesions", "candidates"):
        for field in fields(getattr(a, part)):
            mine, theirs = (getattr(getattr(each, part), field.name) for each in (a, b))
            if field.name != "scores":
                np.testing.assert_array_equal(mine, theirs, strict=True)


def test_what_is_saved_is_loaded_and_gives_the_same_figures(records, tmp_path):
    save_records(records, tmp_path / "deep" / "records")
    loaded = load_records(tmp_path / "deep" / "records")
    assert_equal(records, loaded)
    assert summarise(records, replicates=20) == summarise(loaded, replicates=20)
    assert not list(tmp_path.rglob("*.part"))


def test_a_person_can_read_them(tmp_path):
    metric = FROCMetric(["Nodule"])
    grid = {"to_stored": np.diag([20.0, 10.0, 1.0]), "stored_size": (80, 80), "grid_size": (8, 4)}
    metric(
        [candidates((0, 0.75, 15, 15), (0, 0.5, 60.5, 60)), candidates()],
        [truth(0, [1], [(0, 10, 10, 20, 20), (0, 40, 40, 50, 50)], **grid), truth(7, [1])],
    )
    save_records(metric.records(), tmp_path, {0: "images/0001.dcm"})

    def table(name: str) -> list[list[str]]:
        with (tmp_path / name).open(newline="") as file:
            return list(csv.reader(file))

    assert table("images.csv") == [
        ["image", "name", "group", "finding", "label", "status", "patch_area"],
        ["0", "images/0001.dcm", "0", "Nodule", "1.0", "counted", "200.0"],
        ["7", "", "7", "Nodule", "1.0", "unboxed", ""],
    ]
    assert table("lesions.csv") == [
        ["image", "finding", "lesion", "score", "x0", "y0", "x1", "y1", "oracle", "cnr"],
        ["0", "Nodule", "0", "0.75", "10.0", "10.0", "20.0", "20.0", "1.0", ""],
        ["0", "Nodule", "1", "-inf", "40.0", "40.0", "50.0", "50.0", "0.0", ""],
    ]
    assert table("candidates.csv") == [
        ["image", "finding", "score", "peak_x", "peak_y", "x0", "y0", "x1", "y1", "hit_lesion"],
        ["0", "Nodule", "0.75", "15.0", "15.0", "10.0", "10.0", "20.0", "20.0", "0"],
        ["0", "Nodule", "0.5", "60.5", "60.0", "55.5", "55.0", "65.5", "65.0", "-1"],
    ]
    assert json.loads((tmp_path / "records.json").read_text())["criterion"] == "centre: the peak lies inside the box"


def test_empty_tables(tmp_path):
    metric = FROCMetric(["A", "B"])
    metric([candidates()], [truth(0, [0, 0])])
    save_records(metric.records(), tmp_path)
    assert_equal(metric.records(), load_records(tmp_path))


def test_saving_again_replaces(records, tmp_path):
    save_records(records, tmp_path)
    metric = FROCMetric(["A"])
    metric([candidates()], [truth(0, [0])])
    save_records(metric.records(), tmp_path)
    assert_equal(metric.records(), load_records(tmp_path))


def test_a_run_cut_short_leaves_nothing_that_loads(records, tmp_path, monkeypatch):
    save_records(records, tmp_path)
    write = records_io._write_table

    def stop_at_lesions(path, *rest):
        if path.name == "lesions.csv":
            raise KeyboardInterrupt
        write(path, *rest)

    monkeypatch.setattr(records_io, "_write_table", stop_at_lesions)
    with pytest.raises(KeyboardInterrupt):
        save_records(records, tmp_path)
    with pytest.raises(FileNotFoundError):
        load_records(tmp_path)


def test_a_cut_table_is_refused(records, tmp_path):
    save_records(records, tmp_path)
    path = tmp_path / "candidates.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"candidates\.csv has"):
        load_records(tmp_path)


def test_another_version_is_refused(records, tmp_path):
    save_records(records, tmp_path)
    (tmp_path / "records.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        load_records(tmp_path)


def test_the_first_version_knew_no_patch_areas(records, tmp_path):
    images = replace(records.images, patch_area=np.full(20, np.nan))
    save_records(replace(records, images=images), tmp_path)
    header = json.loads((tmp_path / "records.json").read_text())
    (tmp_path / "records.json").write_text(json.dumps({**header, "version": 1}))
    with (tmp_path / "images.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    place = rows[0].index("patch_area")
    with (tmp_path / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows(row[:place] + row[place + 1 :] for row in rows)
    assert_equal(replace(records, images=images), load_records(tmp_path))


def test_the_size_of_pixels_has_columns_where_it_is_known(records, tmp_path):
    images = replace(records.images, pixel_mm=np.where(np.arange(40).reshape(20, 2) < 2, np.nan, 0.1))
    known = replace(records, images=images)
    save_records(known, tmp_path / "known")
    assert_equal(known, load_records(tmp_path / "known"))
    save_records(records, tmp_path / "unknown")  # as all records were before
    heads = [(tmp_path / name / "images.csv").read_text().splitlines()[0] for name in ("known", "unknown")]
    assert ["row_mm,column_mm" in head for head in heads] == [True, False]
    assert np.isnan(load_records(tmp_path / "unknown").images.pixel_mm).all()


def test_a_missing_header_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_records(tmp_path)


def test_absolute_image_names_are_refused(records, tmp_path):
    with pytest.raises(ValueError, match="relative"):
        save_records(records, tmp_path, {0: "/home/someone/scan.dcm"})


def test_scores_of_other_images_are_refused(records):
    mine = records.images
    other = replace(mine, index=mine.index + 1, scores={"x": mine.label})
    with pytest.raises(ValueError, match="other images"):
        records.with_scores(other)
    other = replace(mine, label=1 - mine.label, scores={"x": mine.label})
    with pytest.raises(ValueError, match="other labels"):
        records.with_scores(other)


def test_the_records_of_some_images_are_those_of_an_evaluation_of_them():
    tables, truths, scores = random_evaluation(20)
    kept = np.arange(20) % 3 == 1

    def judged(places):
        chosen = [[each[place] for place in places] for each in (tables, truths, scores)]
        froc, auroc = FROCMetric(FINDINGS), AUROCMetric(FINDINGS, ["image", "pooled"])
        froc(*chosen[:2])
        auroc(chosen[2], chosen[1])
        return froc.records().with_scores(auroc.records())

    assert_equal(judged(range(20)).of_images(kept), judged(np.flatnonzero(kept)))
