"""Print the main figures of a metrics.json: python -m scripts.show_metrics eval/demo/metrics.json [--markdown]"""

import json
from pathlib import Path

import fire

COLUMNS = {
    "AUROC": "auroc/{}",
    "sensitivity at 1 FP/image per finding": "froc/{}/sens_at_1fp",
    "FROC score": "froc/{}/score",
    "wAFROC": "wafroc/{}",
}
SHOWN = {
    "false marks an image at the frozen thresholds, all findings together": "shown/false_marks_per_image",
    "sensitivity as shown, of all lesions": "shown/sensitivity",
    "images without any finding that are marked": "shown/finding_free_marked",
    "mean expected calibration error of image probabilities": "ece/mean",
}
SIZES = {"size_small": "smaller than a patch", "size_mid": "one to four patches", "size_large": "larger"}


def main(path: str, markdown: bool = False) -> None:
    """A row a finding: each figure with its 95% interval, the oracle ceiling of the grid, and the counts."""
    metrics = json.loads(Path(path).read_text(encoding="utf-8"))

    def show(key: str) -> str:
        value, low, high = (metrics.get(k) for k in (key, f"{key}/low", f"{key}/high"))
        if value is None:
            return "-"
        return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.2f}-{high:.2f})")

    def count(key: str) -> str:
        return "" if metrics.get(key) is None else str(int(metrics[key]))

    def ceiling(name: str) -> str:
        oracle = metrics.get(f"froc/{name}/oracle")
        return "" if oracle is None else f"{oracle:.2f}"

    if "shown/sensitivity" in metrics:
        for words, key in SHOWN.items():
            print(f"- {words}: {show(key)}")
        print()
    findings = [key.removeprefix("n_images/") for key in metrics if key.startswith("n_images/")]
    rows = [["", *COLUMNS, "oracle", "images", "lesions"]]
    for name in [*findings, "mean"]:
        figures = [show(key.format(name)) for key in COLUMNS.values()]
        rows.append([name, *figures, ceiling(name), count(f"n_images/{name}"), count(f"n_lesions/{name}")])
    for third in ("low", "mid", "high"):
        figures = [show(key) for key in (f"auroc/mean/cnr_{third}", f"froc/mean/cnr_{third}/sens_at_1fp")]
        if figures != ["-", "-"]:
            rows.append([f"mean, {third} third of CNR", *figures, "", "", "", "", ""])
    for tier, words in SIZES.items():
        counts = [metrics[f"n_lesions/{name}/{tier}"] for name in findings if f"n_lesions/{name}/{tier}" in metrics]
        if counts:
            shown = show(f"froc/mean/{tier}/sens_at_1fp") if any(counts) else "no lesions"
            rows.append([f"mean, {words}", "", shown, "", "", ceiling(f"mean/{tier}"), "", str(sum(counts))])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip())
        if markdown and number == 0:
            print(f"|{'|'.join('-' * (width + 2) for width in widths)}|")


if __name__ == "__main__":
    fire.Fire(main)
