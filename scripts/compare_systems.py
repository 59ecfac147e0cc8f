"""Train and judge plain CLIP, Patch-CLIP, Region-Aware MedCLIP and RegionMed-CLIP alike; goes on where it was.

python -m scripts.compare_systems --max_epochs 3
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire

from bundle.comparison.systems import BLIND, FIGURES, PLAIN, SYSTEMS, SystemsComparison

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def main(
    config_file: str | Sequence[str] = ("train.json", "demo.json", "minilm.json"),
    output: str = "eval/systems",
    seeds: Sequence[int] = (0, 1, 2),
    vqa_epochs: int = 6,
    **overrides: Any,
) -> None:
    """Print a table of the systems and their differences to plain CLIP; leave `systems.json` and a folder a cell.

    Files without a folder are those of the bundle's configs. Any key of the configurations can be given.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    files = [file if Path(file).parent != Path() else CONFIGS / file for file in files]
    summary = SystemsComparison(files, CONFIGS, output, seeds, vqa_epochs, overrides).run()
    print(table("figure", {system: about.name for system, about in SYSTEMS.items()}, summary["systems"]))
    others = {system: f"{about.name} - plain CLIP" for system, about in SYSTEMS.items() if system != PLAIN}
    print(table("difference", others, {system: summary["differences"][system][PLAIN] for system in others}))
    seen = {system: f"{about.name} - language only" for system, about in SYSTEMS.items()}
    print(table("difference", seen, {system: summary["differences"][system][BLIND] for system in seen}))


def table(corner: str, columns: dict[str, str], figures: dict[str, Any]) -> str:
    """A markdown table, a row a figure and a column a system."""
    lines = [f"| {corner} | {' | '.join(columns.values())} |", "|---" * (len(columns) + 1) + "|"]
    for key, name in FIGURES.items():
        cells = [figures[system].get(key) for system in columns]
        if any(cells):
            shown = [f"{c['value']:.3f} ({c['low']:.3f} to {c['high']:.3f})" if c else "-" for c in cells]
            lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    fire.Fire(main)
