"""Image-level figures of metrics.json: each against scikit-learn, what is frozen against a search."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, roc_curve

from bundle.metrics import Records
from bundle.metrics.calibration import fit_platt
from bundle.metrics.draws import draw_counts
from bundle.metrics.image_level import choose_operating_points, summarise_images
from bundle.metrics.intervals import Share, share_interval
from bundle.probability import calibrated
from bundle.report.reliability_figure import draw_reliability
from tests.metrics.drawn import NAN, candidates, random_evaluation, records_of, truth

FINDINGS = ["A", "B", "C"]
IMAGES = 120


def probable(seed: int) -> Records:
    """Two images of each patient, some labels unknown; scores are probabilities with many ties."""
    tables, truths, scores = random_evaluation(IMAGES, seed=seed)
    return records_of(tables, truths, [{name: (s + 0.1) / 1.5 for name, s in image.items()} for image in scores])


@pytest.fixture(scope="module")
def records() -> Records:
    return probable(0)


@pytest.fixture(scope="module")
def points() -> dict:
    return choose_operating_points(probable(1), "image")


def known(records: Records, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of the images whose label is known."""
    label, probability = records.images.label[:, k], records.images.scores["image"][:, k]
    return label[~np.isnan(label)], probability[~np.isnan(label)]


def expected_error(label: np.ndarray, probability: np.ndarray) -> float:
    observed, predicted = calibration_curve(label, probability, n_bins=10)
    count = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], probability))
    return np.average(np.abs(observed - predicted), weights=count[count > 0])


def test_what_is_frozen_is_the_best_on_validation(points):
    validation = probable(1)
    for k, finding in enumerate(FINDINGS):
        label, score = known(validation, k)
        slope, offset, _ = fit_platt(score, label)
        assert (points[finding]["slope"], points[finding]["offset"]) == (slope, offset)
        probability = calibrated(score, slope, offset)
        fpr, tpr, thresholds = roc_curve(label, probability, drop_intermediate=False)
        at = int(np.flatnonzero(thresholds == points[finding]["youden"])[0])
        assert tpr[at] - fpr[at] == pytest.approx((tpr - fpr).max(), abs=1e-12)
        assert points[finding]["sensitive"] == max(thresholds[tpr >= 0.9])


def test_every_figure_is_scikit_learns(records, points):
    metrics, _ = summarise_images(records, points, replicates=0)
    means: dict[str, list[float]] = {}
    for k, finding in enumerate(FINDINGS):
        label, score = known(records, k)
        probability = expit(points[finding]["slope"] * logit(score) + points[finding]["offset"])
        wanted = {
            "ap/{}": average_precision_score(label, score),
            "prevalence/{}": label.mean(),
            "calibration/{}/ece": expected_error(label, score),
            "calibration/{}/brier": brier_score_loss(label, score),
            "ece/{}": expected_error(label, probability),
            "brier/{}": brier_score_loss(label, probability),
        }
        for point in ("youden", "sensitive"):
            threshold = metrics[f"operating/{point}/{finding}/threshold"]
            assert threshold == points[finding][point]
            (tn, fp), (fn, tp) = confusion_matrix(label, probability >= threshold)
            wanted |= {
                f"operating/{point}/{{}}/sensitivity": tp / (tp + fn),
                f"operating/{point}/{{}}/specificity": tn / (tn + fp),
                f"operating/{point}/{{}}/ppv": tp / (tp + fp),
                f"operating/{point}/{{}}/npv": tn / (tn + fn),
            }
        for key, value in wanted.items():
            assert metrics[key.format(finding)] == pytest.approx(value, abs=1e-12), key
            means.setdefault(key, []).append(value)
        for name in ("slope", "offset"):
            assert metrics[f"calibration/{finding}/{name}"] == points[finding][name]
    for key, values in means.items():
        assert metrics[key.format("mean")] == pytest.approx(np.mean(values), abs=1e-12), key


def test_intervals_are_those_of_real_resampling_of_patients(records, points):
    metrics, _ = summarise_images(records, points, replicates=50, seed=3)
    counts = draw_counts(IMAGES // 2, 50, 3)
    label, probability = records.images.label[:, 0], records.images.scores["image"][:, 0]
    threshold, precisions, sensitivities = points["A"]["youden"], [], []
    for drawn in counts.T:
        rows = np.repeat(np.arange(IMAGES), drawn[np.arange(IMAGES) // 2])
        rows = rows[~np.isnan(label[rows])]
        precisions.append(average_precision_score(label[rows], probability[rows]))
        called = calibrated(probability[rows][label[rows] == 1], points["A"]["slope"], points["A"]["offset"])
        sensitivities.append((called >= threshold).mean())
    for key, values in (("ap/A", precisions), ("operating/youden/A/sensitivity", sensitivities)):
        ends = [metrics[f"{key}/{end}"] for end in ("low", "high")]
        positives = np.flatnonzero(label == 1)
        share = Share(len(positives), len(np.unique(positives // 2)))
        assert ends == pytest.approx(share_interval(metrics[key], np.array(values), share), abs=1e-9)


def test_the_primary_score(records):
    pooled, _ = summarise_images(records, {}, replicates=0, primary="pooled")
    label = records.images.label[:, 0]
    mine = records.images.scores["pooled"][:, 0][~np.isnan(label)]
    assert pooled["ap/A"] == pytest.approx(average_precision_score(label[~np.isnan(label)], mine))


def test_without_a_plan_there_are_no_operating_points(records):
    metrics, notes = summarise_images(records, {}, replicates=0)
    assert not [key for key in metrics if key.startswith("operating/")]
    assert metrics["brier/A"] is None
    assert notes["brier/A"] == "no calibration was fitted on validation"
    assert metrics["ap/mean"] == summarise_images(records, {"A": {}}, replicates=0)[0]["ap/mean"]


def test_every_none_has_its_reason():
    truths = [truth(0, [1, 0, NAN]), truth(1, [0, 0, NAN])]
    scores = [{"image": np.array([0.7, 0.2, 0.5])}, {"image": np.array([0.4, 0.6, 0.5])}]
    records = records_of([candidates()] * 2, truths, scores)
    points = choose_operating_points(records, "image")
    called = calibrated(0.7, points["A"]["slope"], points["A"]["offset"])
    assert points["A"]["youden"] == points["A"]["sensitive"] == pytest.approx(called)
    assert points["B"] == points["C"] == {}
    metrics, notes = summarise_images(records, points, replicates=20)
    nothing = {key for key, value in metrics.items() if value is None}
    assert nothing <= notes.keys()
    assert notes["ap/B"] == "no positive images"
    assert notes["prevalence/C"] == "no known label"
    assert notes["operating/youden/B/ppv"] == "no threshold could be chosen on validation"
    assert notes["calibration/C/ece"] == "no labelled images"
    assert metrics["operating/sensitive/A/sensitivity"] == 1
    # a threshold of candidates says nothing of image scores, and no calibration is made up for it
    marked = {finding: {**point, "box": 0.4} for finding, point in points.items()}
    assert summarise_images(records, marked, replicates=20) == (metrics, notes)
    assert draw_reliability(records, marked) == draw_reliability(records, points)


def test_without_image_scores_there_is_nothing():
    records = records_of(*random_evaluation(10)[:2])
    assert summarise_images(records, {}, replicates=0)[0] == {}
