"""Train over several seeds with fewer and fewer boxes and draw the curve; goes on where it was interrupted.

python -m scripts.label_efficiency --config_file "['configs/train.json','configs/demo.json']" --max_epochs 3

Beside a detector, both with boxed images as half of a batch where boxes are few:

    ... --rival_file configs/detector.json --shares 0.1 --boxed_in_batch 0.5 --output eval/few_boxes

The seeds of the demo's own table, each with a plan of its own:

    ... --shares 1 --evaluate_file "['configs/evaluate.json','configs/compare.json','configs/patch_maps_alone.json']" \
        --output eval/seeds
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fire

from bundle.atomic import write_file
from bundle.experiments.label_efficiency import LabelEfficiency
from bundle.report.label_efficiency_figure import draw_label_efficiency
from scripts.compare_systems import table

NAMES = {
    "auroc/mean": "mean AUROC",
    "froc/mean/sens_at_1fp": "sensitivity at 1 FP/image per finding, mean",
    "froc/mean/score": "FROC score, mean",
    "froc/Nodule/sens_at_1fp": "nodules: sensitivity at 1 FP/image",
    "shown/false_marks_per_image": "false marks an image as shown, all findings",
    "shown/sensitivity": "sensitivity as shown",
    "shown/finding_free_marked": "images without findings that are marked",
    "ece/mean": "expected calibration error, mean",
}
OTHERS = {"rival": "the rival's", "rival/difference": "minus the rival's"}


def main(
    config_file: str | Sequence[str],
    evaluate_file: str | Sequence[str] = "configs/evaluate.json",
    output: str = "eval/label_efficiency",
    shares: float | Sequence[float] = (1.0, 0.25, 0.1, 0.05),
    seeds: int | Sequence[int] = (0, 1, 2),
    rival_file: str | Sequence[str] | None = None,
    **overrides: Any,
) -> None:
    """Print a table of the shares; leave label_efficiency.json, .png and .svg, and a folder a cell, in `output`.

    `rival_file` are overlays that make it another method's training: the same shares and seeds, and the differences.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    overlays = [evaluate_file] if isinstance(evaluate_file, str) else list(evaluate_file)
    shares = [shares] if isinstance(shares, int | float) else shares
    seeds = [seeds] if isinstance(seeds, int) else seeds
    rival = [rival_file] if isinstance(rival_file, str) else rival_file
    summary = LabelEfficiency(files, overlays, output, shares, seeds, overrides, rival).run()
    figure = draw_label_efficiency(summary)
    write_file(Path(output) / "label_efficiency.png", figure.png)
    write_file(Path(output) / "label_efficiency.svg", figure.svg)
    print(shares_table(summary))


def shares_table(summary: dict[str, Any]) -> str:
    """A markdown table, a row a figure and a column a share of boxes."""
    known = list(next(iter(summary.values())))
    rows = {key: name for figure, name in NAMES.items() for key, name in _further(figure, name, known)}
    return table("figure", rows, {share: f"{float(share):.0%} of the boxes" for share in summary}, summary)


def _further(figure: str, name: str, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A figure, and what is told beside it."""
    yield figure, name
    beside = (key.removeprefix(f"{figure}/") for key in known if key.startswith(f"{figure}/"))
    yield from ((f"{figure}/{other}", f"... {OTHERS.get(other, other)}") for other in beside if other not in NAMES)


if __name__ == "__main__":
    fire.Fire(main)
