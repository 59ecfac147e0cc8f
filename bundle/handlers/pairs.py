"""From an evaluator's post-processed output to what a metric takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

Output = Sequence[Mapping[str, Any]] | Mapping[str, Any]
Images = list[dict[str, Any]]


def images_of(output: Output) -> Images:
    """One dict an image, of a decollated output (a list of them) or of a whole batch (a dict of tensors and lists).

    Raises:
        ValueError: entries of a batch that are not of one length.
    """
    if not isinstance(output, Mapping):
        return [dict(image) for image in output]
    columns = {key: _rows(values) for key, values in output.items()}
    if len(sizes := {len(rows) for rows in columns.values()}) > 1:
        raise ValueError(f"the batch's entries are of different lengths: { {k: len(r) for k, r in columns.items()} }")
    return [{key: rows[i] for key, rows in columns.items()} for i in range(max(sizes, default=0))]


def froc_pair(output: Output) -> tuple[list[torch.Tensor], Images]:
    """-> candidates of each image, and the truth."""
    images = images_of(output)
    return [image["candidates"] for image in images], images


def auroc_pair(output: Output) -> tuple[list[dict[str, torch.Tensor]], Images]:
    """-> scores of each image, and the truth.

    A sparse score is absent (NaN) where no patch was above the threshold; among the others it ranks lowest, as 0.
    """
    images = images_of(output)
    return [{name: torch.nan_to_num(s, nan=0.0) for name, s in image["scores"].items()} for image in images], images


def vqa_pair(output: Output) -> tuple[list[torch.Tensor], Images]:
    """-> answers' logits of each image, and its questions."""
    images = images_of(output)
    return [image["answer_logits"] for image in images], images


def _rows(values: Any) -> Sequence[Any]:
    """The images' parts of a batch's entry: of a tensor its rows, of a mapping a mapping each."""
    if isinstance(values, torch.Tensor):
        return values.as_subclass(torch.Tensor).unbind(0)
    return images_of(values) if isinstance(values, Mapping) else values
