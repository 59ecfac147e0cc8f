"""Train and judge plain CLIP, Patch-CLIP, Region-Aware MedCLIP and RegionMed-CLIP alike; goes on where it was.

python -m scripts.compare_systems --max_epochs 3
"""

import logging
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import fire

from bundle.experiments.systems import BLIND, FIGURES, PLAIN, SYSTEMS, SystemsComparison
from bundle.experiments.unseeing_rows import FIGURE, NAMES
from bundle.question_types import TYPES

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def main(
    config_file: str | Sequence[str] = ("train.json", "demo.json", "minilm.json"),
    output: str = "eval/systems",
    seeds: int | Sequence[int] = (0, 1, 2),
    vqa_epochs: int = 6,
    replicates: int = 1000,
    **overrides: Any,
) -> None:
    """Print tables of figures, differences and answers by type; leave `systems.json` and a folder a cell.

    Files without a folder are those of the bundle's configs. Any key of the configurations can be given, but for those
    that a cell sets itself.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    files = [file if Path(file).parent != Path() else CONFIGS / file for file in files]
    seeds = [seeds] if isinstance(seeds, int) else seeds
    print(systems_tables(SystemsComparison(files, CONFIGS, output, seeds, vqa_epochs, overrides, replicates).run()))


def systems_tables(summary: dict[str, Any]) -> str:
    """Markdown tables of figures, differences and answers by type."""
    names = {system: about.name for system, about in SYSTEMS.items()}
    unseeing = {f"{FIGURE}/{name}": f"{name} at 1 FP/image" for name in NAMES}
    tables = [table("figure", FIGURES | unseeing, names, summary["systems"])]
    pairs = [(b, a) for a, b in combinations(names, 2)]
    for wanted in (True, False):  # first those to plain CLIP
        chosen = [pair for pair in pairs if (PLAIN in pair) == wanted]
        columns = {f"{a}/{b}": f"{names[a]} - {names[b]}" for a, b in chosen}
        tables.append(
            table("difference", FIGURES, columns, {f"{a}/{b}": summary["differences"][a][b] for a, b in chosen})
        )
    columns = {f"{system}/{name}": f"{names[system]} - {name}" for name in NAMES for system in names}
    above = {f"{system}/{name}": summary["differences"][system].get(name, {}) for name in NAMES for system in names}
    tables.append(table("difference", {FIGURE: FIGURES[FIGURE]}, columns, above))

    kinds = {"vqa/accuracy": "all", **{f"vqa/accuracy/{kind}": kind for kind in TYPES}}
    plain = summary["systems"][PLAIN]
    blind = {key: plain[f"{key}/{BLIND}"] for key in kinds if f"{key}/{BLIND}" in plain}
    tables.append(table("questions", kinds, {BLIND: "language only"} | names, summary["systems"] | {BLIND: blind}))
    seen = {system: f"{name} - language only" for system, name in names.items()}
    tables.append(table("difference", kinds, seen, {system: summary["differences"][system][BLIND] for system in seen}))
    return "\n".join(tables)


def table(corner: str, rows: dict[str, str], columns: dict[str, str], figures: dict[str, Any]) -> str:
    """A markdown table, a row a figure and a column a system; a figure that no system has is left out."""
    lines = [f"| {corner} | {' | '.join(columns.values())} |", "|---" * (len(columns) + 1) + "|"]
    for key, name in rows.items():
        cells = [figures[system].get(key) for system in columns]
        if any(cells):
            lines.append(f"| {name} | {' | '.join(map(cell, cells))} |")
    return "\n".join(lines) + "\n"


def cell(figure: dict[str, Any] | None) -> str:
    """A figure with its interval, where it has one, and each seed's value."""
    if figure is None:
        return "-"
    ends = "" if figure["low"] is None else f" ({figure['low']:.3f} to {figure['high']:.3f})"
    return f"{figure['value']:.3f}{ends}; " + ", ".join(f"{value:.3f}" for value in figure["seeds"])


if __name__ == "__main__":
    fire.Fire(main)
