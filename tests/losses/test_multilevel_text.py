"""ReportContrastiveLoss of reports and summaries against a loop: which texts count, and at its limits."""

import pytest
import torch

from bundle.losses import ReportContrastiveLoss
from tests.losses.regions import drawn, same_gradients


def slow_info_nce(image, text, scale, ids):
    """One image, one text at a time: -log of the own pair's share among the pairs that count, both ways."""
    rows = [i for i in range(len(ids)) if ids[i] >= 0]
    total = image.sum() * 0
    for i in rows:
        others = [j for j in rows if j == i or ids[j] != ids[i]]
        own = (scale * (image[i] @ text[i])).exp()
        total = total - (own / sum((scale * (image[i] @ text[j])).exp() for j in others)).log()
        total = total - (own / sum((scale * (image[j] @ text[i])).exp() for j in others)).log()
    return total / (2 * max(1, len(rows)))


@pytest.mark.parametrize(
    "reports", [[0, 1, 2, 3], [0, 1, 0, 3], [2, -1, 2, -1], [5, 5, 5, 5], [-1, 3, -1, -1], [-1, -1, -1, -1]], ids=str
)
def test_equals_the_slow_loop(reports):
    output, _ = drawn(seed=1)
    target = {"report_id": torch.tensor(reports), "summary_id": torch.tensor([0, 1, -1, 0])}
    terms = ReportContrastiveLoss()(output, target)
    image, scale = output["global_embedding"], output["logit_scale"]
    report = slow_info_nce(image, output["text_embedding"], scale, reports)
    summary = slow_info_nce(image, output["summary_embedding"], scale, [0, 1, -1, 0])
    names = ["global_embedding", "text_embedding", "summary_embedding", "logit_scale"]
    same_gradients(terms["report"], report, output, names)
    same_gradients(terms["summary"], summary, output, names)
    same_gradients(terms["loss"], (report + summary) / 2, output, names)


def test_without_ids_all_texts_differ_and_without_summaries_there_is_no_term():
    output, _ = drawn(seed=2)
    del output["summary_embedding"]
    terms = ReportContrastiveLoss()(output, {})
    assert list(terms) == ["report", "loss"]
    slow = slow_info_nce(output["global_embedding"], output["text_embedding"], output["logit_scale"], [0, 1, 2, 3])
    same_gradients(terms["loss"], slow, output, ["global_embedding", "text_embedding", "logit_scale"])


@pytest.mark.parametrize("reports", [[7, 7, 7, 7], [-1, -1, 4, -1], [-1, -1, -1, -1]], ids=str)
def test_one_text_or_none_gives_a_zero_on_the_graph(reports):
    output, _ = drawn(seed=3)
    del output["summary_embedding"]
    loss = ReportContrastiveLoss()(output, {"report_id": torch.tensor(reports)})["loss"]
    loss.backward()
    assert loss.item() == 0
    for name in ("global_embedding", "text_embedding", "logit_scale"):
        assert output[name].grad.abs().max() == 0, name
