"""Answers to questions about images, collected across ranks, every image once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bundle.metrics.arrays import as_array
from bundle.metrics.cumulative import CumulativeRows, groups
from bundle.metrics.records import Integers


@dataclass(frozen=True)
class Answers:
    """The N questions of a section, by image and in the order in which they are asked of it.

    Attributes:
        image: (N,) index of the image.
        group: (N,) its patient.
        question: (N,) place among the image's questions, from 0.
        type: (N,) index of `bundle.question_types.TYPES`.
        truth: (N,) the right answer's number; -1 for one outside the vocabulary, which no answer can be.
        answer: (N,) the network's.
    """

    image: Integers
    group: Integers
    question: Integers
    type: Integers
    truth: Integers
    answer: Integers

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the answer is right; never, where the truth lies outside the vocabulary."""
        return (self.answer == self.truth) & (self.truth >= 0)


class VQAMetric(CumulativeRows):
    """Share of the questions that are answered right.

    Gathers across ranks as `bundle.metrics.FROCMetric` does: any shards, every image once. An image without questions
    is normal.

    Example:
        >>> metric = VQAMetric()
        >>> truth = {"index": 0, "question_id": torch.tensor([4, 7]), "question_type": torch.tensor([0, 1])}
        >>> metric([torch.tensor([[2.0, 1.0], [0.0, 1.0]])], [truth | {"answer": torch.tensor([0, 0])}])
        >>> metric.aggregate().item()
        0.5
    """

    def __init__(self) -> None:
        super().__init__(widths=(1, 4), identity=1)

    def __call__(self, y_pred: Sequence[torch.Tensor], y: Sequence[Mapping[str, Any]]) -> None:
        """Keep the answers of a batch of images: the highest logit, the first of several.

        Args:
            y_pred: for each image (Q, A) logits.
            y: for each image a mapping with `index`, `question_id`, `question_type` and `answer`, (Q,) each, -1 in the
                first being padding, and optionally `group`.

        Raises:
            TypeError: where the batch is not decollated.
            ValueError: where shapes do not fit, or the logit of a question is not finite.
        """
        if isinstance(y, Mapping) or isinstance(y_pred, torch.Tensor):
            raise TypeError("y_pred and y must be lists, one entry per image: decollate the batch first")
        for logits, truth in zip(y_pred, y, strict=True):
            index, scores = int(truth["index"]), as_array(logits)
            number, kind, right = (as_array(truth[key]) for key in ("question_id", "question_type", "answer"))
            if scores.ndim != 2 or any(each.shape != scores.shape[:1] for each in (number, kind, right)):
                raise ValueError(f"image {index}: {number.shape} questions but logits of shape {scores.shape}")
            asked = number >= 0
            if not np.isfinite(scores[asked]).all():
                raise ValueError(f"image {index}: an answer's logit is not finite")
            group = truth.get("group")
            answer = scores[asked].argmax(1) if asked.any() else np.zeros(0)
            self.add(
                index,
                [np.nan if group is None else float(group)],
                np.stack([np.arange(len(answer)), kind[asked], right[asked], answer], 1),
            )

    def aggregate(self) -> torch.Tensor:
        """Accuracy over all questions; NaN where there are none.

        Returns:
            Scalar float64, 0..1.
        """
        right = self.records().right
        return torch.tensor(right.mean() if len(right) else np.nan, dtype=torch.float64)

    def records(self) -> Answers:
        """The answers of all ranks (collective)."""
        images, questions = self.rows()
        patient = groups(images[:, 0], images[:, 1])
        place = np.searchsorted(images[:, 0], questions[:, 0])
        columns = questions.astype(np.int64)
        return Answers(
            image=columns[:, 0],
            group=patient[place],
            question=columns[:, 1],
            type=columns[:, 2],
            truth=columns[:, 3],
            answer=columns[:, 4],
        )
