"""Judge another model's maps or boxes as this project judges its own.

python -m scripts.judge_predictions --datalist data/demo/datalist.json --predictions theirs --output eval/theirs

`theirs` holds boxes.csv, or a map an image, and perhaps scores.csv: bundle/comparison/predictions.py says how they lie.
"""

import logging
from collections.abc import Sequence
from typing import Any

import fire

from bundle.comparison.predictions import MapReading
from bundle.metrics.matching import HitCriterion
from bundle.report.judge_predictions import judge_predictions


def main(
    datalist: str,
    predictions: str,
    output: str,
    section: str = "test",
    findings: Sequence[str] | None = None,
    image_dir: str | None = None,
    criterion: str = "centre",
    threshold: float | None = None,
    replicates: int = 1000,
    seed: int = 0,
    **maps: Any,
) -> None:
    """Leave metrics.json, records, figures and report.html in `output`.

    `criterion` and `threshold` are those of `hit_criterion`. What else may be given says how candidates are made of
    maps: `side`, `highest`, `floor`, `box_fraction`, `max_candidates`.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    page = judge_predictions(
        datalist,
        predictions,
        output,
        section,
        findings,
        image_dir,
        criterion=HitCriterion(criterion, threshold),
        maps=MapReading(**maps) if maps else None,
        replicates=replicates,
        seed=seed,
    )
    print(page)


if __name__ == "__main__":
    fire.Fire(main)
