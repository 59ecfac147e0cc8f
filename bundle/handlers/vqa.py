"""Ignite glue: accuracy of answers as a metric of a MONAI evaluator, and what an evaluation of them leaves behind."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ignite import distributed as idist
from ignite.engine import Events

from bundle.atomic import write_json
from bundle.handlers.froc import RecordsHandler
from bundle.metrics.answers_io import save_answers
from bundle.metrics.vqa import VQAMetric
from bundle.metrics.vqa_summary import summarise_answers
from bundle.question_types import TYPES

logger = logging.getLogger(__name__)


class VQA(RecordsHandler):
    """Accuracy over all questions, of a MONAI evaluator.

    Args:
        output_transform: from `engine.state.output` to the pair (list of logits, list of questions).
        save_details: whether to put the accuracy of each type of question into `engine.state.metric_details`.
    """

    def __init__(self, output_transform: Callable[[Any], Any] = lambda x: x, save_details: bool = True) -> None:
        super().__init__(metric_fn=VQAMetric(), output_transform=output_transform, save_details=save_details)

    def details(self) -> dict[str, float]:
        """Accuracy by type of question."""
        answers = self.metric_fn.records()
        types = np.unique(answers.type).tolist()
        return {TYPES[number]: float(answers.right[answers.type == number].mean()) for number in types}


class AnswerReport:
    """Writes `answers.csv`, `metrics.json` and `notes.json` into `output_dir`, on rank 0, when an evaluator completes.

    Attach it on every rank.

    Args:
        output_dir: made if missing.
        vqa: the metric handler that holds the answers.
        replicates: R of the bootstrap over patients; 0 for no intervals.
        seed: of the bootstrap.
    """

    def __init__(self, output_dir: str | Path, vqa: VQA, replicates: int = 1000, seed: int = 0) -> None:
        self.output_dir, self.vqa, self.replicates, self.seed = Path(output_dir), vqa, replicates, seed

    def attach(self, engine: Any) -> None:
        """Register with the evaluator."""
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, _: Any) -> None:
        answers = self.vqa.metric_fn.records()  # collective, hence before ranks part
        if idist.get_rank() != 0:
            return
        metrics, notes = summarise_answers(answers, self.replicates, self.seed)
        save_answers(answers, self.output_dir / "answers.csv")
        write_json(self.output_dir / "notes.json", notes)
        write_json(self.output_dir / "metrics.json", metrics)
        logger.info("Answers: %s", self.output_dir / "metrics.json")
