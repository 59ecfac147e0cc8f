"""The lesions that a test set needs for a 95% interval of a given width: python -m scripts.lesions_needed"""

from collections.abc import Sequence

import fire

from bundle.metrics.sample_size import lesions_needed


def main(
    sensitivities: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 0.95), widths: Sequence[float] = (0.3, 0.2, 0.1, 0.05)
) -> None:
    """Print a table: rows are expected sensitivities, columns are widths (high minus low) of the interval."""
    print("| expected sensitivity | " + " | ".join(f"width {width:g}" for width in widths) + " |")
    print("|---" * (len(widths) + 1) + "|")
    for sensitivity in sensitivities:
        numbers = " | ".join(f"{lesions_needed(sensitivity, width):,}" for width in widths)
        print(f"| {sensitivity:g} | {numbers} |")


if __name__ == "__main__":
    fire.Fire(main)
