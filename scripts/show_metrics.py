"""Print the main figures of a metrics.json: python -m scripts.show_metrics eval/demo/metrics.json [--markdown]

What any key means: python -m scripts.show_metrics --keys
"""

import json
from collections.abc import Mapping
from pathlib import Path

import fire

from bundle.metrics.registry import key_table, name_of
from scripts.switches import with_switches
from scripts.text_table import text_table

SHOWN = {  # and of how many
    "shown/false_marks_per_image": "",
    "shown/sensitivity": "shown/n_lesions",
    "shown/finding_free_marked": "shown/n_finding_free",
}
COLUMNS = ("auroc/{}", "froc/{}/sens_at_1fp", "froc/{}/score", "wafroc/{}")
SIZES = {"size_small": "smaller than a patch", "size_mid": "one to four patches", "size_large": "larger"}

Metrics = Mapping[str, float | None]


def main(path: str | None = None, markdown: bool = False, keys: bool = False) -> None:
    """What is shown at the frozen thresholds, where there are some; then a row a finding. `keys`: all keys."""
    if keys:
        print(key_table())
        return
    if path is None:
        raise SystemExit("show_metrics: wanted the path of a metrics.json, or --keys")
    metrics = json.loads(Path(path).read_text(encoding="utf-8"))
    if "shown/sensitivity" in metrics:
        print(shown_table(metrics, markdown), end="\n\n")
    print(findings_table(metrics, markdown))


def shown_table(metrics: Metrics, markdown: bool) -> str:
    """What a reader meets at the thresholds that the plan froze, each with its 95% interval; then by finding."""
    rows = [["at the frozen thresholds", "test section"]]
    for key, of in SHOWN.items():
        number = metrics.get(of)
        rows.append([name_of(key) + ("" if number is None else f" ({number:.0f})"), _figure(metrics, key)])
    rows.append(["mean expected calibration error of image probabilities", _figure(metrics, "ece/mean")])
    for name in _findings(metrics):
        keys = [f"shown/{key}/{name}" for key in ("false_marks_per_image", "sensitivity")]
        nothing = all(metrics.get(key) == 0 for key in keys)
        said = "nothing is shown" if nothing else "; ".join(_figure(metrics, key) for key in keys)
        rows.append([f"{name}: false marks an image; sensitivity as shown", said])
    return text_table(rows, markdown)


def findings_table(metrics: Metrics, markdown: bool) -> str:
    """A row a finding: each figure with its 95% interval, the oracle ceiling of the grid, and the counts."""

    def count(key: str) -> str:
        number = metrics.get(key)
        return "" if number is None else str(int(number))

    def ceiling(name: str) -> str:
        oracle = metrics.get(f"froc/{name}/oracle")
        return "" if oracle is None else f"{oracle:.2f}"

    findings = _findings(metrics)
    rows = [["", *map(name_of, COLUMNS), "oracle", "images", "lesions"]]
    for name in [*findings, "mean"]:
        figures = [_figure(metrics, key.format(name)) for key in COLUMNS]
        rows.append([name, *figures, ceiling(name), count(f"n_images/{name}"), count(f"n_lesions/{name}")])
    for third in ("low", "mid", "high"):
        figures = [_figure(metrics, key) for key in (f"auroc/mean/cnr_{third}", f"froc/mean/cnr_{third}/sens_at_1fp")]
        if figures != ["-", "-"]:
            rows.append([f"mean, {third} third of CNR", *figures, "", "", "", "", ""])
    for tier, words in SIZES.items():
        counts = [int(number) for name in findings if (number := metrics.get(f"n_lesions/{name}/{tier}")) is not None]
        if counts:
            shown = _figure(metrics, f"froc/mean/{tier}/sens_at_1fp") if any(counts) else "no lesions"
            row = f"mean of {sum(count > 0 for count in counts)} findings, {words}"
            rows.append([row, "", shown, "", "", ceiling(f"mean/{tier}"), "", str(sum(counts))])
    return text_table(rows, markdown)


def _findings(metrics: Metrics) -> list[str]:
    return [key.removeprefix("n_images/") for key in metrics if key.startswith("n_images/")]


def _figure(metrics: Metrics, key: str) -> str:
    value, low, high = (metrics.get(k) for k in (key, f"{key}/low", f"{key}/high"))
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.2f}-{high:.2f})")


if __name__ == "__main__":
    fire.Fire(with_switches(main))
