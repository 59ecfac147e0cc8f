"""Label efficiency: the same training with fewer and fewer boxes, over several seeds, one cell at a time."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.bundle import ConfigWorkflow
from monai.data import CacheDataset

from bundle.atomic import write_json
from bundle.experiments.seeds import record_replicates, seeds_interval
from bundle.experiments.unseeing_rows import UnseeingRows
from bundle.experiments.workflow import cell_settings, check_overrides, keep_settings, prepared_workflow, reseed
from bundle.metrics.records_io import load_records
from bundle.transforms import KeepBoxesd

logger = logging.getLogger(__name__)

SET_HERE = (
    *("seed", "boxed_share", "ckpt_dir", "ckpt_path", "output_dir"),
    *("val_interval", "replicates", "gallery"),
)
FIGURES = ("froc/mean/sens_at_1fp", "auroc/mean")


class Cell(NamedTuple):
    """One training.

    Attributes:
        share: of the images that keep their boxes.
        seed: of the choice of boxes, the initial weights and the order of images.
    """

    share: float
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"share_{self.share:g}_seed_{self.seed}"


class LabelEfficiency:
    """Trains and judges every cell that is not done yet, then sums up.

    All cells see the same images, labels and reports, and train the same number of epochs; the boxes of a smaller
    share are among those of a larger one with the same seed (`KeepBoxesd`). Every cell is judged on the test section
    with its last weights; nothing is chosen on validation, so nothing favours a share. A cell is done when its
    `metrics.json` is there; an interrupted one goes on after its last whole epoch. One that was begun with other
    settings or data (`settings.json`) is refused.

    Images are decoded once and stay in memory for all cells.

    Args:
        config_files: train.json and overlays.
        evaluate_files: overlays that make it an evaluation, evaluate.json first.
        output: folder of the cells.
        shares: of the boxes.
        seeds: of the cells.
        overrides: of both configurations, by id.

    Raises:
        ValueError: an override that no config names or that is set here.
    """

    def __init__(
        self,
        config_files: Sequence[str | Path],
        evaluate_files: Sequence[str | Path],
        output: str | Path,
        shares: Sequence[float],
        seeds: Sequence[int],
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.config_files = [str(file) for file in config_files]
        self.evaluate_files = [*self.config_files, *(str(file) for file in evaluate_files)]
        self.output, self.overrides = Path(output), dict(overrides or {})
        self.cells = [Cell(share, seed) for seed in seeds for share in shares]  # whole curves first
        check_overrides(self.evaluate_files, self.overrides, SET_HERE)
        self._training: CacheDataset | None = None
        self._test: CacheDataset | None = None

    def run(self) -> dict[str, Any]:
        """All cells, then `label_efficiency.json`, whose content is returned: `summarise_cells`.

        Raises:
            ValueError: a cell that is there was begun with other settings or data.
        """
        settings = cell_settings(self.evaluate_files, self.overrides)
        for cell in self.cells:
            keep_settings(self.output / cell.name, settings)
        for number, cell in enumerate(self.cells, 1):
            folder = self.output / cell.name
            if (folder / "metrics.json").is_file():
                logger.info("%d of %d, %s: done already.", number, len(self.cells), cell.name)
                continue
            logger.info("%d of %d, %s.", number, len(self.cells), cell.name)
            self._train(cell, folder)
            self._evaluate(cell, folder)
        unseeing = UnseeingRows(self.evaluate_files, self.overrides)
        summary = summarise_cells(self.output, self.cells, unseeing=unseeing)
        write_json(self.output / "label_efficiency.json", summary)
        return summary

    def _train(self, cell: Cell, folder: Path) -> None:
        workflow = self._workflow(
            self.config_files,
            "training",
            seed=cell.seed,
            boxed_share=cell.share,
            ckpt_dir=str(folder),
            val_interval=10**6,
            **{"resumable#evaluator": None},
        )
        if self._training is not None:
            for step in self._training.transform.transforms:
                if isinstance(step, KeepBoxesd):
                    step.fraction = cell.share
            reseed(self._training, cell.seed)
            workflow.parser["train"]["dataset"] = self._training
        workflow.initialize()
        workflow.run()
        self._training = workflow.parser.get_parsed_content("train#dataset")
        workflow.finalize()

    def _evaluate(self, cell: Cell, folder: Path) -> None:
        workflow = self._workflow(
            self.evaluate_files,
            "evaluating",
            seed=cell.seed,
            ckpt_path=str(folder / "model.pt"),
            output_dir=str(folder),
            replicates=0,
            gallery=0,
        )
        for handler in workflow.parser["validate"]["handlers"]:
            handler.pop("items", None)  # no subgroups: they read the dataset's items, which a kept dataset hides
        if self._test is not None:
            workflow.parser["validate"]["dataset"] = self._test
        workflow.initialize()
        workflow.run()
        self._test = workflow.parser.get_parsed_content("validate#dataset")
        workflow.finalize()

    def _workflow(self, files: Sequence[str], run_id: str, **override: Any) -> ConfigWorkflow:
        return prepared_workflow(files, run_id, self.overrides | override)


def summarise_cells(
    output: Path,
    cells: Sequence[Cell],
    replicates: int = 1000,
    seed: int = 0,
    unseeing: UnseeingRows | None = None,
) -> dict[str, Any]:
    """Mean over seeds of each share's figures, with intervals that include the seeds.

    Intervals are those of `bundle.comparison.seeds.seeds_interval`.

    Args:
        output: folder of the cells.
        cells: that are done.
        replicates: R.
        seed: of the bootstrap.
        unseeing: baselines without a look, told all training boxes whatever the share.

    Returns:
        Share (as text) -> figure -> `value`, `low`, `high`, `seeds` (each seed's value); the baselines' figures are
        `froc/mean/sens_at_1fp/<baseline>`, with the image scores of the share's cells.
    """
    summary: dict[str, Any] = {}
    for share in dict.fromkeys(cell.share for cell in cells):
        mine = [cell for cell in cells if cell.share == share]
        metrics = [json.loads((output / cell.name / "metrics.json").read_text(encoding="utf-8")) for cell in mine]
        draws = []
        for cell, figures in zip(mine, metrics, strict=True):
            records = load_records(output / cell.name / "records")
            told, drawn = unseeing.figures(records, replicates, seed) if unseeing else ({}, {})
            figures |= told
            draws.append({**record_replicates(records, replicates, seed), **drawn})
        row: dict[str, Any] = {}
        for figure in (*FIGURES, *(key for key in draws[0] if key not in FIGURES)):
            values = [cell[figure] for cell in metrics]
            low, high = seeds_interval(values, [each[figure] for each in draws])
            row[figure] = {"value": float(np.mean(values)), "low": low, "high": high, "seeds": values}
        summary[f"{share:g}"] = row
    return summary
