"""Figures by subgroup: those of the group's images alone, with intervals from draws of everyone."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bundle.metrics.draws import draw_counts
from bundle.metrics.froc import froc_curve, sensitivity_at
from bundle.metrics.intervals import figure_interval
from bundle.metrics.records import of_finding
from bundle.metrics.subgroups import by_subgroup, group_of
from bundle.metrics.table import area_of, share_of
from tests.metrics.drawn import NAN, candidates, random_evaluation, records_of, resampled, truth

FINDINGS = ["A", "B", "C"]
IMAGES = 90


def person(index: int) -> dict:
    """Sex by patient (two images each), view by image, age over all bands; vendor unknown of everyone."""
    sex = ["F", "M", "M"][index // 2 % 3]
    age = [20.0, 39.9, 40, 59, 60, 79, 80, NAN][index % 8]
    return {"sex": sex, "view": ["PA", "AP"][index % 2], "site": "", "vendor": "", "age": age}


INFO = {index: person(index) for index in range(IMAGES)}


@pytest.fixture(scope="module")
def evaluation():
    return random_evaluation(IMAGES)


@pytest.fixture(scope="module")
def records(evaluation):
    return records_of(*evaluation)


@pytest.fixture(scope="module")
def result(records):
    return by_subgroup(records, INFO, replicates=60, seed=2, min_positives=1)


def test_figures_are_those_of_an_evaluation_of_the_group_alone(evaluation, result):
    metrics, notes = result
    for field, value in (("sex", "F"), ("sex", "M"), ("view", "AP"), ("age", "40_to_59"), ("age", "unknown")):
        chosen = [i for i in range(IMAGES) if group_of(field, INFO[i][field]) == value]
        tables, truths, scores = ([part[i] for i in chosen] for part in evaluation)
        alone = records_of(tables, truths, scores)
        group = f"subgroup/{field}/{value}"
        assert metrics[f"{group}/n_images"] == len(chosen)
        assert metrics[f"{group}/n_patients"] == len({i // 2 for i in chosen})
        for k, finding in enumerate(FINDINGS):
            data = of_finding(alone, k)
            curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
            assert metrics[f"{group}/froc/{finding}/sens_at_1fp"] == sensitivity_at(curve, 1)
            label, score = alone.images.label[:, k], alone.images.scores["image"][:, k]
            known = ~np.isnan(label)
            area = roc_auc_score(label[known], score[known])
            assert metrics[f"{group}/auroc/{finding}"] == pytest.approx(area, abs=1e-15)
            assert metrics[f"{group}/n_images/{finding}"] == len(data.image)
            assert metrics[f"{group}/n_lesions/{finding}"] == len(data.lesion_score)
            assert metrics[f"{group}/n_positive/{finding}"] == (label == 1).sum()
            assert metrics[f"{group}/n_negative/{finding}"] == (label == 0).sum()
        mean = np.mean([metrics[f"{group}/auroc/{finding}"] for finding in FINDINGS])
        assert metrics[f"{group}/auroc/mean"] == pytest.approx(mean)
    assert {key for key, figure in metrics.items() if figure is None} <= notes.keys()
    assert "60 replicates, seed 2" in notes["bootstrap"]
    assert notes["subgroups"].startswith("sensitivities of fewer than 1 lesions")
    json.dumps(metrics, allow_nan=False)


def test_intervals_are_those_of_real_resampling_of_all_patients(records, result):
    member = np.array([INFO[i]["view"] == "AP" for i in range(IMAGES)])
    unit = np.unique(records.images.group, return_inverse=True)[1]
    counts = draw_counts(IMAGES // 2, 60, 2)
    data, label, score = of_finding(records, 0), records.images.label[:, 0], records.images.scores["image"][:, 0]
    sensitivities, areas = [], []
    for r in range(60):
        drawn = np.where(member, counts[unit, r], 0)
        fp, lesion, _, _, n = resampled(data, drawn)
        sensitivities.append(sensitivity_at(froc_curve(fp, lesion, n), 1))
        rows = np.repeat(np.arange(IMAGES), np.where(np.isnan(label), 0, drawn))
        areas.append(roc_auc_score(label[rows], score[rows]))
    lesions = unit[data.lesion_image[member[data.lesion_image]]]
    positive, negative = (unit[member & (label == each)] for each in (1, 0))
    for key, values, kind in (
        ("froc/A/sens_at_1fp", sensitivities, share_of(lesions)),
        ("auroc/A", areas, area_of(positive, negative)),
    ):
        full = f"subgroup/view/AP/{key}"
        ends = [result[0][f"{full}/{end}"] for end in ("low", "high")]
        assert ends == pytest.approx(figure_interval(result[0][full], np.array(values), kind), abs=1e-9)


def test_a_field_that_nobody_has_is_left_out_and_noted(result):
    metrics, notes = result
    assert not [key for key in metrics if key.startswith(("subgroup/vendor", "subgroup/site"))]
    assert notes["subgroup/vendor"] == "not known of any image"


def test_groups_stand_in_order(result):
    ages = list(dict.fromkeys(key.split("/")[2] for key in result[0] if key.startswith("subgroup/age/")))
    assert ages == ["below_40", "40_to_59", "60_to_79", "80_and_over", "unknown"]


@pytest.mark.parametrize(
    ("field", "value", "group"),
    [
        ("age", 0, "below_40"),
        ("age", 39.99, "below_40"),
        ("age", 40, "40_to_59"),
        ("age", 59.5, "40_to_59"),
        ("age", 60, "60_to_79"),
        ("age", 80, "80_and_over"),
        ("age", 150, "80_and_over"),
        ("age", NAN, "unknown"),
        ("age", None, "unknown"),
        ("sex", "", "unknown"),
        ("sex", " F ", "F"),
        ("vendor", "GE/Medical", "GE_Medical"),
        ("vendor", None, "unknown"),
    ],
)
def test_groups(field, value, group):
    assert group_of(field, value) == group


class TestTooLittle:
    def test_few_lesions_or_positives(self, records):
        metrics, notes = by_subgroup(records, INFO, replicates=0, min_positives=10, fields=("age", "view"))
        group = "subgroup/age/unknown"
        for finding in FINDINGS:
            lesions = metrics[f"{group}/n_lesions/{finding}"]
            positive, negative = (metrics[f"{group}/n_{kind}/{finding}"] for kind in ("positive", "negative"))
            sensitivity, area = f"{group}/froc/{finding}/sens_at_1fp", f"{group}/auroc/{finding}"
            assert (metrics[sensitivity] is None) == (lesions < 10)
            assert (metrics[area] is None) == (min(positive, negative) < 10)
            if lesions < 10:
                assert notes[sensitivity] == f"{lesions} lesions, fewer than 10"
            if min(positive, negative) < 10:
                assert notes[area].startswith(f"{positive} positive and {negative} negative images; fewer than 10")
        assert metrics[f"{group}/auroc/A"] is None  # of eleven images
        assert None not in [metrics[f"subgroup/view/AP/{key}/A"] for key in ("auroc", "n_lesions")]
        assert metrics["subgroup/view/AP/froc/A/sens_at_1fp"] is not None

    def test_no_positives(self):
        sick = [i > 5 and i % 2 == 1 for i in range(12)]
        truths = [truth(i, [float(sick[i])], [(0, 10, 10, 20, 20)] * sick[i]) for i in range(12)]
        scores = [{"image": np.array([0.1 * i])} for i in range(12)]
        records = records_of([candidates()] * 12, truths, scores, ["A"])
        info = {i: {"sex": "F" if i < 6 else "M"} for i in range(12)}
        metrics, notes = by_subgroup(records, info, replicates=20, min_positives=2, fields=("sex",))
        assert metrics["subgroup/sex/F/auroc/A"] is None
        assert notes["subgroup/sex/F/auroc/A"] == "no positive images"
        assert notes["subgroup/sex/F/froc/A/sens_at_1fp"] == "no lesions among the images that count"
        assert metrics["subgroup/sex/M/auroc/A"] == pytest.approx(roc_auc_score([0, 1] * 3, range(6)))

    def test_without_image_scores_there_is_no_area(self, evaluation):
        metrics, _ = by_subgroup(records_of(*evaluation[:2]), INFO, replicates=0)
        assert not [key for key in metrics if "auroc" in key]
        assert metrics["subgroup/sex/M/froc/mean/sens_at_1fp"] is not None


class TestRefused:
    def test_an_image_without_info(self, records):
        with pytest.raises(ValueError, match="2 images of the records have no info, the first is image 4"):
            by_subgroup(records, {i: INFO[i] for i in range(IMAGES) if i not in (4, 7)})

    def test_an_unknown_score(self, records):
        with pytest.raises(ValueError, match="no image score 'nobody'"):
            by_subgroup(records, INFO, primary="nobody")
