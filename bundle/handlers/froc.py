"""Ignite glue: FROC and AUROC as metrics of a MONAI evaluator, by configuration."""

from collections.abc import Callable, Sequence
from typing import Any

from monai.handlers.ignite_metric import IgniteMetricHandler

from bundle.metrics.auroc_metric import AUROCMetric
from bundle.metrics.froc import FP_RATES
from bundle.metrics.froc_metric import FROCMetric
from bundle.metrics.matching import BEST_HIT


class RecordsHandler(IgniteMetricHandler):
    """Leaves the metric's parts in `engine.state.metric_details[name]`, not its raw buffers."""

    def compute(self) -> Any:
        value = self.metric_fn.aggregate().item()
        self._is_reduced = True
        if self.save_details:
            if self._engine is None or self._name is None:
                raise RuntimeError("attach the handler to an engine first")
            self._engine.state.metric_details[self._name] = self.details()
        return value

    def details(self) -> dict[str, float]:
        """The parts, such as figures per finding."""
        raise NotImplementedError


class FROC(RecordsHandler):
    """Macro mean FROC score of a MONAI evaluator: attach as `key_val_metric` or among `additional_metrics`.

    Args:
        findings: as `bundle.metrics.FROCMetric` takes it, like all that follow but the last two.
        criterion: hit criterion.
        threshold: of the criterion.
        box_fraction: of criterion `patch`.
        assignment: whether a candidate may find several lesions.
        fp_rates: false positives per image to average over.
        output_transform: from `engine.state.output` to the pair (list of candidates, list of ground truths).
        save_details: whether to put the score of each finding into `engine.state.metric_details`.
    """

    def __init__(
        self,
        findings: Sequence[str],
        criterion: str = "centre",
        threshold: float | None = None,
        box_fraction: float | None = None,
        assignment: str = BEST_HIT,
        fp_rates: Sequence[float] = FP_RATES,
        output_transform: Callable[[Any], Any] = lambda x: x,
        save_details: bool = True,
    ) -> None:
        metric = FROCMetric(findings, criterion, threshold, box_fraction, assignment, fp_rates)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=save_details)

    def details(self) -> dict[str, float]:
        """Mean sensitivity, and that at each rate, of every finding that has lesions."""
        metric: FROCMetric = self.metric_fn
        return metric.details()


class AUROC(RecordsHandler):
    """Macro mean AUROC of a MONAI evaluator.

    Args:
        findings: as `bundle.metrics.AUROCMetric` takes it, like the next.
        scores: names of the image scores; the first gives the value.
        output_transform: from `engine.state.output` to the pair (list of scores, list of ground truths).
        save_details: whether to put every score's area per finding into `engine.state.metric_details`.
    """

    def __init__(
        self,
        findings: Sequence[str],
        scores: Sequence[str] = ("image",),
        output_transform: Callable[[Any], Any] = lambda x: x,
        save_details: bool = True,
    ) -> None:
        metric = AUROCMetric(findings, scores)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=save_details)

    def details(self) -> dict[str, float]:
        """The area of every score and finding for which it is defined."""
        metric: AUROCMetric = self.metric_fn
        return metric.details()
