"""The same training over several seeds, with all boxes and with fewer, beside a rival; one cell at a time."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigWorkflow
from monai.data import CacheDataset
from scipy.stats import norm

from bundle.atomic import write_json
from bundle.experiments.seeds import interval_over_seeds, record_figures, seeds_interval, seeds_row
from bundle.experiments.unseeing_rows import UnseeingRows
from bundle.experiments.workflow import cell_settings, check_overrides, keep_settings, prepared_workflow, reseed
from bundle.metrics.records import Floats
from bundle.metrics.records_io import load_records
from bundle.transforms import KeepBoxesd

logger = logging.getLogger(__name__)

SET_HERE = (
    *("seed", "boxed_share", "ckpt_dir", "ckpt_path", "output_dir"),
    *("val_interval", "replicates", "gallery"),
)
REPLICATES = 1000
FIGURES = ("froc/mean/sens_at_1fp", "auroc/mean")
# of cells that were judged by a plan of their own (compare.json)
NUMBERS = ("shown/false_marks_per_image",)  # no share: they may exceed 1
SHOWN = ("shown/false_marks_per_image", "shown/sensitivity", "shown/finding_free_marked", "ece/mean")
FURTHER = ("froc/mean/score", "froc/Nodule/sens_at_1fp", *SHOWN)


class Cell(NamedTuple):
    """One training.

    Attributes:
        share: of the images that keep their boxes.
        seed: of the choice of boxes, the initial weights and the order of images.
        rival: whether it is the rival's.
    """

    share: float
    seed: int
    rival: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{'rival_' * self.rival}share_{self.share:g}_seed_{self.seed}"


class LabelEfficiency:
    """Trains and judges every cell that is not done yet, then sums up.

    All cells see the same images, labels and reports, and train the same number of epochs; the boxes of a smaller
    share are among those of a larger one with the same seed (`KeepBoxesd`). Every cell is judged on the test section
    with its last weights; no weights are chosen on validation, so nothing favours a share. With compare.json among
    `evaluate_files` each of our cells freezes its own plan on validation, and the figures of what is shown join the
    rest. A cell is done when its `metrics.json` is there; an interrupted one goes on after its last whole epoch. One
    that was begun with other settings or data (`settings.json`) is refused.

    Images are decoded once and stay in memory for all cells.

    Args:
        config_files: train.json and overlays.
        evaluate_files: overlays that make it an evaluation, evaluate.json first.
        output: folder of the cells.
        shares: of the boxes.
        seeds: of the cells.
        overrides: of all configurations, by id.
        rival_files: overlays that make it another method's training, such as detector.json; that one is judged by
            evaluate.json, alone. None for no rival.

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
        rival_files: Sequence[str | Path] | None = None,
    ) -> None:
        own, judging = [str(file) for file in config_files], [str(file) for file in evaluate_files]
        theirs = [*own, *(str(file) for file in rival_files or ())]
        self._files = {False: (own, [*own, *judging]), True: (theirs, [*theirs, *judging[:1]])}
        self.output, self.overrides = Path(output), dict(overrides or {})
        rivals = (False, True) if rival_files else (False,)
        # whole curves first
        self.cells = [Cell(share, seed, rival) for rival in rivals for seed in seeds for share in shares]
        check_overrides([*own, *judging, *theirs], self.overrides, SET_HERE)
        self._training: CacheDataset | None = None
        self._test: CacheDataset | None = None

    def run(self) -> dict[str, Any]:
        """All cells, then `label_efficiency.json`, whose content is returned: `summarise_cells`.

        Raises:
            ValueError: a cell that is there was begun with other settings or data.
        """
        rivals = {cell.rival for cell in self.cells}
        settings = {rival: cell_settings(self._files[rival][1], self.overrides) for rival in rivals}
        for cell in self.cells:
            keep_settings(self.output / cell.name, settings[cell.rival])
        last = False
        for number, cell in enumerate(self.cells, 1):
            folder = self.output / cell.name
            if (folder / "metrics.json").is_file():
                logger.info("%d of %d, %s: done already.", number, len(self.cells), cell.name)
                continue
            logger.info("%d of %d, %s.", number, len(self.cells), cell.name)
            if cell.rival != last:  # other transforms
                self._training, self._test, last = None, None, cell.rival
            self._train(cell, folder)
            self._evaluate(cell, folder)
        unseeing = UnseeingRows([*self._files[False][0], self._files[True][1][-1]], self.overrides)
        summary = summarise_cells(self.output, self.cells, unseeing=unseeing)
        write_json(self.output / "label_efficiency.json", summary)
        return summary

    def _train(self, cell: Cell, folder: Path) -> None:
        workflow = self._workflow(
            self._files[cell.rival][0],
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
            self._files[cell.rival][1],
            "evaluating",
            seed=cell.seed,
            ckpt_dir=str(folder),
            ckpt_path=str(folder / "model.pt"),
            output_dir=str(folder),
            replicates=0,
            gallery=0,
        )
        # no subgroups: they read the dataset's items, which a kept dataset hides
        workflow.parser["evaluation_report"]["items"] = None
        if "comparison" in workflow.parser:
            workflow.parser["replicates"] = REPLICATES  # the figures of its plan come with their intervals
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
    replicates: int = REPLICATES,
    seed: int = 0,
    unseeing: UnseeingRows | None = None,
) -> dict[str, Any]:
    """Mean over seeds of each share's figures, with intervals that include the seeds.

    Intervals are those of `bundle.experiments.seeds.seeds_interval`; of figures of which a cell keeps its interval and
    no draws, Var is that of the widest cell.

    Args:
        output: folder of the cells.
        cells: that are done.
        replicates: R.
        seed: of the bootstrap.
        unseeing: baselines without a look, told all training boxes whatever the share.

    Returns:
        Share (as text) -> figure -> `value`, `low`, `high`, `seeds` (each seed's value): `FIGURES`, of `FURTHER` what
        all cells have, `<figure>/<baseline>` with the image scores of the share's cells, and, where the rival was
        trained, `<figure>/rival` and `<figure>/rival/difference`, ours minus the rival's, seed by seed in the same
        draws.
    """
    summary: dict[str, Any] = {}
    for share in dict.fromkeys(cell.share for cell in cells):
        ours, theirs = (
            [cell for cell in cells if (cell.share, cell.rival) == (share, rival)] for rival in (False, True)
        )
        figures, draws = _read(ours, output, replicates, seed, unseeing)
        row = {
            key: _row([cell[key] for cell in figures], [each[key] for each in draws]) for key in (*FIGURES, *draws[0])
        }
        for key in FURTHER:
            if all(figure.get(key) is not None for figure in figures):
                values = [figure[key] for figure in figures]
                ends = [(figure.get(f"{key}/low"), figure.get(f"{key}/high")) for figure in figures]
                known = [(high - low) / (2 * norm.ppf(0.975)) for low, high in ends if low is not None]
                most = math.inf if key in NUMBERS else 1.0
                row[key] = _row(values, patients=max(known, default=0.0) ** 2, most=most)
        if theirs:
            others, drawn = _read(theirs, output, replicates, seed)
            for key in FIGURES:
                row[f"{key}/rival"] = _row([cell[key] for cell in others], [each[key] for each in drawn])
                row[f"{key}/rival/difference"] = _row(
                    [a[key] - b[key] for a, b in zip(figures, others, strict=True)],
                    [p[key] - q[key] for p, q in zip(draws, drawn, strict=True)],
                    least=-1.0,
                )
        summary[f"{share:g}"] = row
    return summary


def _read(
    cells: Sequence[Cell], output: Path, replicates: int, seed: int, unseeing: UnseeingRows | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Floats]]]:
    """Figures and replicates of every cell."""
    metrics = [json.loads((output / cell.name / "metrics.json").read_text(encoding="utf-8")) for cell in cells]
    draws = []
    for cell, figures in zip(cells, metrics, strict=True):
        records = load_records(output / cell.name / "records")
        baselines = unseeing.figures(records, replicates, seed) if unseeing else {}
        figures |= {key: float(figure[0]) for key, figure in baselines.items()}
        mine = record_figures(records, replicates, seed) | baselines
        draws.append({key: figure[1:] for key, figure in mine.items()})
    return metrics, draws


def _row(
    values: Sequence[float],
    draws: Sequence[Floats] = (),
    least: float = 0.0,
    patients: float = 0.0,
    most: float = 1.0,
) -> dict[str, Any]:
    """A mean over seeds with its interval."""
    ends = seeds_interval(values, draws, least) if draws else interval_over_seeds(values, patients, least, most=most)
    return seeds_row(values, ends)
