"""Answers: counts against scikit-learn, types, answers outside the vocabulary, shards, files, paired differences."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from bundle.metrics.answers_io import load_answers, save_answers
from bundle.metrics.draws import draw_counts
from bundle.metrics.intervals import Share, share_interval
from bundle.metrics.vqa import Answers, VQAMetric
from bundle.metrics.vqa_summary import compare_answers, summarise_answers
from bundle.question_types import TYPES


def drawn(images=20, seed=0, skill=0.6, answers=5):
    """Logits and questions of images: none to five each, two images a patient, some truths outside the vocabulary."""
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    logits, asked = [], []
    for index in range(images):
        n, padding = int(truth.integers(0, 6)), int(truth.integers(0, 3))
        right = truth.integers(-1, answers, n)
        scores = rng.normal(size=(n + padding, answers))
        for row, answer in enumerate(right):
            if answer >= 0 and rng.random() < skill:
                scores[row, answer] = 9
        pad = [-1] * padding
        logits.append(torch.tensor(scores))
        asked.append(
            {
                "index": index,
                "group": index // 2,
                "question_id": torch.tensor([*range(n), *pad]),
                "question_type": torch.tensor([*truth.integers(0, 3, n), *pad]),
                "answer": torch.tensor([*right, *pad]),
            }
        )
    return logits, asked


def answers_of(*args, **options) -> Answers:
    metric = VQAMetric()
    metric(*drawn(*args, **options))
    return metric.records()


def test_accuracy_is_that_of_scikit_learn():
    logits, asked = drawn()
    truth = np.concatenate([each["answer"][each["question_id"] >= 0] for each in asked])
    kind = np.concatenate([each["question_type"][each["question_id"] >= 0] for each in asked])
    given = np.concatenate([z.argmax(1)[each["question_id"] >= 0] for z, each in zip(logits, asked, strict=True)])
    answers = answers_of()
    assert answers.truth.tolist() == truth.tolist()
    assert answers.answer.tolist() == given.tolist()
    metrics, notes = summarise_answers(answers, 50)
    assert metrics["vqa/accuracy"] == pytest.approx(accuracy_score(truth, given))
    metric = VQAMetric()
    metric(logits, asked)
    assert metric.aggregate().item() == metrics["vqa/accuracy"]
    assert metrics["vqa/n_questions"] == len(truth)
    assert metrics["vqa/n_right"] == (truth == given).sum()
    assert metrics["vqa/n_outside"] == (truth < 0).sum() > 0
    for number in range(3):
        mine, name = kind == number, TYPES[number]
        assert metrics[f"vqa/accuracy/{name}"] == pytest.approx(accuracy_score(truth[mine], given[mine]))
        assert metrics[f"vqa/n_questions/{name}"] == mine.sum()
        assert metrics[f"vqa/n_outside/{name}"] == (truth[mine] < 0).sum()
    assert metrics["vqa/accuracy/mean"] == pytest.approx(np.mean([metrics[f"vqa/accuracy/{t}"] for t in TYPES[:3]]))
    assert not any(name in key for key in metrics for name in TYPES[3:])
    assert "10 patients" in notes["bootstrap"]


def test_intervals_draw_patients():
    answers = answers_of()
    metrics, _ = summarise_answers(answers, 40, seed=3)
    units, unit = np.unique(answers.group, return_inverse=True)
    counts = draw_counts(len(units), 40, 3)
    means = [np.repeat(answers.right, counts[unit, r]).mean() for r in range(40)]
    expected = share_interval(answers.right.mean(), np.array(means), Share(len(answers.right), len(units)))
    assert (metrics["vqa/accuracy/low"], metrics["vqa/accuracy/high"]) == pytest.approx(expected)
    assert "vqa/accuracy/low" not in summarise_answers(answers, 0)[0]


def test_answers_outside_the_vocabulary_are_wrong_whatever_is_said():
    metric = VQAMetric()
    asked = {"index": 0, "question_id": torch.tensor([1]), "question_type": torch.tensor([5])}
    metric([torch.tensor([[0.1]])], [asked | {"answer": torch.tensor([-1])}])
    assert metric.aggregate().item() == 0
    assert summarise_answers(metric.records(), 0)[0]["vqa/n_outside/own"] == 1


def test_any_shards_and_repeated_images_give_the_same():
    logits, asked = drawn()
    metric = VQAMetric()
    for i in [*range(1, 20, 2), *range(0, 20, 2), 3, 0]:
        metric([logits[i]], [asked[i]])
    again, alone = metric.records(), answers_of()
    for name in ("image", "group", "question", "type", "truth", "answer"):
        assert getattr(again, name).tolist() == getattr(alone, name).tolist()


def test_no_questions_at_all():
    metric = VQAMetric()
    none = torch.zeros(0, dtype=torch.int64)
    metric([torch.zeros(0, 3)], [{"index": 0, "question_id": none, "question_type": none, "answer": none}])
    assert metric.aggregate().isnan()
    metrics, notes = summarise_answers(metric.records(), 10)
    assert metrics["vqa/accuracy"] is None
    assert notes["vqa/accuracy"] == "no question"


@pytest.mark.parametrize(
    ("logits", "error", "message"),
    [
        (torch.zeros(1, 2, 3), TypeError, "decollate"),
        ([torch.zeros(3, 3)], ValueError, "image 7: "),
        ([torch.tensor([[0, np.nan], [0, 1]])], ValueError, "not finite"),
    ],
)
def test_faults(logits, error, message):
    asked = {name: torch.tensor([0, 1]) for name in ("question_id", "question_type", "answer")}
    with pytest.raises(error, match=message):
        VQAMetric()(logits, [asked | {"index": 7}])


# --- files ------------------------------------------------------------------------------------------------------------


def test_saved_and_read(tmp_path):
    answers = answers_of()
    path = save_answers(answers, tmp_path / "deep" / "answers.csv")
    assert path.read_text().splitlines()[0] == "image,group,question,type,truth,answer"
    again = load_answers(path)
    for name in ("image", "group", "question", "type", "truth", "answer"):
        assert getattr(again, name).tolist() == getattr(answers, name).tolist()
    path.write_text("image,group,question,type,truth,answer\n")
    assert len(load_answers(path).image) == 0
    path.write_text("image,group,question,type,truth,answer\n0,0,0,shape,1,1\n")
    with pytest.raises(ValueError, match="shape"):
        load_answers(path)
    path.write_text("image\n0\n")
    with pytest.raises(ValueError, match="columns"):
        load_answers(path)


# --- differences ------------------------------------------------------------------------------------------------------


def test_the_difference_is_paired():
    ours, blind = answers_of(seed=1, skill=0.9), answers_of(seed=2, skill=0.2)
    metrics, _ = compare_answers(ours, {"blind": blind}, 40, seed=3)
    units, unit = np.unique(ours.group, return_inverse=True)
    counts = draw_counts(len(units), 40, 3)
    drawn_differences = [
        np.repeat(ours.right, counts[unit, r]).mean() - np.repeat(blind.right, counts[unit, r]).mean()
        for r in range(40)
    ]
    key = "vqa/all/blind/difference"
    assert metrics[key] == pytest.approx(ours.right.mean() - blind.right.mean())
    assert (metrics[f"{key}/low"], metrics[f"{key}/high"]) == pytest.approx(
        np.quantile(drawn_differences, [0.025, 0.975])
    )
    assert metrics["vqa/all/ours"] == pytest.approx(summarise_answers(ours, 0)[0]["vqa/accuracy"])
    parts = [metrics[f"vqa/{name}/blind/difference"] for name in TYPES[:3]]
    assert metrics["vqa/mean/blind/difference"] == pytest.approx(np.mean(parts))
    assert metrics["vqa/presence/n_questions"] == (ours.type == 0).sum()


def test_a_network_differs_from_itself_by_nothing():
    ours = answers_of()
    metrics, _ = compare_answers(ours, {"blind": ours}, 20)
    low, value, high = (metrics[f"vqa/all/blind/difference{end}"] for end in ("/low", "", "/high"))
    assert low < value == 0 < high == -low


def test_other_questions_are_refused():
    ours = answers_of()
    fewer = Answers(*(getattr(ours, name)[1:] for name in ("image", "group", "question", "type", "truth", "answer")))
    with pytest.raises(ValueError, match="'blind' answered"):
        compare_answers(ours, {"blind": fewer}, 0)
    truth = ours.truth.copy()
    truth[4] += 1
    other = Answers(ours.image, ours.group, ours.question, ours.type, truth, ours.answer)
    with pytest.raises(ValueError, match=f"truth of question {ours.question[4]} of image {ours.image[4]}"):
        compare_answers(ours, {"blind": other}, 0)
