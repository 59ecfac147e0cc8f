"""Four systems on the same images, backbone and budget, over several seeds, one cell at a time."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.bundle import ConfigWorkflow

from bundle.atomic import atomic_path, write_json
from bundle.experiments.seeds import answer_figures, record_figures, seeds_interval, seeds_row
from bundle.experiments.unseeing_rows import FIGURE, NAMES, UnseeingRows
from bundle.experiments.workflow import cell_settings, check_overrides, keep_settings, prepared_workflow, reseed
from bundle.handlers.curriculum import read_stages
from bundle.metrics.answers_io import load_answers
from bundle.metrics.records import Floats
from bundle.metrics.records_io import load_records

logger = logging.getLogger(__name__)

PLAIN, BLIND = "plain_clip", "blind"
DRAWS = 0  # seed of the draws of patients: one for all cells, so that their replicates are of the same patients
JUDGING = ("evaluate.json", "evaluate_texts.json", "vqa.json", "vqa_evaluate.json")
SET_HERE = (
    *("seed", "ckpt_dir", "output_dir", "ckpt_path", "teacher_weights", "blind"),
    *("val_interval", "replicates", "gallery"),
)
FIGURES = {
    "auroc/mean": "AUROC",
    FIGURE: "sensitivity at 1 FP/image",
    "retrieval/image_to_report/r_at_1": "image → report R@1",
    "retrieval/image_to_report/r_at_5": "R@5",
    "retrieval/image_to_report/r_at_10": "R@10",
    "retrieval/report_to_image/r_at_1": "report → image R@1",
    "retrieval/report_to_image/r_at_5": "R@5",
    "retrieval/report_to_image/r_at_10": "R@10",
    "regions/accuracy": "caption among hard negatives",
    "vqa/accuracy": "VQA accuracy",
}


class System(NamedTuple):
    """One system.

    Attributes:
        name: in the table.
        training: overlays of the base configuration that train it.
        judging: further overlays that judge it, after evaluate.json and evaluate_texts.json.
    """

    name: str
    training: tuple[str, ...]
    judging: tuple[str, ...] = ()


SYSTEMS = {
    PLAIN: System("plain CLIP", ("plain_clip.json",), ("saliency_maps.json",)),
    "patch_clip": System("Patch-CLIP", ("patch_clip_reports.json",)),
    "region_aware_medclip": System("Region-Aware MedCLIP", ("region_aware_medclip.json",)),
    "regionmed_clip": System("RegionMed-CLIP", ("regionmed_clip.json",)),
}


class SystemsComparison:
    """Trains and judges every cell, a system with a seed, that is not done yet, then sums up.

    All cells see the same images and reports, have the same towers, and train for the same number of epochs with the
    same schedule; plain CLIP of a seed comes first, because it is that seed's teacher. Each is judged on the test
    section with its last weights: nothing is chosen on validation. On its frozen tower a head learns to answer
    questions, and, once a seed, one that does not see the image: the language-only baseline.

    A cell is done when its `cell.json` is there; an interrupted one goes on after its last whole epoch. One that was
    begun with other settings or data (`settings.json`) is refused.

    Args:
        config_files: train.json and the overlays that all systems share.
        configs: folder of the systems' overlays.
        output: folder of the cells.
        seeds: of the initial weights and the order of images.
        vqa_epochs: epochs of the heads.
        overrides: of all configurations, by id.
        replicates: R of the bootstrap over patients.

    Raises:
        ValueError: an override that no config names or that is set here; fewer epochs than a curriculum has stages.
    """

    def __init__(
        self,
        config_files: Sequence[str | Path],
        configs: str | Path,
        output: str | Path,
        seeds: Sequence[int] = (0, 1, 2),
        vqa_epochs: int = 6,
        overrides: Mapping[str, Any] | None = None,
        replicates: int = 1000,
    ) -> None:
        self.base, self.configs = [str(file) for file in config_files], Path(configs)
        self.output, self.overrides = Path(output).absolute(), dict(overrides or {})
        self.seeds, self.vqa_epochs, self.replicates = list(seeds), vqa_epochs, replicates
        overlays = {name for system in SYSTEMS.values() for name in (*system.training, *system.judging)}
        files = [*self.base, *map(self._file, sorted(overlays)), *map(self._file, JUDGING)]
        check_overrides(files, self.overrides, SET_HERE)
        for system in SYSTEMS:  # before the first cell has taken its time
            parser = self._workflow(self._training_files(system), "training").parser
            if "stages" in parser:
                read_stages(parser.get_parsed_content("stages"))
        self._kept: dict[str, Any] = {}  # data of one system at a time, and of what all share

    def run(self) -> dict[str, Any]:
        """All cells, then `systems.json`, whose content is returned: `summarise_systems`.

        Raises:
            ValueError: a cell that is there was begun with other settings or data.
        """
        for system, about in SYSTEMS.items():
            files = [*self._training_files(system), *map(self._file, (*about.judging, *JUDGING))]
            settings = cell_settings(files, self.overrides, vqa_epochs=self.vqa_epochs, replicates=self.replicates)
            for seed in self.seeds:
                keep_settings(cell_folder(self.output, system, seed), settings)
        for system in SYSTEMS:
            self._kept = {key: data for key, data in self._kept.items() if not key.startswith("training")}
            for seed in self.seeds:
                folder = cell_folder(self.output, system, seed)
                if (folder / "cell.json").is_file():
                    logger.info("%s: done already.", folder.name)
                    continue
                logger.info("%s.", folder.name)
                self._cell(system, seed, folder)
        files = [*self._training_files(PLAIN), *map(self._file, JUDGING[:1])]
        summary = summarise_systems(self.output, self.seeds, unseeing=UnseeingRows(files, self.overrides))
        write_json(self.output / "systems.json", summary)
        return summary

    def _cell(self, system: str, seed: int, folder: Path) -> None:
        training, judging = self._training_files(system), [*JUDGING[:2], *SYSTEMS[system].judging]
        teacher = {"teacher_weights": str(cell_folder(self.output, PLAIN, seed) / "model.pt")}
        own: dict[str, Any] = {"ckpt_dir": str(folder), "output_dir": str(folder)}
        own |= teacher if system == "region_aware_medclip" else {}
        self._train(training, "training images", seed=seed, **own)

        own["ckpt_path"] = str(folder / "model.pt")
        files = [*training, *map(self._file, judging)]
        spoken = self._judge(files, "test images", replicates=self.replicates, gallery=0, **own)
        draws: dict[str, Floats] = {}
        for key in ("language", "regions"):
            draws |= spoken.parser.get_parsed_content(key).draws
        mine = record_figures(load_records(folder / "records"), self.replicates, DRAWS)
        draws |= {key: figure[1:] for key, figure in mine.items()}

        own["max_epochs"] = self.vqa_epochs
        for blind in (False, True)[: 1 + (system == PLAIN)]:
            head = [*training, self._file("vqa.json")]
            self._train(head, "question images", seed=seed, blind=blind, **own)
            answering = [*head, self._file("vqa_evaluate.json")]
            self._judge(answering, "test questions", replicates=0, blind=blind, **own)

        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        keys = [key for key in draws if metrics.get(key) is not None]
        with atomic_path(folder / "replicates.npy") as temporary, temporary.open("wb") as stream:
            np.save(stream, np.stack([draws[key] for key in keys]))  # (figures, R), in the order of cell.json
        write_json(folder / "cell.json", {"system": system, "seed": seed, "figures": {k: metrics[k] for k in keys}})

    def _train(self, files: Sequence[str], kept: str, **override: Any) -> None:
        workflow = self._workflow(files, "training", val_interval=10**6, **{"resumable#evaluator": None}, **override)
        self._run(workflow, kept, "train")

    def _judge(self, files: Sequence[str], kept: str, **override: Any) -> ConfigWorkflow:
        workflow = self._workflow(files, "evaluating", seed=DRAWS, **override)
        if "evaluation_report" in workflow.parser:  # answers have none
            # no subgroups: they read the dataset's items, which a kept dataset hides
            workflow.parser["evaluation_report"]["items"] = None
        return self._run(workflow, kept, "validate")

    def _run(self, workflow: ConfigWorkflow, kept: str, part: str) -> ConfigWorkflow:
        """Run with the data of the last such run, where there was one."""
        if kept in self._kept:
            workflow.parser["text_data"], workflow.parser[part]["dataset"] = self._kept[kept]
            reseed(workflow.parser[part]["dataset"], workflow.parser.get_parsed_content("seed"))
        workflow.initialize()
        workflow.run()
        self._kept[kept] = tuple(workflow.parser.get_parsed_content(key) for key in ("text_data", f"{part}#dataset"))
        workflow.finalize()
        return workflow

    def _workflow(self, files: Sequence[str], run_id: str, **override: Any) -> ConfigWorkflow:
        return prepared_workflow(files, run_id, self.overrides | override)

    def _training_files(self, system: str) -> list[str]:
        return [*self.base, *map(self._file, SYSTEMS[system].training)]

    def _file(self, name: str) -> str:
        return str(self.configs / name)


def cell_folder(output: Path, system: str, seed: int) -> Path:
    """Where a cell lies."""
    return output / f"{system}_seed_{seed}"


def summarise_systems(output: Path, seeds: Sequence[int], unseeing: UnseeingRows | None = None) -> dict[str, Any]:
    """Mean over seeds of every system's figures, with intervals that include the seeds, and paired differences.

    Intervals are those of `bundle.experiments.seeds.seeds_interval`. A difference of two systems is made seed by seed,
    in the same draws of patients.

    Args:
        output: folder of the cells.
        seeds: that are done.
        unseeing: baselines without a look.

    Returns:
        `systems`: system -> figure -> `value`, `low`, `high`, `seeds` (each seed's value); the baselines' figures are
        `froc/mean/sens_at_1fp/<baseline>`, with the system's image scores;
        `differences`: system -> other system -> figure -> the same, of the first minus the other; those of a system to
        its baselines have the baseline's name in place of the other system's;
        `blind`: of system `blind`, plain CLIP's head that does not see the image, for all questions and by type; what
        that head reaches itself stands among plain CLIP's figures as `vqa/accuracy/blind`, `vqa/accuracy/<type>/blind`.
    """
    values: dict[str, dict[str, list[float]]] = {}
    draws: dict[str, dict[str, list[Floats]]] = {}
    for system in SYSTEMS:
        cells, tables = [], []
        for number in seeds:
            folder = cell_folder(output, system, number)
            figures = json.loads((folder / "cell.json").read_text(encoding="utf-8"))["figures"]
            stored = np.load(folder / "replicates.npy")
            table, more = dict(zip(figures, stored, strict=True)), dict[str, Floats]()
            for name in ("vqa", "vqa_blind")[: 1 + (system == PLAIN)]:
                told = answer_figures(load_answers(folder / name / "answers.csv"), stored.shape[1], DRAWS)
                ending = f"/{BLIND}" * (name == "vqa_blind")
                more |= {key + ending: figure for key, figure in told.items()}
            if unseeing is not None:
                more |= unseeing.figures(load_records(folder / "records"), stored.shape[1], DRAWS)
            figures |= {key: float(figure[0]) for key, figure in more.items()}
            table |= {key: figure[1:] for key, figure in more.items()}
            cells.append(figures)
            tables.append(table)
        keys = [key for key in cells[0] if all(key in cell for cell in cells)]
        values[system] = {key: [cell[key] for cell in cells] for key in keys}
        draws[system] = {key: [table[key] for table in tables] for key in keys}
    summary: dict[str, Any] = {"systems": {}, "differences": {}}
    blind = {key.removesuffix(f"/{BLIND}"): key for key in values[PLAIN] if key.endswith(f"/{BLIND}")}
    for system, mine in values.items():
        summary["systems"][system] = {
            key: _figure(each, draws[system][key], -1.0 if key.endswith("/difference") else 0.0)
            for key, each in mine.items()
        }
        summary["differences"][system] = {
            other: {
                key: _difference(mine[key], theirs[key], draws[system][key], draws[other][key])
                for key in FIGURES
                if key in mine and key in theirs
            }
            for other, theirs in values.items()
            if other != system
        }
        for name in NAMES:
            if (key := f"{FIGURE}/{name}") in mine:
                difference = _difference(mine[FIGURE], mine[key], draws[system][FIGURE], draws[system][key])
                summary["differences"][system][name] = {FIGURE: difference}
        summary["differences"][system][BLIND] = {
            key: _difference(mine[key], values[PLAIN][theirs], draws[system][key], draws[PLAIN][theirs])
            for key, theirs in blind.items()
            if key in mine
        }
    return summary


def _figure(values: Sequence[float], draws: Sequence[Floats], least: float) -> dict[str, Any]:
    return seeds_row(values, seeds_interval(values, draws, least))


def _difference(
    mine: Sequence[float], theirs: Sequence[float], draws: Sequence[Floats], others: Sequence[Floats]
) -> dict[str, Any]:
    pairs = [(a - b, p - q) for a, b, p, q in zip(mine, theirs, draws, others, strict=True)]
    return _figure([value for value, _ in pairs], [each for _, each in pairs], -1.0)
