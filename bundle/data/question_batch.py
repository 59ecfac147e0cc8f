"""Questions for a network that answers them: their texts by number, and batches of images with any number of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bundle.data.loading import collate_radiographs
from bundle.data.texts import TextData

QUESTION_ROWS = ("question_id", "question_type", "answer")
"""What an image has for each question; -1 pads it."""


def question_texts(data: TextData) -> dict[int, str]:
    """The questions of all sections, number -> text, ascending."""
    numbers = {int(number) for items in data.items.values() for item in items for number in item["question_id"]}
    return {number: data.texts[number] for number in sorted(numbers)}


def collate_questions(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`collate_radiographs`, with the questions padded to the batch's largest number of them.

    Args:
        samples: dicts. Of `QUESTION_ROWS`, (Q,) int64 each, what is there is padded with -1.

    Returns:
        A dict of tensors whose first axis is the batch.
    """
    most = max((len(sample[key]) for sample in samples for key in QUESTION_ROWS if key in sample), default=0)
    return collate_radiographs([{**sample, **_padded(sample, most)} for sample in samples])


def _padded(sample: Mapping[str, Any], length: int) -> dict[str, torch.Tensor]:
    rows = {key: torch.as_tensor(sample[key]) for key in QUESTION_ROWS if key in sample}
    return {key: torch.cat([row, row.new_full((length - len(row),), -1)]) for key, row in rows.items()}
