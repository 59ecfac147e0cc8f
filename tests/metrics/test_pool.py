"""Pooled folds: the figures are those of one evaluation over all images."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bundle.metrics import AUROCMetric, FROCMetric, Records, by_size, save_records, summarise
from bundle.metrics.image_level import summarise_images
from bundle.metrics.pool import pool_folds, pool_records
from bundle.metrics.records_io import records_made_for
from tests.metrics.drawn import random_evaluation

FINDINGS = ["A", "B", "C"]


def records_of(tables: list, truths: list, scores: list) -> Records:
    froc, auroc = FROCMetric(FINDINGS), AUROCMetric(FINDINGS, ["image", "pooled"])
    froc(tables, truths)
    auroc(scores, truths)
    return froc.records().with_scores(auroc.records())


@pytest.fixture(scope="module")
def whole() -> tuple[list, list, list]:
    """30 images, two of each patient, their scores probabilities."""
    tables, truths, scores = random_evaluation(30, seed=3)
    return tables, truths, [{name: values / 2 for name, values in image.items()} for image in scores]


def part_of(whole: tuple[list, list, list], start: int, stop: int) -> Records:
    """Some of the images as an evaluation of their own: numbered from 0, and so are their patients."""
    tables, truths, scores = (each[start:stop] for each in whole)
    renumbered = [{**t, "index": t["index"] - start, "group": t["group"] - start // 2} for t in truths]
    return records_of(tables, renumbered, scores)


def test_the_pool_of_all_parts_is_the_whole(whole):
    pool = pool_records([part_of(whole, 0, 10), part_of(whole, 10, 16), part_of(whole, 16, 30)])
    expected = records_of(*whole)
    np.testing.assert_array_equal(pool.images.index, np.arange(30))
    np.testing.assert_array_equal(pool.images.group, np.arange(30) // 2)
    for table in ("images", "lesions", "candidates"):
        mine, theirs = vars(getattr(pool, table)), vars(getattr(expected, table))
        for name, values in theirs.items():
            if name == "scores":
                assert list(values) == list(mine[name])
                for score, numbers in values.items():
                    np.testing.assert_array_equal(mine[name][score], numbers)
            else:
                np.testing.assert_array_equal(mine[name], values, strict=True)
    assert summarise(pool, replicates=30) == summarise(expected, replicates=30)
    assert summarise_images(pool, {}, replicates=30) == summarise_images(expected, {}, replicates=30)


def test_a_part_without_lesions_or_candidates_counts_its_images(whole):
    part = part_of(whole, 0, 10)
    tables, truths, scores = random_evaluation(1, seed=4)
    truths[0] |= {"boxes": truths[0]["boxes"][:0], "box_finding": truths[0]["box_finding"][:0]}
    truths[0]["box_cnr"] = truths[0]["box_cnr"][:0]
    empty = records_of([tables[0][:0]], truths, scores)
    pool = pool_records([empty, part])
    assert len(pool.images.index) == 11
    np.testing.assert_array_equal(pool.lesions.index, part.lesions.index + 1)
    np.testing.assert_array_equal(pool.candidates.score, part.candidates.score)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"findings": ("A", "B", "D")}, r"part 1: found findings \('A', 'B', 'D'\)"),
        ({"criterion": "another"}, "part 1: found the hit criterion another"),
    ],
)
def test_parts_that_were_not_evaluated_alike_are_refused(whole, change, message):
    part = part_of(whole, 0, 10)
    with pytest.raises(ValueError, match=message):
        pool_records([part, replace(part, **change)])


def test_other_scores_and_no_parts_are_refused(whole):
    part = part_of(whole, 0, 10)
    fewer = replace(part, images=replace(part.images, scores={"image": part.images.scores["image"]}))
    with pytest.raises(ValueError, match=r"found image scores \('image',\), but part 0 has \('image', 'pooled'\)"):
        pool_records([part, fewer])
    with pytest.raises(ValueError, match="no records"):
        pool_records([])


def test_folds_on_disk_become_one_result_with_its_denominators(whole, tmp_path):
    for fold, (start, stop) in enumerate([(0, 10), (10, 16), (16, 30)]):
        save_records(part_of(whole, start, stop), tmp_path / f"fold_{fold}" / "records")
    path = pool_folds(tmp_path, folds=3, replicates=20)
    metrics = json.loads(path.read_text())
    records = records_of(*whole)
    image_level, why = summarise_images(records, {}, replicates=20)
    expected = summarise(records, replicates=20)[0] | image_level | by_size(records, replicates=20)[0]
    assert {key: value for key, value in metrics.items() if not key.startswith("pool/")} == expected
    assert {"ap/mean", "ap/A/low", "prevalence/A", "calibration/mean/ece", "calibration/A/brier"} <= metrics.keys()
    assert not [key for key in metrics if key.startswith("operating/")]  # its thresholds are each fold's own
    lesions = sum((truth["box_finding"] >= 0).sum().item() for truth in whole[1])
    assert [metrics[f"pool/{key}"] for key in ("folds", "images", "lesions", "patients")] == [3, 30, lesions, 15]
    notes = json.loads((tmp_path / "notes.json").read_text())
    assert f"30 images of 15 patients with {lesions} lesions" in notes["pool"]
    assert why.items() <= notes.items()
    assert (tmp_path / "records" / "records.json").is_file()


SAID = {"datalist": "a" * 16, "findings": FINDINGS}


def test_the_pool_says_what_all_folds_were_made_for(whole, tmp_path):
    for fold, (start, stop) in enumerate([(0, 16), (16, 30)]):
        said = SAID | {"section": [f"fold_{fold}"]}
        save_records(part_of(whole, start, stop), tmp_path / f"fold_{fold}" / "records", made_for=said)
    pool_folds(tmp_path, folds=2, replicates=0)
    assert records_made_for(tmp_path / "records") == SAID | {"section": ["fold_0", "fold_1"]}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (SAID | {"section": ["fold_1"], "datalist": "b" * 16}, r"several datalists, such as \['fold_0', 'fold_1'\]"),
        (SAID | {"section": ["fold_0"]}, r"the sections \['fold_0'\] in more than one fold"),
    ],
)
def test_folds_of_other_data_are_refused_and_nothing_is_written(whole, tmp_path, other, told):
    for fold, said in enumerate([SAID | {"section": ["fold_0"]}, other]):
        save_records(part_of(whole, 10 * fold, 10 + 10 * fold), tmp_path / f"fold_{fold}" / "records", made_for=said)
    with pytest.raises(ValueError, match=told):
        pool_folds(tmp_path, folds=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold_0", "fold_1"]


def test_a_missing_fold_is_named_and_nothing_is_written(whole, tmp_path):
    save_records(part_of(whole, 0, 10), tmp_path / "fold_1" / "records")
    with pytest.raises(FileNotFoundError, match="no records of fold_0, fold_2; wanted those of 3 folds"):
        pool_folds(tmp_path, folds=3)
    assert [path.name for path in tmp_path.iterdir()] == ["fold_1"]
