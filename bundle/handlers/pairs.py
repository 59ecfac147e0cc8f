"""From an evaluator's output (a list of dicts, decollated and post-processed) to what a metric takes."""

from collections.abc import Sequence
from typing import Any

import torch

Output = Sequence[dict[str, Any]]


def froc_pair(output: Output) -> tuple[list[torch.Tensor], Output]:
    """-> candidates of each image, and the truth."""
    return [image["candidates"] for image in output], output


def auroc_pair(output: Output) -> tuple[list[dict[str, torch.Tensor]], Output]:
    """-> scores of each image, and the truth.

    A sparse score is absent (NaN) where no patch was above the threshold; among the others it ranks lowest, as 0.
    """
    return [{name: torch.nan_to_num(s, nan=0.0) for name, s in image["scores"].items()} for image in output], output
