"""InfoNCE by hand, and that it is symmetric."""

import math

import torch
import torch.nn.functional as F

from bundle.losses import ReportContrastiveLoss


def test_two_pairs_by_hand():
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # both texts look like the first image
    loss = ReportContrastiveLoss()(
        {"global_embedding": image, "text_embedding": text, "logit_scale": torch.tensor(2.0)}, {}
    )
    to_text = (math.log(2) + math.log(2)) / 2  # each image sees two equal texts
    to_image = (math.log1p(math.exp(-2)) + math.log1p(math.exp(2))) / 2
    assert abs(float(loss["loss"]) - (to_text + to_image) / 2) < 1e-6


def test_symmetric_and_best_for_matching_pairs():
    g = torch.Generator().manual_seed(0)
    image, text = (F.normalize(torch.randn(6, 8, generator=g), dim=-1) for _ in range(2))
    scale = torch.tensor(10.0)

    def loss(a, b):
        return float(
            ReportContrastiveLoss()({"global_embedding": a, "text_embedding": b, "logit_scale": scale}, {})["loss"]
        )

    assert abs(loss(image, text) - loss(text, image)) < 1e-6
    assert loss(image, image) < loss(image, image.roll(1, 0))


def test_equal_reports_are_no_negatives_of_one_another():
    image = torch.eye(4)[[0, 0, 0, 0]]
    output = {"global_embedding": image, "text_embedding": image, "logit_scale": torch.tensor(10.0)}
    tokens = torch.tensor([[7, 8, 0], [7, 8, 0], [7, 8, 0], [7, 8, 0]])
    assert abs(float(ReportContrastiveLoss()(output, {})["loss"]) - math.log(4)) < 1e-6
    assert float(ReportContrastiveLoss()(output, {"input_ids": tokens})["loss"]) == 0
    g = torch.Generator().manual_seed(0)
    image, text = (F.normalize(torch.randn(5, 8, generator=g), dim=-1) for _ in range(2))
    output = {"global_embedding": image, "text_embedding": text, "logit_scale": torch.tensor(10.0)}
    tokens = torch.tensor([[7, 8, 0], [5, 5, 5], [7, 8, 0], [5, 5, 6], [7, 9, 0]])
    by_tokens = ReportContrastiveLoss()(output, {"input_ids": tokens})["loss"]
    by_name = ReportContrastiveLoss()(output, {"report_id": torch.tensor([4, 0, 4, 1, 2])})["loss"]
    assert torch.equal(by_tokens, by_name)
    assert not torch.isclose(by_tokens, ReportContrastiveLoss()(output, {})["loss"])
