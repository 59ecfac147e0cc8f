"""Print the comparison of methods as a table: python -m scripts.show_comparison eval/demo"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fire

from bundle.metrics.registry import NOT_LOCALISED, name_of

COLUMNS = (
    "compare/{}/mean/sens_at_1fp",
    "compare/{}/mean/sens_at_1fp/difference",
    "compare/{}/mean/fp_at_reference_sens_at_1fp",
    "compare/{}/mean/fp_at_own_sens_at_1fp/ratio",
    "compare/{}/mean/auroc",
    "compare/{}/mean/auroc/difference",
    "localization/{}/mean/pointing",
    "box_ap/{}/mean/iou_0.3",
)


def main(folder: str) -> None:
    """A markdown table, a row a method; differences and ratios are the reference's minus, or over, the method's."""
    metrics = json.loads((Path(folder) / "comparison.json").read_text(encoding="utf-8"))
    about = json.loads((Path(folder) / "comparison_notes.json").read_text(encoding="utf-8"))
    print(methods_table(metrics, about))
    for line in not_localised(about["notes"]):
        print(f"\n{line}")


def methods_table(metrics: Mapping[str, float | None], about: Mapping[str, Any]) -> str:
    """A row a method, in Markdown.

    Args:
        metrics: of comparison.json.
        about: of comparison_notes.json.
    """

    def show(key: str) -> str:
        value, low, high = (metrics.get(k) for k in (key, f"{key}/low", f"{key}/high"))
        if value is None and "plus infinity" in about["notes"].get(key, ""):
            if key.endswith("/ratio"):
                return "∞"
            end, price = (metrics.get(key.rsplit("/", 1)[0] + ending) for ending in ("/curve_end", "/fp_at_curve_end"))
            return "never" if end is None else f"never: ends at {end:.2f} with {price:.1f}"
        if value is None:
            return "-"
        if value == 0 and key.endswith("auroc/difference"):
            return "same score"
        ends = "" if low is None else f" ({low:.2f} to {'∞' if high is None else f'{high:.2f}'})"
        return f"{value:.2f}{ends}"

    lines = [f"| method | boxes | {' | '.join(map(name_of, COLUMNS))} |", f"|{'---|' * (len(COLUMNS) + 2)}"]
    for name, method in about["methods"].items():
        own = name == about["reference"]
        cells = ["" if own and key.endswith(("/difference", "/ratio")) else show(key.format(name)) for key in COLUMNS]
        lines.append(f"| {name} | {method['supervision']} | {' | '.join(cells)} |")
    chance = [show("localization/chance/mean/pointing") if "pointing" in key else "" for key in COLUMNS]
    return "\n".join([*lines, f"| a point drawn anywhere | none | {' | '.join(chance)} |"])


def not_localised(notes: Mapping[str, str]) -> list[str]:
    """A sentence for each baseline that sees nothing and each method that is not above it on some findings."""
    said = []
    for key, findings in notes.items():
        if key.startswith(NOT_LOCALISED):
            baseline, method = key.removeprefix(NOT_LOCALISED).split("/")
            said.append(f"{method}, not above {baseline}: {findings}.")
    return said


if __name__ == "__main__":
    fire.Fire(main)
