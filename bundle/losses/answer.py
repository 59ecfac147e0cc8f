"""The cross-entropy of answers to questions about images."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from bundle.losses.gather import gather_rows


class AnswerLoss(nn.Module):
    """Each question's right answer, among all that training knows.

    L = mean over all questions of the batch, of all ranks together, of -log softmax(logits)[answer]

    so that every question counts the same, as in the accuracy, and an image by how many it has. A question whose answer
    is unknown (padding, or outside the vocabulary) takes no part. Without any the loss is a zero on the graph.
    """

    def forward(
        self, output: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Compare answers.

        Args:
            output: `answer_logits` (B, Q, A).
            target: `answer` (B, Q) int64, 0..A-1, or -1.

        Returns:
            The term `answer`, which is the `loss`.
        """
        answer = target["answer"]
        counted = answer >= 0
        values = F.cross_entropy(output["answer_logits"][counted].float(), answer[counted], reduction="none")  # (n,)
        # the mean over all ranks, which have different numbers of questions, is not the mean of their means
        (values,) = gather_rows(values)  # (N,)
        loss = values.sum() / max(1, len(values))
        return {"answer": loss, "loss": loss}
