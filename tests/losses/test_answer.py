"""AnswerLoss by hand, against a loop over questions, and with nothing to answer."""

import math

import pytest
import torch

from bundle.losses import AnswerLoss


def drawn(seed, b=4, q=5, a=6):
    g = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(b, q, a, generator=g, dtype=torch.float64)).requires_grad_()
    answer = torch.randint(0, a, (b, q), generator=g)
    answer[torch.rand(b, q, generator=g) < 0.4] = -1
    answer[0] = -1  # an image without questions
    return {"answer_logits": logits}, {"answer": answer}


def slow_loss(output, target):
    """-log softmax at the answer, one question at a time."""
    values = []
    for logits, answers in zip(output["answer_logits"], target["answer"].tolist(), strict=True):
        for row, answer in zip(logits, answers, strict=True):
            if answer >= 0:
                values.append(-(row[answer].exp() / row.exp().sum()).log())
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_loop(seed):
    output, target = drawn(seed)
    terms = AnswerLoss()(output, target)
    assert list(terms) == ["answer", "loss"]
    # the loss computes in float32
    torch.testing.assert_close(terms["loss"].double(), slow_loss(output, target), rtol=0, atol=1e-5)
    fast, slow = (
        torch.autograd.grad(loss, output["answer_logits"])[0] for loss in (terms["loss"], slow_loss(output, target))
    )
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)


def test_by_hand_every_question_counts_the_same():
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)]], [[0.0, math.log(3)], [9.0, 9.0]]])
    loss = AnswerLoss()({"answer_logits": logits}, {"answer": torch.tensor([[0, 0], [1, -1]])})["loss"]
    assert loss.item() == pytest.approx((math.log(2) + math.log(4) + math.log(4 / 3)) / 3)


@pytest.mark.parametrize("questions", [0, 5])
def test_without_questions_it_is_a_zero_on_the_graph(questions):
    output, target = drawn(0)
    logits = output["answer_logits"]
    target["answer"].fill_(-1)
    loss = AnswerLoss()({"answer_logits": logits[:, :questions]}, {"answer": target["answer"][:, :questions]})["loss"]
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_padding_changes_nothing():
    output, target = drawn(1)
    before = AnswerLoss()(output, target)["loss"].item()
    padding = target["answer"] < 0
    changed = output["answer_logits"].detach().masked_fill(padding[..., None], 1e3)
    assert AnswerLoss()({"answer_logits": changed}, target)["loss"].item() == before
