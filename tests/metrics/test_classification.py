"""AUROC of image scores: unknown labels, missing classes, several scores."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bundle.metrics import AUROCMetric
from bundle.metrics.classification import auroc
from bundle.metrics.labelled import lacking_class
from tests.metrics.drawn import NAN, random_evaluation, truth


class TestArea:
    def test_by_hand(self):
        assert auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0, 1, 1])) == [0.75]

    def test_ties_are_a_half(self):
        assert auroc(np.array([0.5, 0.5, 0.5]), np.array([0.0, 1, 1])) == [0.5]

    def test_unknown_labels_are_left_out(self):
        assert auroc(np.array([0.1, 0.9, NAN]), np.array([0.0, 1, NAN])) == [1.0]

    @pytest.mark.parametrize("seed", range(5))
    def test_is_the_share_of_pairs_in_the_right_order(self, seed):
        rng = np.random.default_rng(seed)
        label = rng.choice([0.0, 0.0, 1.0, NAN], 60)
        scores = np.round(rng.random(60) + 0.3 * (label == 1), 1)
        pairs = [(p, n) for p in scores[label == 1] for n in scores[label == 0]]
        share = np.mean([(p > n) + (p == n) / 2 for p, n in pairs])
        known = ~np.isnan(label)
        assert auroc(scores, label)[0] == pytest.approx(share, abs=1e-14)
        assert auroc(scores, label)[0] == pytest.approx(roc_auc_score(label[known], scores[known]), abs=1e-14)

    @pytest.mark.parametrize(("label", "reason"), [([0, 0], "no positive images"), ([1, NAN], "no negative images")])
    def test_one_class(self, label, reason):
        known = np.array(label, float)
        assert np.isnan(auroc(np.array([0.1, 0.2]), known)).all()
        assert lacking_class(known[~np.isnan(known)] == 1) == reason

    def test_nan_scores_are_refused(self):
        with pytest.raises(ValueError, match="finite score"):
            auroc(np.array([0.1, NAN]), np.array([0.0, 1]))


class TestMetric:
    def test_macro_mean_of_the_first_score_over_defined_findings(self):
        metric = AUROCMetric(["A", "B", "C"], scores=["image", "pooled"])
        labels = [[0, 1, 1], [1, 0, 1], [1, 1, NAN]]
        image = [[0.2, 0.2, 0.5], [0.1, 0.4, 0.5], [0.9, 0.6, 0.5]]
        metric(
            [{"image": torch.tensor(row), "pooled": 1 - torch.tensor(row)} for row in image],
            [truth(i, label) for i, label in enumerate(labels)],
        )
        assert metric.aggregate().item() == 0.5  # A: .5, B: .5, C has no negative
        assert metric.details() == {"image/A": 0.5, "image/B": 0.5, "pooled/A": 0.5, "pooled/B": 0.5}

    def test_agrees_with_scikit_learn_and_survives_repeats(self):
        _, truths, scores = random_evaluation(50)
        metric = AUROCMetric(["A", "B", "C"], scores=["image", "pooled"])
        for i in range(0, 50, 8):
            metric(scores[i : i + 8], truths[i : i + 8])
        metric(scores[:3], truths[:3])
        areas = []
        for k in range(3):
            label = np.array([image["label"][k].item() for image in truths])
            known = ~np.isnan(label)
            value = np.array([score["image"][k].item() for score in scores])
            areas.append(roc_auc_score(label[known], value[known]))
        assert metric.aggregate().item() == pytest.approx(np.mean(areas), abs=1e-15)

    def test_a_bare_tensor_is_the_one_score(self):
        metric = AUROCMetric(["A"])
        metric([torch.tensor([0.2]), torch.tensor([0.7])], [truth(0, [0]), truth(1, [1])])
        assert metric.aggregate().item() == 1.0

    def test_undefined(self):
        assert np.isnan(AUROCMetric(["A"]).aggregate().item())

    @pytest.mark.parametrize(
        ("scores", "image", "message"),
        [
            ({"pooled": torch.ones(1)}, truth(0, [1]), "missing"),
            ({"image": torch.ones(2)}, truth(0, [1]), "must have 1 entries"),
            ({"image": torch.tensor([NAN])}, truth(0, [1]), "not finite"),
        ],
    )
    def test_faults_are_named(self, scores, image, message):
        with pytest.raises(ValueError, match=message):
            AUROCMetric(["A"])([scores], [image])

    def test_an_unlabelled_finding_needs_no_score(self):
        AUROCMetric(["A"])([{"image": torch.tensor([NAN])}], [truth(0, [NAN])])

    @pytest.mark.parametrize("names", [[], ["image", "image"], ["A"], ["mean"]])
    def test_names(self, names):
        with pytest.raises(ValueError, match="score"):
            AUROCMetric(["A"], names)

    def test_collated_batches_are_refused(self):
        with pytest.raises(TypeError, match="decollate"):
            AUROCMetric(["A"])({"image": torch.ones(1, 1)}, [truth(0, [0])])
