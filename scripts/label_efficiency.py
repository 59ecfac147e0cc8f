"""Train with fewer and fewer boxes and draw the curve; may be interrupted, and goes on where it was.

python -m scripts.label_efficiency --config_file "['configs/train.json','configs/demo.json']" --max_epochs 3
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire

from bundle.atomic import write_file
from bundle.experiments.label_efficiency import LabelEfficiency
from bundle.report.label_efficiency_figure import draw_label_efficiency
from scripts.compare_systems import cell


def main(
    config_file: str | Sequence[str],
    evaluate_file: str | Sequence[str] = "configs/evaluate.json",
    output: str = "eval/label_efficiency",
    shares: float | Sequence[float] = (1.0, 0.25, 0.1, 0.05),
    seeds: int | Sequence[int] = (0, 1, 2),
    **overrides: Any,
) -> None:
    """Print a table of the shares; leave label_efficiency.json, .png and .svg, and a folder a cell, in `output`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    overlays = [evaluate_file] if isinstance(evaluate_file, str) else list(evaluate_file)
    shares = [shares] if isinstance(shares, int | float) else shares
    seeds = [seeds] if isinstance(seeds, int) else seeds
    summary = LabelEfficiency(files, overlays, output, shares, seeds, overrides).run()
    figure = draw_label_efficiency(summary)
    write_file(Path(output) / "label_efficiency.png", figure.png)
    write_file(Path(output) / "label_efficiency.svg", figure.svg)
    keys = list(next(iter(summary.values())))
    print("| share of boxes | " + " | ".join(keys) + " |\n|" + "---|" * (len(keys) + 1))
    for share, row in summary.items():
        cells = [cell(row[key]) for key in keys]
        print(f"| {float(share):.0%} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    fire.Fire(main)
