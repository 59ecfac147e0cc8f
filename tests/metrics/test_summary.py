"""metrics.json: every key, every number from its own function, every None with a reason."""

import json

import numpy as np
import pytest
import torch

from bundle.metrics import AUROCMetric, FROCMetric, Records, summarise
from bundle.metrics.froc import FP_RATES, froc_curve, sensitivity_at, wafroc
from bundle.metrics.image_level import summarise_images
from bundle.metrics.intervals import wilson
from bundle.metrics.paired import compare
from bundle.metrics.records import of_finding
from tests.metrics.drawn import NAN, candidates, random_evaluation, records_of, truth

FINDINGS = ["A", "B", "C"]
BOX = (0, 10, 10, 20, 20)


@pytest.fixture(scope="module")
def records() -> Records:
    return records_of(*random_evaluation(60))


@pytest.fixture(scope="module")
def summary(records) -> tuple[dict, dict]:
    return summarise(records, replicates=200, seed=1)


def test_the_promised_keys(summary):
    metrics, notes = summary
    for finding in (*FINDINGS, "mean"):
        for rate in ("0.125", "0.25", "0.5", "1", "2", "4", "8"):
            for end in ("", "/low", "/high"):
                assert f"froc/{finding}/sens_at_{rate}fp{end}" in metrics
        for key in ("froc/{}/score", "wafroc/{}", "auroc/{}", "auroc/image/{}", "auroc/pooled/{}"):
            for end in ("", "/low", "/high"):
                assert key.format(finding) + end in metrics
        assert f"froc/{finding}/oracle" in metrics
        for tier in ("cnr_low", "cnr_mid", "cnr_high"):
            assert f"froc/{finding}/{tier}/sens_at_1fp/low" in metrics
            assert f"auroc/{finding}/{tier}/high" in metrics
    for finding in FINDINGS:
        for key in ("n_images", "n_lesions", "n_excluded", "n_positive", "n_negative"):
            assert isinstance(metrics[f"{key}/{finding}"], int)
    assert notes["criterion"].startswith("centre")
    assert "200 replicates, seed 1" in notes["bootstrap"]
    assert "30 patients" in notes["bootstrap"]
    json.dumps(metrics, allow_nan=False)


def test_the_numbers_are_those_of_the_pure_functions(records, summary):
    metrics, _ = summary
    scores = []
    for k, finding in enumerate(FINDINGS):
        data = of_finding(records, k)
        curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
        at = [sensitivity_at(curve, rate) for rate in FP_RATES]
        assert [metrics[f"froc/{finding}/sens_at_{rate:g}fp"] for rate in FP_RATES] == at
        assert metrics[f"froc/{finding}/score"] == np.mean(at)
        for rate, found in zip(FP_RATES, at, strict=True):  # what is called from the threshold on
            threshold = metrics[f"froc/{finding}/threshold_at_{rate:g}fp"]
            threshold = np.inf if threshold is None else threshold
            assert (data.fp_score >= threshold).sum() <= rate * len(data.image)
            assert (data.lesion_score >= threshold).mean() == found
        area = wafroc(data.normal_score, data.lesion_score, data.lesion_image)
        assert metrics[f"wafroc/{finding}"] == pytest.approx(area, abs=1e-14)
        assert metrics[f"froc/{finding}/oracle"] == data.lesion_oracle.mean()
        assert metrics[f"n_images/{finding}"] + metrics[f"n_excluded/{finding}"] == 60
        assert metrics[f"n_excluded/{finding}"] == (
            metrics[f"n_excluded/{finding}/unboxed"] + metrics[f"n_excluded/{finding}/unknown"]
        )
        scores.append(np.mean(at))
    assert metrics["froc/mean/score"] == pytest.approx(np.mean(scores), abs=1e-15)
    assert metrics["auroc/A"] == metrics["auroc/image/A"]


def test_agrees_with_the_metrics(records, summary):
    tables, truths, scores = random_evaluation(60)
    froc, auroc = FROCMetric(FINDINGS), AUROCMetric(FINDINGS, ["image", "pooled"])
    froc(tables, truths)
    auroc(scores, truths)
    assert summary[0]["froc/mean/score"] == pytest.approx(froc.aggregate().item(), abs=1e-15)
    assert summary[0]["auroc/mean"] == pytest.approx(auroc.aggregate().item(), abs=1e-15)


def test_intervals_hold_the_figure_and_depend_on_the_seed_alone(records, summary):
    metrics, _ = summary
    for key in [key for key in metrics if key.endswith("/low")]:
        base = key.removesuffix("/low")
        assert metrics[key] <= metrics[base + "/high"], base
    for key in ("froc/mean/sens_at_1fp", "wafroc/mean", "auroc/mean"):
        assert metrics[f"{key}/low"] < metrics[key] < metrics[f"{key}/high"]
    assert summarise(records, replicates=200, seed=1)[0] == metrics
    assert summarise(records, replicates=200, seed=2)[0] != metrics


def test_without_replicates_the_figures_are_the_same(records, summary):
    plain, notes = summarise(records, replicates=0)
    assert not [key for key in plain if key.endswith(("/low", "/high"))]
    assert "bootstrap" not in notes
    assert plain == {key: value for key, value in summary[0].items() if not key.endswith(("/low", "/high"))}


def test_the_primary_score(records):
    metrics, _ = summarise(records, replicates=0, primary="pooled")
    assert metrics["auroc/A"] == metrics["auroc/pooled/A"] != metrics["auroc/image/A"]
    with pytest.raises(ValueError, match="no image score 'nobody'"):
        summarise(records, primary="nobody")


def test_thirds_of_contrast(records, summary):
    metrics, _ = summary
    low, high = metrics["cnr_edges/1"], metrics["cnr_edges/2"]
    every = [of_finding(records, k) for k in range(3)]
    assert (low, high) == tuple(np.quantile(np.concatenate([data.lesion_cnr for data in every]), [1 / 3, 2 / 3]))
    for k, finding in enumerate(FINDINGS):
        data = every[k]
        for tier, inside in (
            ("cnr_low", data.lesion_cnr <= low),
            ("cnr_mid", (data.lesion_cnr > low) & (data.lesion_cnr <= high)),
            ("cnr_high", data.lesion_cnr > high),
        ):
            assert metrics[f"n_lesions/{finding}/{tier}"] == inside.sum()
            curve = froc_curve(data.fp_score, data.lesion_score[inside], len(data.image))
            assert metrics[f"froc/{finding}/{tier}/sens_at_1fp"] == sensitivity_at(curve, 1)


def test_auroc_by_contrast_takes_the_strongest_lesion():
    cnr = [[1.0], [2.0], [3.0], [1.0, 3.0]]
    truths = [
        truth(i, [1], [BOX, (0, 40, 40, 50, 50)][: len(values)], box_cnr=torch.tensor(values))
        for i, values in enumerate(cnr)
    ]
    truths += [truth(4, [0]), truth(5, [1])]  # a negative; a positive without boxes belongs to no third
    scores = [{"image": torch.tensor([value])} for value in (0.1, 0.9, 0.9, 0.1, 0.5, 0.1)]
    metrics, _ = summarise(records_of([candidates()] * 6, truths, scores, ["A"]), replicates=0)
    assert (metrics["cnr_edges/1"], metrics["cnr_edges/2"]) == pytest.approx((1 + 1 / 3, 2 + 2 / 3))
    assert [metrics[f"auroc/A/{tier}"] for tier in ("cnr_low", "cnr_mid", "cnr_high")] == [0, 1, 0.5]
    assert metrics["auroc/A"] == 2 / 5


@pytest.mark.parametrize("found", [True, False])
def test_no_interval_is_without_width(found):
    """All lesions hit first of all and all ranks right; or no lesion hit and all ranks wrong."""
    tables, truths, scores = [], [], []
    for i in range(24):
        sick = i < 8
        tables.append(candidates((0, 0.9, 15, 15)) if sick and found else candidates((0, 0.1, 80, 80)))
        truths.append(truth(i, [float(sick)], [BOX] * sick, group=i // 2))
        scores.append({"image": torch.tensor([0.9 if sick == found else 0.1])})
    records = records_of(tables, truths, scores, ["A"])
    other = records_of([candidates()] * 24, truths, scores, ["A"])
    points = {"A": {"youden": 0.5, "sensitive": 0.4}}
    parts = [
        summarise(records, 100),
        summarise_images(records, points, 100),
        compare({"ours": records, "theirs": other, "again": records}, "ours", 100),
    ]
    widths = 0
    for metrics, notes in parts:
        for key in [key.removesuffix("/low") for key in metrics if key.endswith("/low")]:
            low, high = metrics[f"{key}/low"], metrics[f"{key}/high"]
            assert ((low is None or high is None) and "fp_at_" in key) or low < high, key
            assert {f"{key}/{end}" for end, bound in (("low", low), ("high", high)) if bound is None} <= notes.keys()
            widths += low is not None and high is not None
    assert widths > 60
    low, high = parts[0][0]["froc/A/sens_at_1fp/low"], parts[0][0]["froc/A/sens_at_1fp/high"]
    far = wilson(1.0, 4)[0]  # eight lesions of four patients
    assert (low, high) == pytest.approx((far, 1) if found else (0, 1 - far))


class TestUndefined:
    def test_every_none_has_its_reason(self):
        tables = [candidates((0, 0.9, 15, 15)), candidates(), candidates()]
        truths = [truth(0, [1, 0, NAN, 1]), truth(1, [0, 0, NAN, 1], []), truth(2, [1, 0, NAN, 1], [BOX])]
        scores = [{"image": torch.rand(4)} for _ in range(3)]
        findings = ["Found", "Never", "Unknown", "Unboxed"]
        metrics, notes = summarise(records_of(tables, truths, scores, findings), replicates=50)
        nothing = {key for key, value in metrics.items() if value is None}
        assert nothing <= notes.keys()
        assert notes["froc/Never/sens_at_1fp"] == "no lesions among the images that count"
        assert notes["froc/Unboxed/score"] == "no image counts: no labels 0, no complete boxes"
        assert notes["wafroc/Never"] == "no lesions among the images that count"
        assert notes["auroc/Never"] == "no positive images"
        assert notes["auroc/Unboxed"] == "no negative images"
        assert notes["froc/Found/oracle"] == "the patches' geometry was not given"
        assert "mean of 1 of 4 findings, undefined for: Never, Unknown, Unboxed" in notes["froc/mean/score"]
        assert metrics["froc/mean/score"] == metrics["froc/Found/score"]
        assert "replicates in which it is undefined" in notes["froc/Found/score"]
        assert "cnr_edges/1" not in metrics

    def test_no_lesion_free_images(self):
        records = records_of([candidates((0, 0.9, 15, 15))], [truth(0, [1], [BOX])], findings=["A"])
        metrics, notes = summarise(records, replicates=10)
        assert metrics["froc/A/score"] == 1.0
        assert metrics["wafroc/A"] is None
        assert notes["wafroc/A"] == "no lesion-free images"
        assert notes["wafroc/mean"] == "undefined for every finding"

    def test_no_images(self):
        metrics, notes = summarise(FROCMetric(["A"]).records())
        assert metrics["froc/mean/score"] is None
        assert metrics["n_images/A"] == 0
        assert notes["froc/mean/score"] == "undefined for every finding"

    def test_a_mean_needs_all_its_findings_in_a_replicate(self):
        """B has one lesion image of four, so about a third of the replicates miss it; the mean must miss them too."""
        truths = [truth(0, [1, 1], [BOX, (1, 10, 10, 20, 20)]), *(truth(i, [1, 0], [BOX]) for i in (1, 2, 3))]
        _, notes = summarise(records_of([candidates()] * 4, truths, findings=["A", "B"]), replicates=300)
        assert "froc/A/score" not in notes
        assert notes["froc/mean/score"] == notes["froc/B/score"]
        assert 60 < int(notes["froc/B/score"].split()[2]) < 130
