"""Print the comparison of methods as a table: python -m scripts.show_comparison eval/demo"""

import json
from pathlib import Path

import fire

from bundle.comparison.localised import NOT_LOCALISED

COLUMNS = {
    "sensitivity at 1 FP/image": "compare/{}/mean/sens_at_1fp",
    "difference": "compare/{}/mean/sens_at_1fp/difference",
    "FP/image at the reference's sensitivity": "compare/{}/mean/fp_at_reference_sens_at_1fp",
    "ratio": "compare/{}/mean/fp_at_reference_sens_at_1fp/ratio",
    "pointing": "localization/{}/mean/pointing",
    "mAP .3": "box_ap/{}/mean/iou_0.3",
}


def main(folder: str) -> None:
    """A markdown table, a row a method; differences and ratios are the reference's minus, or over, the method's."""
    metrics = json.loads((Path(folder) / "comparison.json").read_text(encoding="utf-8"))
    about = json.loads((Path(folder) / "comparison_notes.json").read_text(encoding="utf-8"))

    def show(key: str) -> str:
        value, low, high = (metrics.get(k) for k in (key, f"{key}/low", f"{key}/high"))
        if value is None:
            return "∞" if "plus infinity" in about["notes"].get(key, "") else "-"
        ends = "" if low is None else f" ({low:.2f} to {'∞' if high is None else f'{high:.2f}'})"
        return f"{value:.2f}{ends}"

    print(f"| method | boxes | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}")
    for name, method in about["methods"].items():
        own = name == about["reference"]
        cells = [
            "" if own and key.endswith(("ratio", "difference")) else show(key.format(name)) for key in COLUMNS.values()
        ]
        print(f"| {name} | {method['supervision']} | {' | '.join(cells)} |")
    chance = [show("localization/chance/mean/pointing") if name == "pointing" else "" for name in COLUMNS]
    print(f"| a point drawn anywhere | none | {' | '.join(chance)} |")
    for key, findings in about["notes"].items():
        if key.startswith(NOT_LOCALISED):
            baseline, method = key.removeprefix(NOT_LOCALISED).split("/")
            print(f"\n{method}, not above {baseline}: {findings}.")


if __name__ == "__main__":
    fire.Fire(main)
