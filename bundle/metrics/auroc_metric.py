"""AUROC of whole-image scores, collected across ranks, every image once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bundle.metrics.arrays import as_array
from bundle.metrics.classification import auroc
from bundle.metrics.cumulative import CumulativeRows, groups
from bundle.metrics.records import COUNTED, UNKNOWN, ImageRecords


class AUROCMetric(CumulativeRows):
    """Macro mean AUROC over findings, for several named image scores at once.

    Gathers across ranks as `bundle.metrics.FROCMetric` does: any shards, every image once.

    Args:
        findings: names of the K findings, in the order of the scores.
        scores: names of the image scores. The first is the one that `aggregate` returns.

    Raises:
        ValueError: where score names are missing, repeated, or would collide with a finding's results.

    Example:
        >>> metric = AUROCMetric(findings=["Nodule"])
        >>> truth = [{"index": i, "label": torch.tensor([float(i)])} for i in range(2)]
        >>> metric([{"image": torch.tensor([0.2])}, {"image": torch.tensor([0.7])}], truth)
        >>> metric.aggregate().item()
        1.0
    """

    def __init__(self, findings: Sequence[str], scores: Sequence[str] = ("image",)) -> None:
        self.findings = tuple(findings)
        self.scores = tuple(scores)
        if not self.scores or len(set(self.scores)) != len(self.scores):
            raise ValueError(f"score names must be given and differ, got {self.scores}")
        if clash := set(self.scores) & {*self.findings, "mean"}:
            raise ValueError(
                f"{sorted(clash)} name both a score and a finding (or 'mean'): their results would collide"
            )
        k = len(self.findings)
        super().__init__(widths=(1 + k + k * len(self.scores),), identity=1 + k)

    def __call__(self, y_pred: Sequence[Mapping[str, Any] | torch.Tensor], y: Sequence[Mapping[str, Any]]) -> None:
        """Keep the scores of a batch of images.

        Args:
            y_pred: for each image a mapping from score name to (K,) scores, or the (K,) scores alone where there is
                one name.
            y: for each image a mapping with `index`, `label` (K,) and optionally `group`, as `FROCMetric` takes it.

        Raises:
            TypeError: where the batch is not decollated.
            ValueError: where a score is missing, of the wrong shape or, on a labelled image, not finite.
        """
        if isinstance(y, Mapping) or isinstance(y_pred, torch.Tensor | Mapping):
            raise TypeError("y_pred and y must be lists, one entry per image: decollate the batch first")
        k = len(self.findings)
        for scores, truth in zip(y_pred, y, strict=True):
            index = int(truth["index"])
            named = scores if isinstance(scores, Mapping) else {self.scores[0]: scores}
            if missing := set(self.scores) - named.keys():
                raise ValueError(f"image {index}: the scores {sorted(missing)} are missing")
            label = as_array(truth["label"]).reshape(-1)
            rows = [as_array(named[name]).reshape(-1) for name in self.scores]
            if any(row.shape != (k,) for row in (label, *rows)):
                raise ValueError(f"image {index}: label and scores must have {k} entries")
            for name, row in zip(self.scores, rows, strict=True):
                if not np.isfinite(row[~np.isnan(label)]).all():
                    raise ValueError(f"image {index}: score {name!r} of a labelled finding is not finite")
            group = truth.get("group")
            self.add(index, np.concatenate([[np.nan if group is None else float(group)], label, *rows]))

    def aggregate(self) -> torch.Tensor:
        """Macro mean AUROC of the first score over the findings that have both classes; NaN where none has.

        Returns:
            Scalar float64, 0..1.
        """
        images = self.records()
        values = [auroc(images.scores[self.scores[0]][:, k], images.label[:, k])[0] for k in range(len(self.findings))]
        defined = [value for value in values if not np.isnan(value)]
        return torch.tensor(np.mean(defined) if defined else np.nan, dtype=torch.float64)

    def details(self) -> dict[str, float]:
        """`<score>/<finding>` for every area that is defined."""
        images = self.records()
        figures = {
            f"{name}/{finding}": auroc(scores[:, k], images.label[:, k])[0]
            for name, scores in images.scores.items()
            for k, finding in enumerate(self.findings)
        }
        return {key: value for key, value in figures.items() if not np.isnan(value)}

    def records(self) -> ImageRecords:
        """The scores of all ranks (collective).

        Returns:
            Image records whose status is what labels alone can say: counted where 0, else unknown. No grid is known.
        """
        (table,) = self.rows()
        k = len(self.findings)
        label = table[:, 2 : 2 + k]
        return ImageRecords(
            index=table[:, 0].astype(np.int64),
            group=groups(table[:, 0], table[:, 1]),
            label=label,
            status=np.where(label == 0, COUNTED, UNKNOWN),
            patch_area=np.full(len(table), np.nan),
            pixel_mm=np.full((len(table), 2), np.nan),
            scores={name: table[:, 2 + k * (i + 1) : 2 + k * (i + 2)] for i, name in enumerate(self.scores)},
        )
