"""Train on all anatomies but one and judge on that one; goes on where it was interrupted.

python -m scripts.fetch_anatomies
python -m scripts.leave_one_anatomy_out make --data data/loo --images 4000
python -m scripts.leave_one_anatomy_out run --data data/loo --output eval/left_out_anatomy
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire

from bundle.data.demo.subjects import FOLDER
from bundle.data.demo.subjects import NAMES as ANATOMIES
from bundle.experiments.left_out_anatomy import LeftOutAnatomy, make_sets
from scripts.compare_systems import table
from scripts.label_efficiency import NAMES
from scripts.text_table import text_table

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SEEN = "... of new images of the anatomies trained on"


def make(
    data: str = "data/loo",
    images: int = 4000,
    seed: int = 0,
    anatomies: str | Sequence[str] = ANATOMIES,
    anatomies_dir: str = FOLDER,
    workers: int | None = None,
) -> None:
    """Simulate a set for each anatomy that is left out: data/loo/without_lung2 and so on."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)
    for datalist in make_sets(data, images, seed, _list(anatomies), anatomies_dir, workers):
        print(datalist)


def run(
    data: str = "data/loo",
    output: str = "eval/left_out_anatomy",
    config_file: str | Sequence[str] = ("train.json", "demo.json"),
    evaluate_file: str | Sequence[str] = ("evaluate.json", "compare.json", "patch_maps_alone.json"),
    anatomies: str | Sequence[str] = ANATOMIES,
    seeds: int | Sequence[int] = (0,),
    **overrides: Any,
) -> None:
    """Print what each left out anatomy's figures are; leave left_out_anatomy.json and a folder a cell in `output`.

    Files without a folder are those of the bundle's configs. Any key of the configurations can be given, but for those
    that a cell sets itself.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    files, judging = (
        [each if Path(each).parent != Path() else CONFIGS / each for each in _list(given)]
        for given in (config_file, evaluate_file)
    )
    seeds = [seeds] if isinstance(seeds, int) else seeds
    print(anatomies_tables(LeftOutAnatomy(files, judging, data, output, _list(anatomies), seeds, overrides).run()))


def anatomies_tables(summary: dict[str, Any]) -> str:
    """Markdown tables: figures of simulated images of the anatomy that was left out, and what became of its lesion."""
    columns = {name: f"{name} left out" for name in summary}
    shown = {key: text for figure, name in NAMES.items() for key, text in ((figure, name), (f"{figure}/seen", SEEN))}
    figures = table("figure", shown, columns, {name: each["figures"] for name, each in summary.items()})
    head = ("real lesion of", "seed", "found", "image probability (threshold)", "score (threshold)", "rank")
    rows = [
        head,
        *(_row(name, each["finding"], seed, v) for name, each in summary.items() for seed, v in each["real"].items()),
    ]
    return f"{figures}\n{text_table(rows, markdown=True)}"


def _row(name: str, finding: str, seed: str, verdict: dict[str, Any]) -> tuple[str, ...]:
    found = "yes" if verdict["found"] else f"no, marked {verdict['found_as']}" if verdict["found_as"] else "no"
    score = "-" if verdict["score"] is None else f"{verdict['score']:.3f}"
    rank = "-" if verdict["rank"] is None else f"{verdict['rank']} of {verdict['candidates']}"
    return (
        f"{name}, {finding}",
        seed,
        found,
        f"{verdict['probability']:.3f} ({verdict['image_threshold']:.3f})",
        f"{score} ({verdict['box_threshold']:.3f})",
        rank,
    )


def _list(given: str | Sequence[str]) -> list[str]:
    return [each.strip() for each in given.split(",")] if isinstance(given, str) else list(given)


if __name__ == "__main__":
    fire.Fire({"make": make, "run": run})
