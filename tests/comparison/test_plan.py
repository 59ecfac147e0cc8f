"""The plan: chosen on validation, frozen, refused where it does not belong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bundle.comparison import Atlas, Comparison, NoLookMarker, map_methods
from bundle.comparison.box_places import TrainingBoxes
from bundle.comparison.observe import Observed, geometry
from bundle.comparison.plan import (
    FIFTHS,
    Grid,
    Setting,
    _points_for,
    as_setting,
    choose,
    choose_points,
    records_of,
    setting_dict,
)
from bundle.frozen_plan import PlanError, read_plan, shown_points, write_plan
from bundle.grid import plane_size
from bundle.metrics import load_records
from bundle.metrics.candidates import PEAK, extract_candidates_batch
from bundle.metrics.froc import froc_curve, sensitivity_at
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import COUNTED, of_finding
from bundle.metrics.shown import shown
from bundle.probability import OperatingPoints, calibrated
from bundle.report.sections import comparison_section
from tests.metrics.drawn import random_evaluation
from tests.metrics.drawn import records_of as drawn_records
from tests.tiny_comparison import tiny_comparison
from tests.tiny_network import tiny_patch_clip

GRID_SIDE, SIDE = 8, 80  # patches, stored pixels
FINDINGS = ["Mass"]


def truth(index: int, positive: bool) -> dict[str, Any]:
    """A lesion in the patch (row 2, column 5) of the positive images."""
    box = [[50.0, 20.0, 60.0, 30.0]] if positive else [[float("nan")] * 4]
    return {
        "index": index,
        "label": torch.tensor([float(positive)]),
        "boxed": torch.tensor([True]),
        "boxes": torch.tensor(box),
        "box_finding": torch.tensor([0 if positive else -1]),
        "stored_size": torch.tensor([SIDE, SIDE]),
        "grid_size": (GRID_SIDE, GRID_SIDE),
        "to_stored": torch.diag(torch.tensor([10.0, 10.0, 1.0], dtype=torch.float64)),
    }


def min_max_friend() -> tuple[Observed, list[dict[str, Any]]]:
    """Maps whose peak is in the right place but whose size says nothing; the image's probability says everything."""
    generator = torch.Generator().manual_seed(0)
    maps, probability, truths = [], [], []
    for index in range(40):
        positive = index % 4 == 0
        heat = torch.rand(GRID_SIDE, GRID_SIDE, generator=generator) * 0.2
        heat[2, 5] = 1.0
        maps.append(heat * (0.1 + 5 * torch.rand((), generator=generator)))
        probability.append(0.9 if positive else 0.1)
        truths.append(truth(index, positive))
    return Observed(torch.stack(maps)[:, None], torch.tensor(probability)[:, None]), truths


def score_of(observed: Observed, truths: list[dict[str, Any]], setting: Setting) -> float:
    records = records_of(observed, truths, setting, Grid(), FINDINGS, HitCriterion())
    data = of_finding(records, 0)
    return sensitivity_at(froc_curve(data.fp_score, data.lesion_score, len(data.image)), 0.125)


def test_the_scaling_that_helps_is_chosen() -> None:
    observed, truths = min_max_friend()
    setting, score = choose(observed, truths, ("raw", "probability"), Grid(), FINDINGS, HitCriterion())
    assert setting.scaling == "probability"
    assert score == pytest.approx(1.0)
    assert score_of(observed, truths, setting) == 1.0
    other = Setting("raw", setting.scale, setting.floor, setting.smoothing)
    assert score_of(observed, truths, other) < 0.6  # the choice mattered


def test_the_smoothing_that_helps_is_chosen() -> None:
    """Lesions are broad and faint, false positives are single bright patches: only a blur tells them apart."""
    generator = torch.Generator().manual_seed(1)
    maps, truths = [], []
    for index in range(40):
        positive = index % 2 == 0
        heat = torch.full((GRID_SIDE, GRID_SIDE), 0.05)
        if positive:
            heat[1:4, 4:7] = 0.6
        row, column = torch.randint(5, 8, (2,), generator=generator).tolist()
        heat[row, column] = 0.7
        maps.append(heat)
        truths.append(truth(index, positive))
    observed = Observed(torch.stack(maps)[:, None], torch.full((40, 1), 0.5))
    setting, score = choose(observed, truths, ("none",), Grid(), FINDINGS, HitCriterion())
    assert setting.smoothing > 0
    plain, plain_score = choose(observed, truths, ("none",), Grid(smoothings=(0.0,)), FINDINGS, HitCriterion())
    assert plain.smoothing == 0
    assert score > plain_score


def test_raw_scale_is_validations_highest_value_per_finding() -> None:
    observed, truths = min_max_friend()
    setting, _ = choose(observed, truths, ("raw",), Grid(), FINDINGS, HitCriterion())
    assert setting.scale == pytest.approx((float(observed.maps.max()),))
    assert as_setting(json.loads(json.dumps(setting_dict(setting)))) == setting


def padded(pad_value: float) -> tuple[Observed, list[dict[str, Any]]]:
    """The upper half of the canvas is pad, and holds this value."""
    observed, truths = min_max_friend()
    observed.maps[:, :, 4:] = observed.maps[:, :, :4].clone()
    observed.maps[:, :, :4] = pad_value
    up = torch.tensor([[10.0, 0, 0], [0, 10, -40], [0, 0, 1]], dtype=torch.float64)
    return observed, [{**t, "to_stored": up, "stored_size": torch.tensor([SIDE // 2, SIDE])} for t in truths]


@pytest.mark.parametrize("scaling", ["raw", "probability"])
def test_what_a_map_says_of_the_pad_changes_nothing(scaling: str) -> None:
    (quiet, truths), (loud, _), (failed, _) = padded(0.0), padded(9.0), padded(float("nan"))
    wanted = choose(quiet, truths, (scaling,), Grid(), FINDINGS, HitCriterion())
    for other in (loud, failed):
        found = choose(other, truths, (scaling,), Grid(), FINDINGS, HitCriterion())
        assert found == wanted
        mine, theirs = (records_of(o, truths, found[0], Grid(), FINDINGS, HitCriterion()) for o in (quiet, other))
        assert mine.candidates.score.tolist() == theirs.candidates.score.tolist()


def false_marks(points: dict[str, Any], records: Any) -> float:
    """An image, counted candidate by candidate."""
    return float(marks_by_image(points, records).sum())


def marks_by_image(points: dict[str, Any], records: Any) -> np.ndarray:
    """What each image adds to false marks an image."""
    rule = OperatingPoints(records.findings, shown_points(points))
    probability = rule.probability(torch.from_numpy(records.images.scores["image"])).numpy()
    marked = shown(records, probability, rule.image, rule.box, rule.max_per_finding).candidate
    total = np.zeros(len(records.images.index))
    for k in range(len(records.findings)):
        counting = records.images.index[records.images.status[:, k] == COUNTED]
        own = records.candidates
        wrong = marked & (own.finding == k) & (own.lesion < 0) & np.isin(own.index, counting)
        place = np.searchsorted(records.images.index, own.index[wrong])
        total += np.bincount(place, minlength=len(total)) / len(counting)
    return total


def upper_end(marks: np.ndarray, group: np.ndarray) -> float:
    """Of the 95% interval of their sum over it, by the normal distribution of patients' sums."""
    patient = np.bincount(np.unique(group, return_inverse=True)[1], marks)
    return float(1 + 1.96 * patient.std() * len(patient) ** 0.5 / patient.sum())


def test_thresholds_are_aimed_below_what_is_wanted_by_the_chance_of_two_sections() -> None:
    """Sections of 60 patients, two images each: below what is wanted, more so where they look too good."""
    others = []
    for seed in range(4):
        tables, truths, scores = random_evaluation(120, seed=seed)
        scores = [{"image": each["image"].clamp(0, 1)} for each in scores]
        records = drawn_records(tables, truths, scores)
        points, (wanted, elsewhere, above, aim) = choose_points(records, "image", 0.2)
        assert (wanted, aim) == (0.2, pytest.approx(min(0.2, 0.04 / elsewhere) / above))
        plain = marks_by_image(_points_for(records, "image", 0.2), records)
        assert above == pytest.approx(upper_end(plain, records.images.group) ** 2**0.5, rel=0.1)
        assert false_marks(points, records) <= aim + 1e-9
        fifth = np.unique(records.images.group, return_inverse=True)[1] % FIFTHS
        counted = [
            false_marks(_points_for(records.of_images(fifth != part), "image", 0.2), records.of_images(fifth == part))
            for part in range(FIFTHS)
        ]
        assert elsewhere == pytest.approx(np.mean(counted))
        others.append(elsewhere)
    assert max(others) > 0.2


@pytest.mark.parametrize(("patients", "known"), [(2, (False, False)), (8, (False, True)), (120, (True, True))])
def test_of_too_few_patients_it_is_said_that_nothing_is_known(
    patients: int, known: tuple[bool, bool], caplog: pytest.LogCaptureFixture
) -> None:
    """Two images a patient."""
    tables, truths, scores = random_evaluation(patients, seed=0)
    records = drawn_records(tables, truths, [{"image": each["image"].clamp(0, 1)} for each in scores])
    _, aim = choose_points(records, "image", 0.2)
    assert (aim.left_out is not None, aim.above is not None) == known
    assert aim.aimed == pytest.approx(0.2 / max(1, (aim.left_out or 0) / 0.2) / (aim.above or 1))
    assert ("Too few patients or false marks" in caplog.text) == (not all(known))


def test_a_plan_is_kept_and_guarded(tmp_path: Path) -> None:
    path, made_for = tmp_path / "plan.json", {"weights": "abc", "grid": {"floors": [0.1]}}
    with pytest.raises(PlanError, match=r"no plan at .*make the plan on validation first"):
        read_plan(path, made_for)
    write_plan(path, made_for, {"methods": {"a": 1}})
    assert read_plan(path, made_for)["methods"] == {"a": 1}
    with pytest.raises(PlanError, match="weights 'abc' instead of 'def'"):
        read_plan(path, {**made_for, "weights": "def"})


@pytest.mark.parametrize(
    "content", ["", '{"format": 2, "made_', "[]", "{}", '{"format": 2}', '{"format": 1, "made_for": {}}', "\x00"]
)
def test_half_a_plan_and_what_is_none_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(PlanError, match=r"plan\.json was made for something else: it .*Delete it"):
        read_plan(tmp_path / "plan.json", {"weights": "abc"})


def test_a_plan_for_another_score_canvas_or_section_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    observed, truths = min_max_friend()
    monkeypatch.setattr(Comparison, "_observe", lambda *_: (truths, {"a": observed}))
    plan = tiny_comparison(tmp_path, FINDINGS).plan()
    point = plan["points"]["Mass"]
    assert point["youden"] == pytest.approx(calibrated(0.9, point["slope"], point["offset"]))
    assert plan["candidates"]["floor"] == plan["methods"]["a"]["floor"]
    assert tiny_comparison(tmp_path, FINDINGS).plan() == plan
    with pytest.raises(PlanError, match="canvas 80 instead of 90"):
        tiny_comparison(tmp_path, FINDINGS, canvas=90).plan()
    with pytest.raises(PlanError, match="section 'validation' instead of 'fold_1'"):
        tiny_comparison(tmp_path, FINDINGS, section="fold_1").plan()
    with pytest.raises(PlanError, match=r"methods .*'image'.* instead of .*'patch'"):
        tiny_comparison(tmp_path, FINDINGS, "patch").plan()
    with pytest.raises(PlanError, match=r"findings \['Mass'\] instead of \['Nodule'\]"):
        tiny_comparison(tmp_path, ["Nodule"]).plan()


def test_planned_comparisons_are_frozen_and_a_plan_without_them_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed, truths = min_max_friend()
    monkeypatch.setattr(Comparison, "_observe", lambda *_: (truths, {"a": observed}))
    old = tiny_comparison(tmp_path, FINDINGS).plan()
    del old["made_for"]["planned"]  # of before there were any
    (tmp_path / "plan.json").write_text(json.dumps(old))
    assert tiny_comparison(tmp_path, FINDINGS).plan() == old
    planned = {"_desc_": "one", "more": {"method": "b", "claim": "superiority", "margin": 0.1}}
    with pytest.raises(PlanError, match=r"planned None instead of .*Delete it, so that a new one is made"):
        tiny_comparison(tmp_path, FINDINGS, planned=planned).plan()
    (tmp_path / "plan.json").unlink()
    comparison = tiny_comparison(tmp_path, FINDINGS, planned=planned, replicates=20)
    plan = comparison.plan()
    wanted = {"method": "b", "claim": "superiority", "margin": 0.1, "figure": "mean/sens_at_1fp"}
    assert plan["made_for"]["planned"] == {"more": wanted}
    comparison.evaluate()
    assert comparison.result is not None
    assert comparison.result.metrics["planned/more/p_holm"] == 1.0
    planned["more"] = {**wanted, "margin": 0.0}
    with pytest.raises(PlanError, match=r"'margin': 0\.1"):
        tiny_comparison(tmp_path, FINDINGS, planned=planned).plan()


def test_what_was_judged_elsewhere_joins_or_the_notes_say_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed, truths = min_max_friend()
    monkeypatch.setattr(Comparison, "_observe", lambda *_: (truths, {"a": observed}))
    data = {"datalist": "abc", "section": ["test"], "findings": FINDINGS}

    def judged(folder: str, **more: Any) -> Comparison:
        (tmp_path / folder).mkdir()
        comparison = tiny_comparison(tmp_path / folder, FINDINGS, judged_on=data, replicates=0, **more)
        comparison.plan()
        comparison.evaluate()
        return comparison

    judged("first")
    mine = tmp_path / "first" / "comparison" / "records_00"
    shutil.copytree(mine, tmp_path / "other")
    header = json.loads((mine / "records.json").read_text())
    assert header["made_for"] == data
    header["made_for"]["section"] = ["training"]
    (tmp_path / "other" / "records.json").write_text(json.dumps(header))

    boxes = {
        "b": {"records": str(mine), "supervision": "s"},
        "c": {"records": str(tmp_path / "other"), "supervision": "s"},
    }
    left_out = {"maps": "there are no weights", "nothing": ""}
    result = judged("second", judged_elsewhere={"_desc_": "boxes", **boxes}, left_out=left_out).result
    assert result is not None
    assert list(result.methods) == ["a", "b"]
    assert not [key for key in result.metrics if "/c/" in key]
    notes = json.loads((tmp_path / "second" / "comparison_notes.json").read_text())
    assert notes["made_for"] == data
    told = {key: why for key, why in notes["notes"].items() if key.startswith("left_out/")}
    assert list(told) == ["left_out/maps", "left_out/c"]
    assert "section ['training'] instead of ['test']" in told["left_out/c"]
    text = comparison_section(result.metrics, result.notes, result.methods, "a").text
    assert text[1:] == ["Left out: maps, because there are no weights.", f"Left out: c, because {told['left_out/c']}."]


def test_records_of_other_runs_are_not_taken_in_without_saying_for_what(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="judged_on is missing"):
        tiny_comparison(tmp_path, FINDINGS, judged_elsewhere={"b": {"records": "x", "supervision": "s"}})


def test_the_score_of_the_methods_is_asked_for() -> None:
    network = tiny_patch_clip(None, text=False)
    methods = map_methods(network, network, ["cosine"], score="patch")
    assert [method.score for method in methods.values()] == ["patch", "patch", "global"]


def test_baselines_that_see_no_map_join_and_the_notes_name_what_is_not_above_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed, truths = min_max_friend()
    monkeypatch.setattr(Comparison, "_observe", lambda *_: (truths, {"a": observed}))
    box = np.array([[0.62, 0.25, 0.75, 0.38]])  # where all lesions are: nothing can be above a mark there at 1 FP/image
    places = TrainingBoxes(("Mass",), box, np.zeros(1, np.int64), np.array([0.25]))
    nowhere = replace(places, box=np.array([[0.0, 0.0, 0.1, 0.1]]))
    unseeing = {"_desc_": "d", "here": NoLookMarker(places), "away": NoLookMarker(nowhere), "atlas": Atlas(places)}
    comparison = tiny_comparison(tmp_path, FINDINGS, replicates=20, unseeing=unseeing)
    point = comparison.plan()["points"]["Mass"]
    comparison.evaluate()
    said = load_records(tmp_path / "comparison" / "records_03").images.scores["image"]  # the atlas's
    assert not np.allclose(said, observed.probability)
    assert said == pytest.approx(calibrated(observed.probability, point["slope"], point["offset"]), rel=1e-5)
    result = comparison.result
    assert result is not None
    assert list(result.methods) == ["a", "here", "away", "atlas"]
    assert result.methods["here"]["supervision"] == "training boxes, no image"
    assert result.methods["atlas"]["supervision"] == "training boxes, image score only"
    sensitivity = {name: result.metrics[f"compare/{name}/Mass/sens_at_1fp"] for name in result.methods}
    assert sensitivity == {"a": 1, "here": 1, "away": 0, "atlas": 1}
    above, low = "above/{}/a/Mass/sens_at_1fp", {}
    for name in ("here", "away"):
        low[name] = result.metrics[above.format(name) + "/low"]
        assert low[name] == result.metrics[f"compare/{name}/Mass/sens_at_1fp/difference/low"]  # "a" is the reference
    assert low["here"] < 0 < low["away"] < 1  # 10 lesions: no certainty, though every replicate agrees
    assert result.metrics["above/here/a/mean/sens_at_1fp"] == 0
    told = {key: findings for key, findings in result.notes.items() if key.startswith("not_localised/")}
    assert told == {"not_localised/here/a": "Mass", "not_localised/away/a": "none", "not_localised/atlas/a": "Mass"}
    tables = comparison_section(result.metrics, result.notes, result.methods, "a").tables
    named = next(table for table in tables if table.caption.startswith("What is not localised"))
    assert named.headings[1:] == ("Not above here", "Not above away", "Not above atlas")
    assert [(name, [cell["text"] for cell in cells]) for name, cells in named.rows] == [("a", ["Mass", "none", "Mass"])]
    # by chance a point falls on one patch of 64; the row stands below the methods' pointing
    assert result.metrics["localization/chance/Mass/pointing"] == pytest.approx(1 / 64, rel=0.1)
    pointing = next(table for table in tables if "Pointing" in table.headings)
    assert pointing.rows[-1][0] == "a point drawn anywhere"
    assert pointing.rows[-1][1][0]["text"] == "0.02"
    with pytest.raises(ValueError, match=r"findings of here are \['Mass'\], wanted \['Nodule'\]"):
        tiny_comparison(tmp_path, ["Nodule"], unseeing={"here": NoLookMarker(places)})


def test_a_coarser_map_lies_where_a_finer_one_does():
    """Methods' maps need not have the grid of the first: each is placed, and judged, in its own."""
    affine = torch.tensor([[20.0, 0, -3], [0, 10, 7], [0, 0, 1]], dtype=torch.float64)
    truth = {"grid_size": (8, 4), "to_stored": affine, "stored_size": torch.tensor([90, 80])}
    for grid in ((8, 4), (4, 2), (2, 1), (16, 8)):
        to_stored, size = geometry([truth], grid)
        corners = to_stored[0] @ torch.tensor([[0, grid[1]], [0, grid[0]], [1, 1]], dtype=torch.float64)
        torch.testing.assert_close(corners[:2], torch.tensor([[-3.0, 77], [7, 87]], dtype=torch.float64))
        assert size.tolist() == [[90, 80]]
    fine = torch.zeros(1, 1, 8, 4)
    fine[0, 0, 2:4, 0:2] = 0.9
    coarse = torch.zeros(1, 1, 4, 2)
    coarse[0, 0, 1, 0] = 0.9
    for maps, near in ((fine, 10.0), (coarse, 1e-6)):  # a plateau's peak is one of its patches
        (table,) = extract_candidates_batch(maps, *geometry([truth], plane_size(maps)), 0.1, 0.0, 0.5, 5)
        assert (table[0, PEAK] - torch.tensor([18.5, 37.0])).abs().max() <= near  # its centre, as far as it is shown
