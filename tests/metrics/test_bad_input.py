"""Odd and broken records, through everything that judges them: a reason for every None, an image for every fault."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.metrics import FROCMetric, Records, load_records, save_records, summarise
from bundle.metrics.paired import compare
from bundle.metrics.records_check import check_records
from bundle.metrics.strata import by_size
from bundle.metrics.subgroups import by_subgroup
from bundle.results import MapsToCandidatesd
from tests.metrics.drawn import NAN, candidates, random_evaluation, records_of, truth

BOX = (0, 10, 10, 20, 20)
FINDINGS = ["A", "B"]
HIT, WRONG = (0, 0.5, 15, 15), (0, 0.5, 60, 60)

JUDGES: dict[str, Callable] = {
    "summarise": lambda records: summarise(records, 30),
    "by_size": lambda records: by_size(records, 30, patch_area=np.full(len(records.images.index), 50.0)),
    "by_subgroup": lambda records: by_subgroup(
        records, {int(i): {"sex": "FM"[int(i) % 2]} for i in records.images.index}, 30, min_positives=1
    ),
    "compare": lambda records: compare({"a": records, "b": records}, "a", 30),
}


def drawn(tables: list, truths: list) -> Records:
    rng = np.random.default_rng(0)
    return records_of(tables, truths, [{"image": rng.random(2)} for _ in truths], FINDINGS)


ODD = {
    "no positives of a finding": lambda: drawn(
        [candidates(HIT, WRONG)] * 4, [truth(i, [i % 2, 0], [BOX] if i % 2 else []) for i in range(4)]
    ),
    "no boxes at all": lambda: drawn([candidates(HIT)] * 4, [truth(i, [i % 2, i // 2]) for i in range(4)]),
    "no candidates at all": lambda: drawn(
        [candidates()] * 4, [truth(i, [i % 2, 0], [BOX] * (i % 2)) for i in range(4)]
    ),
    "one image": lambda: drawn([candidates(HIT, WRONG)], [truth(0, [1, 0], [BOX])]),
    "one negative image": lambda: drawn([candidates(WRONG)], [truth(0, [0, 0])]),
    "nothing known": lambda: drawn([candidates(WRONG)] * 3, [truth(i, [NAN, NAN]) for i in range(3)]),
    "one patient": lambda: drawn(
        [candidates(HIT, WRONG)] * 4, [truth(i, [i % 2, 0], [BOX] * (i % 2), group=7) for i in range(4)]
    ),
    "no image": lambda: FROCMetric(FINDINGS).records(),
}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_but_not_wrong_has_a_reason_for_every_none(case, judge):
    metrics, notes = JUDGES[judge](ODD[case]())
    missing = {key for key, value in metrics.items() if value is None}
    assert missing <= notes.keys()
    assert all(notes[key] for key in missing)
    json.dumps(metrics, allow_nan=False)


def test_a_finding_without_positives_leaves_the_mean_to_the_others():
    metrics, notes = summarise(ODD["no positives of a finding"](), 30)
    assert metrics["auroc/B"] is None
    assert notes["auroc/B"] == "no positive images"
    assert metrics["auroc/mean"] == metrics["auroc/A"]
    assert notes["auroc/mean"].startswith("mean of 1 of 2 findings, undefined for: B")
    assert metrics["froc/mean/score"] == metrics["froc/A/score"]


def test_without_boxes_the_image_scores_still_count():
    metrics, notes = summarise(ODD["no boxes at all"](), 30)
    assert metrics["auroc/mean"] is not None
    assert metrics["froc/mean/sens_at_1fp"] is None
    assert notes["froc/A/sens_at_1fp"] == "no lesions among the images that count"
    assert metrics["n_excluded/A/unboxed"] == 2


def test_constant_scores_are_one_operating_point():
    """All candidates 0.5, two false positives an image: nothing below 2 FP/image, everything at 2."""
    tables = [candidates(HIT, WRONG, (0, 0.5, 80, 80)), candidates(WRONG, (0, 0.5, 80, 80))] * 5
    truths = [truth(i, [float(i % 2 == 0), 0], [BOX] if i % 2 == 0 else []) for i in range(10)]
    records = records_of(tables, truths, [{"image": np.full(2, 0.3)}] * 10, FINDINGS)
    metrics, _ = summarise(records, 50)
    for key, value in {"froc/A/sens_at_1fp": 0, "froc/A/sens_at_2fp": 1, "auroc/A": 0.5}.items():
        assert metrics[key] == value
        assert metrics[f"{key}/low"] <= value <= metrics[f"{key}/high"]
        assert metrics[f"{key}/low"] < metrics[f"{key}/high"], key
    assert metrics["wafroc/A"] == 0.5
    metrics, _ = compare({"a": records, "b": records}, "a", 50, sensitivities=(0.5,))
    assert [metrics[f"compare/a/A/fp_at_0.5sens{end}"] for end in ("", "/low", "/high")] == [2, None, None]
    assert metrics["compare/b/A/fp_at_0.5sens/ratio"] == 1


def broken(what: str) -> Records:
    """The records of a random evaluation with one fault."""
    records = records_of(*random_evaluation(20))
    images, lesions, candidate = records.images, records.lesions, records.candidates

    def with_value(array: np.ndarray, where: object, value: float) -> np.ndarray:
        changed = array.copy()
        changed[where] = value
        return changed

    if what in ("candidate NaN", "candidate inf"):
        score = with_value(candidate.score, candidate.index == 6, np.nan if what.endswith("NaN") else np.inf)
        return replace(records, candidates=replace(candidate, score=score))
    if what == "lesion NaN":
        return replace(records, lesions=replace(lesions, score=with_value(lesions.score, 3, NAN)))
    if what == "image NaN":
        known = np.flatnonzero(~np.isnan(images.label[:, 1]))[0]
        values = with_value(images.scores["pooled"], (known, 1), np.nan)
        return replace(records, images=replace(images, scores={**images.scores, "pooled": values}))
    if what == "twice":
        return replace(records, images=replace(images, index=with_value(images.index, 9, 8)))
    if what == "area":
        return replace(records, images=replace(images, patch_area=with_value(images.patch_area, 4, 0)))
    if what == "pixel":
        return replace(records, images=replace(images, pixel_mm=with_value(images.pixel_mm, (4, 1), -1)))
    if what == "order":
        return replace(records, images=replace(images, index=images.index[::-1].copy()))
    if what == "absent image":
        return replace(records, candidates=replace(candidate, index=with_value(candidate.index, 0, 77)))
    if what == "absent finding":
        return replace(records, lesions=replace(lesions, finding=with_value(lesions.finding, 0, 3)))
    return replace(records, images=replace(images, label=with_value(images.label, (5, 0), 0.5)))


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("candidate NaN", "the score of a candidate is not finite: image 6"),
        ("candidate inf", "the score of a candidate is not finite: image 6"),
        ("pixel", "the size of a pixel in mm is not a positive number: image 4"),
        ("lesion NaN", r"the score of a lesion is NaN or \+inf: image \d+"),
        ("image NaN", r"the image score 'pooled' of a labelled finding is not finite: image \d+"),
        ("twice", "the records hold image 8 more than once"),
        ("order", "must be by rising index"),
        ("absent image", "there are candidates of image 77, which the records do not hold"),
        ("absent finding", r"lesions of image \d+ are of no finding among"),
        ("area", "the area of a patch is not a positive number: image 4"),
        ("label", "labels must be 1, 0 or NaN, but are not for image 5"),
    ],
)
def test_what_is_wrong_is_refused_with_its_image(what, message, judge):
    with pytest.raises(ValueError, match=message):
        JUDGES[judge](broken(what))


class TestCheck:
    def test_sound_records_pass(self):
        check_records(records_of(*random_evaluation(20)), known=["C", "B", "A", "Another"])

    def test_a_finding_that_the_datalist_does_not_know(self):
        with pytest.raises(ValueError, match=r"hold \['C'\], but the datalist knows the findings \['A', 'B'\]"):
            check_records(records_of(*random_evaluation(20)), known=["A", "B"])

    def test_images_are_named_and_many_are_counted(self):
        records = records_of(*random_evaluation(20))
        score = np.full_like(records.candidates.score, np.nan)
        records = replace(records, candidates=replace(records.candidates, score=score))
        with pytest.raises(ValueError, match=r"images \d+ \(images/first\.dcm\), \d+, \d+, \d+, \d+ and \d+ more"):
            check_records(records, {int(records.candidates.index[0]): "images/first.dcm"})

    def test_an_unlabelled_finding_needs_no_score(self):
        records = drawn([candidates()], [truth(0, [NAN, 1])])
        scores = {"image": np.array([[np.nan, 0.5]])}
        check_records(replace(records, images=replace(records.images, scores=scores)))


class TestFromDisk:
    def rewrite(self, path: Path, change: Callable[[list[list[str]]], None]) -> None:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        change(rows)
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        records = drawn([candidates(HIT, WRONG)] * 3, [truth(i, [1, 0], [BOX]) for i in range(3)])
        return save_records(records, tmp_path, {i: f"images/{i}.dcm" for i in range(3)})

    def test_a_score_that_is_not_finite_names_the_file(self, folder):
        self.rewrite(folder / "candidates.csv", lambda rows: rows[3].__setitem__(2, "nan"))
        with pytest.raises(ValueError, match=r"not finite: image 1 \(images/1\.dcm\)"):
            load_records(folder)

    @pytest.mark.parametrize("table", ["images", "lesions", "candidates"])
    def test_a_finding_that_the_header_does_not_know(self, folder, table):
        column = 3 if table == "images" else 1
        self.rewrite(folder / f"{table}.csv", lambda rows: rows[1].__setitem__(column, "Nodul"))
        with pytest.raises(ValueError, match=rf"{table}\.csv names \['Nodul'\], but the findings of records\.json are"):
            load_records(folder)

    def test_a_duplicated_image(self, folder):
        def twice(rows: list[list[str]]) -> None:
            for row in rows[3:5]:
                row[0] = "0"

        self.rewrite(folder / "images.csv", twice)
        with pytest.raises(ValueError, match=r"hold image 0 \(images/\d\.dcm\) more than once"):
            load_records(folder)


def test_a_network_that_fails_is_refused_with_its_image():
    sample = {
        "index": 17,
        "pred": torch.full((1, 4, 4), NAN),
        "canvas_from_stored": torch.eye(3),
        "stored_size": torch.tensor([40, 40]),
    }
    with pytest.raises(ValueError, match="image 17: a patch map is NaN inside its image"):
        MapsToCandidatesd("pred", canvas=40)(sample)
