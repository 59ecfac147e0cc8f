"""Prompt pairs: who prefers what, drawn by hand, and areas against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bundle.metrics.negation import PROMPT_SCORES, negation_accuracy, prompt_auroc, prompt_scores
from bundle.networks.heads import finding_probability
from bundle.prompt_pair import FINDING, NEGATIVE

NAN = float("nan")


def pairs(*rows: list) -> np.ndarray:
    """Images of findings of ("no x", "x")."""
    logits = np.full((len(rows), len(rows[0]), 2), NAN)
    for i, row in enumerate(rows):
        for k, (no, yes) in enumerate(row):
            logits[i, k, NEGATIVE], logits[i, k, FINDING] = no, yes
    return logits


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.choice([0.0, 1.0, NAN], (80, 3))
    logits = np.round(rng.normal(size=(80, 3, 2)), 1)
    logits[..., FINDING] += np.nan_to_num(label)
    logits[np.isnan(label)] = NAN
    return logits, label


class TestAccuracy:
    def test_by_hand(self):
        logits = pairs([(3, 1)], [(1, 3)], [(2, 2)], [(0, 1)], [(1, 0)], [(NAN, NAN)])
        result = negation_accuracy(logits, [[0], [0], [0], [1], [1], [NAN]])
        assert result["on_negatives"][:, 0].tolist() == [0.5]  # right, wrong, undecided
        assert result["on_positives"][:, 0].tolist() == [0.5]
        assert result["balanced"][:, 0].tolist() == [0.5]
        better = negation_accuracy(logits[[0, 2, 3]], [[0], [0], [1]])
        assert (better["on_negatives"][0], better["on_positives"][0], better["balanced"][0]) == (0.75, 1, 0.875)

    def test_one_answer_for_all_is_half(self):
        logits = np.zeros((6, 2, 2))
        logits[..., FINDING] = 0.7
        result = negation_accuracy(logits, [[0, 1], [1, 0]] * 3)
        assert result["on_positives"][:, 0].tolist() == [1, 1]
        assert result["on_negatives"][:, 0].tolist() == [0, 0]
        assert result["balanced"][:, 0].tolist() == [0.5, 0.5]

    def test_in_loops(self):
        logits, label = random_case(0)
        result = negation_accuracy(logits, label)
        for k in range(3):
            for value, figures in ((0, result["on_negatives"]), (1, result["on_positives"])):
                mine, other = (FINDING, NEGATIVE) if value else (NEGATIVE, FINDING)
                credit = [
                    1 if pair[mine] > pair[other] else 0.5 if pair[mine] == pair[other] else 0
                    for pair, y in zip(logits[:, k], label[:, k], strict=True)
                    if y == value
                ]
                assert figures[k] == pytest.approx(np.mean(credit), abs=1e-15)

    def test_missing_classes(self):
        result = negation_accuracy(np.zeros((2, 3, 2)), [[0, 1, NAN], [0, 1, NAN]])
        assert np.isnan(result["on_positives"][:, 0]).tolist() == [True, False, True]
        assert np.isnan(result["on_negatives"][:, 0]).tolist() == [False, True, True]
        assert np.isnan(result["balanced"]).all()
        assert result["on_negatives"][0] == 0.5


class TestAreas:
    @pytest.mark.parametrize("seed", range(3))
    def test_are_scikit_learns(self, seed):
        logits, label = random_case(seed)
        result = prompt_auroc(logits, label)
        for k in range(3):
            known = ~np.isnan(label[:, k])
            yes, no, y = logits[known, k, FINDING], logits[known, k, NEGATIVE], label[known, k]
            assert result["positive_only"][k] == pytest.approx(roc_auc_score(y, yes))
            assert result["pair"][k] == pytest.approx(roc_auc_score(y, yes - no))
            assert result["negated"][k] == pytest.approx(roc_auc_score(y == 0, no))

    def test_a_prompt_that_ignores_its_no(self):
        """Both prompts look for the finding: the negated one ranks the wrong way round."""
        signal = np.array([0.1, 0.2, 0.8, 0.9])
        logits = np.stack([signal, signal], -1)[:, None]
        result = prompt_auroc(logits, [[0], [0], [1], [1]])
        assert (result["positive_only"][0], result["pair"][0], result["negated"][0]) == (1, 0.5, 0)

    def test_the_pair_ranks_as_the_softmax(self):
        logits = np.random.default_rng(4).normal(size=(80, 3, 2))
        margin = prompt_scores(logits)["pair"]
        softmax = finding_probability(torch.from_numpy(logits)).numpy()
        assert (np.argsort(margin, 0) == np.argsort(softmax, 0)).all()
        assert tuple(prompt_scores(logits)) == PROMPT_SCORES

    def test_one_class(self):
        result = prompt_auroc(np.zeros((2, 1, 2)), [[1], [1]])
        assert np.isnan([result["positive_only"][0], result["pair"][0], result["negated"][0]]).all()


@pytest.mark.parametrize("figure", [negation_accuracy, prompt_auroc])
@pytest.mark.parametrize(
    ("logits", "label", "message"),
    [
        (np.zeros((2, 2)), [[0], [1]], r"\(I, K, 2\)"),
        (np.zeros((2, 1, 3)), [[0], [1]], r"\(I, K, 2\)"),
        (np.zeros((2, 1, 2)), [0, 1], "must both be"),
        (np.zeros((2, 1, 2)), [[0], [3]], "label at row 1, finding 0 is 3"),
        (pairs([(0, 1)], [(0, NAN)]), [[0], [1]], "row 1, finding 0"),
        (pairs([(0, 1)], [(np.inf, 1)]), [[0], [1]], "row 1, finding 0"),
    ],
)
def test_faults(figure, logits, label, message):
    with pytest.raises(ValueError, match=message):
        figure(logits, label)
