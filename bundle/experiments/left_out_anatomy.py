"""Trained on all anatomies but one, judged on that one: simulated images of it, and the lesion that it really has."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.atomic import write_json
from bundle.data.demo.dataset import DATALIST, make_demo_radiographs
from bundle.data.demo.real_dicom import write_real_case
from bundle.data.demo.subjects import FOLDER, NAMES, chosen_subjects
from bundle.experiments.label_efficiency import FIGURES, REPLICATES, Cell, LabelEfficiency
from bundle.experiments.real_lesion import lesion_verdict
from bundle.experiments.seeds import record_figures, seeds_interval, seeds_row
from bundle.experiments.workflow import run_workflow
from bundle.export.package import package_bundle
from bundle.metrics.records import Floats
from bundle.metrics.records_io import load_records

logger = logging.getLogger(__name__)

SUMMARY = "left_out_anatomy.json"
REAL = "real.json"


def set_folder(data: str | Path, name: str) -> Path:
    """Where the images without an anatomy lie."""
    return Path(data) / f"without_{name}"


def make_sets(
    data: str | Path,
    images: int = 4000,
    seed: int = 0,
    names: Sequence[str] = NAMES,
    anatomies_dir: str | Path = FOLDER,
    workers: int | None = None,
    progress: bool = True,
) -> list[Path]:
    """Simulate a set for each anatomy that is left out, with its real case beside; what is there is kept.

    Training and validation sections show the others, the test section the one that is left out. A set's images have
    the same seeds as another's: the same patients, poses, lesions and exposures as far as the chest allows.

    Args:
        data: folder of the sets.
        images: of each, a tenth of them validation and a tenth test.
        seed: see `make_demo_radiographs`.
        names: of the anatomies, at least two.
        anatomies_dir: where the further ones lie.
        workers, progress: see `make_demo_radiographs`.

    Returns:
        The datalists.

    Raises:
        ValueError: one anatomy alone.
        FileNotFoundError: an anatomy has not been fetched.
    """
    if len(names) < 2:
        raise ValueError(f"Found the anatomies {', '.join(names)}; wanted two or more, so that one can be left out.")
    made = []
    for subject in chosen_subjects(names, anatomies_dir):
        folder = set_folder(data, subject.name)
        others = [name for name in names if name != subject.name]
        made.append(
            make_demo_radiographs(
                folder,
                images,
                seed,
                workers,
                progress=progress,
                anatomies=others,
                test_anatomies=[subject.name],
                anatomies_dir=anatomies_dir,
            )
        )
        write_real_case(subject, folder / "real")
    return made


class LeftOutAnatomy:
    """Trains and judges a cell for each anatomy left out and each seed, then looks at its real lesion.

    A cell is `LabelEfficiency`'s with all boxes: the training workflow of the configurations, its last weights judged
    on the test section and, with compare.json among `evaluate_files`, a plan frozen on validation. The same weights are
    judged on the validation section, new images of the anatomies they were trained on; nothing was chosen there that
    AUROC and FROC depend on but the plan's candidates. The cell is then packaged, and the package's inference workflow
    looks at the DICOM file of the real case. What is done is skipped: a training at its last whole epoch, a cell with
    `metrics.json`, a validation section with `seen/metrics.json`, a real case with `real.json`.

    Args:
        config_files: train.json and overlays.
        evaluate_files: overlays that make it an evaluation, evaluate.json first.
        data: of `make_sets`.
        output: folder of the cells, one for each anatomy and in it one for each seed.
        names: of the anatomies to leave out.
        seeds: of the cells.
        overrides: of all configurations, by id.

    Raises:
        ValueError: an override that no config names or that is set here.
        FileNotFoundError: a set has not been made.
    """

    def __init__(
        self,
        config_files: Sequence[str | Path],
        evaluate_files: Sequence[str | Path],
        data: str | Path,
        output: str | Path,
        names: Sequence[str] = NAMES,
        seeds: Sequence[int] = (0,),
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self._files = [str(Path(file).absolute()) for file in config_files]
        self._judging = [str(Path(file).absolute()) for file in evaluate_files]
        self.data, self.output = Path(data).absolute(), Path(output).absolute()
        self.names, self.cells = list(names), [Cell(1.0, seed) for seed in seeds]
        self.overrides = dict(overrides or {})
        if "dataset_dir" in self.overrides:
            raise ValueError("The override dataset_dir would have no effect: every cell sets it itself; give `data`.")
        for name in self.names:
            folder = set_folder(self.data, name)
            if not (folder / DATALIST).is_file() or not (folder / "real" / "truth.json").is_file():
                raise FileNotFoundError(
                    f"{folder}: found no {DATALIST} with real/truth.json beside it. "
                    f"Mend: python -m scripts.leave_one_anatomy_out make --data {self.data}"
                )

    def run(self) -> dict[str, Any]:
        """All cells, then `left_out_anatomy.json`, whose content is returned.

        Returns:
            Anatomy left out -> `figures`: those of `summarise_cells` with all boxes, and `<figure>/seen` of the
            validation section; `real`: seed -> `lesion_verdict` of its real lesion; `finding`: what that is.

        Raises:
            ValueError: a cell that is there was begun with other settings or data.
        """
        summary: dict[str, Any] = {}
        for name in self.names:
            folder, seeds = self.output / f"without_{name}", [cell.seed for cell in self.cells]
            logger.info("Without %s.", name)
            overrides = self.overrides | {"dataset_dir": str(set_folder(self.data, name))}
            figures = LabelEfficiency(self._files, self._judging, folder, (1.0,), seeds, overrides).run()["1"]
            figures |= self._seen(name, folder)
            truth = json.loads((set_folder(self.data, name) / "real" / "truth.json").read_text(encoding="utf-8"))
            verdicts = {f"{cell.seed}": self._real(name, folder / cell.name, truth) for cell in self.cells}
            summary[name] = {"finding": truth["finding"], "figures": figures, "real": verdicts}
        write_json(self.output / SUMMARY, summary)
        return summary

    def _seen(self, name: str, folder: Path) -> dict[str, Any]:
        """Figures of the validation section, as rows of `summarise_cells`."""
        cells: list[dict[str, Floats]] = []
        for cell in self.cells:
            output = folder / cell.name / "seen"
            if not (output / "metrics.json").is_file():
                own = {
                    "dataset_dir": str(set_folder(self.data, name)),
                    "test_section": "validation",
                    "ckpt_dir": str(folder / cell.name),
                    "ckpt_path": str(folder / cell.name / "model.pt"),
                    "output_dir": str(output),
                    "seed": cell.seed,
                    "replicates": 0,
                    "gallery": 0,
                }
                run_workflow([*self._files, self._judging[0]], "evaluating", self.overrides | own)
            cells.append(record_figures(load_records(output / "records"), REPLICATES, 0))
        rows: dict[str, Any] = {}
        for figure in FIGURES:
            values = [float(cell[figure][0]) for cell in cells]
            rows[f"{figure}/seen"] = seeds_row(values, seeds_interval(values, [cell[figure][1:] for cell in cells]))
        return rows

    def _real(self, name: str, cell: Path, truth: Mapping[str, Any]) -> dict[str, Any]:
        """What the cell's package makes of the real case."""
        if (cell / REAL).is_file():
            kept: dict[str, Any] = json.loads((cell / REAL).read_text(encoding="utf-8"))
            return kept
        # Its own folders and what the training was run with, as one overlay more.
        own = {"dataset_dir": str(set_folder(self.data, name)), "ckpt_dir": str(cell), "output_dir": str(cell)}
        overlay = self.overrides | own
        write_json(cell / "overlay.json", overlay)
        root = Path(self._files[0]).parent.parent
        package = package_bundle([*self._files, cell / "overlay.json"], root, cell / "package", str(root))
        places = {
            "bundle_root": str(package),
            "dataset_dir": str(set_folder(self.data, name) / "real" / "images"),
            "output_dir": str(cell / "real"),
        }
        run_workflow([str(package / "configs" / "inference.json")], "inferring", places)
        document = json.loads((cell / "real" / f"{name}.json").read_text(encoding="utf-8"))
        verdict = lesion_verdict(document, truth["finding"], truth["boxes"])
        write_json(cell / REAL, verdict)
        return verdict
