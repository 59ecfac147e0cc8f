"""How often a bootstrap's 95% interval of a sensitivity holds the true one: python -m scripts.interval_coverage"""

from collections.abc import Sequence

import fire
import numpy as np

from bundle.metrics.bootstrap import draw_counts, froc_replicates, interval
from bundle.metrics.records import FindingRecords

CASES = ((0.75, 62), (0.9, 62), (0.97, 62), (0.9, 12))


def main(cases: Sequence[Sequence[float]] = CASES, trials: int = 1000, replicates: int = 1000) -> None:
    """Print a table; each case is a true sensitivity and a number of lesions."""
    print("| true sensitivity | lesions | 95% intervals that hold it |")
    print("|---|---|---|")
    for sensitivity, lesions in cases:
        print(f"| {sensitivity:g} | {lesions:g} | {coverage(sensitivity, int(lesions), trials, replicates):.3f} |")


def coverage(sensitivity: float, lesions: int, trials: int, replicates: int) -> float:
    """Share of simulated test sets, of lesions in as many images, whose interval holds the true sensitivity."""
    rng = np.random.default_rng(0)
    image, floats, integers = np.arange(lesions), np.zeros(0), np.zeros(0, int)
    covered = 0
    for trial in range(trials):
        found = np.where(rng.random(lesions) < sensitivity, 0.5, -np.inf)
        data = FindingRecords(
            image=image,
            fp_score=floats,
            fp_image=integers,
            lesion_score=found,
            lesion_image=image,
            normal_score=floats,
            normal_image=integers,
            lesion_oracle=floats,
            lesion_cnr=floats,
        )
        low, high, _ = interval(froc_replicates(draw_counts(lesions, replicates, trial), data, image, (1.0,))[0])
        covered += low <= sensitivity <= high
    return covered / trials


if __name__ == "__main__":
    fire.Fire(main)
