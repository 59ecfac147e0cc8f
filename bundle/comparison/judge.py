"""Candidates and image scores of a section as the records that figures are made of."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple

import torch

from bundle.comparison.observe import Truth
from bundle.metrics.auroc_metric import AUROCMetric
from bundle.metrics.froc_metric import FROCMetric
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import Records


def judge(
    candidates: Sequence[torch.Tensor],
    scores: Iterable[torch.Tensor],
    truths: Sequence[Truth],
    findings: Sequence[str],
    criterion: HitCriterion,
) -> Records:
    """The records that `run evaluating` would leave.

    Args:
        candidates: of each of the I images an (M, 8) table, columns of `bundle.metrics.candidates.COLUMNS`.
        scores: of each image (K,) image scores.
        truths: of the images.
        findings: K names.
        criterion: when a candidate hits.

    Returns:
        Records, with the image scores as score `image`.
    """
    froc = FROCMetric(findings, *astuple(criterion))
    froc(candidates, truths)
    auroc = AUROCMetric(findings)
    auroc([{"image": row} for row in scores], truths)
    return froc.records().with_scores(auroc.records())
