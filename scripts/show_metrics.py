"""Print the main figures of a metrics.json: python -m scripts.show_metrics eval/demo/metrics.json"""

import json
from pathlib import Path

import fire


def main(path: str) -> None:
    """One line a finding: AUROC and sensitivity at 1 FP/image, each with its 95% interval, and the oracle ceiling."""
    metrics = json.loads(Path(path).read_text(encoding="utf-8"))

    def show(key: str) -> str:
        value, low, high = (metrics.get(k) for k in (key, f"{key}/low", f"{key}/high"))
        if value is None:
            return f"{'-':>17}"
        interval = "" if low is None or high is None else f" ({low:.2f}-{high:.2f})"
        return f"{value:.3f}{interval}".rjust(17)

    names = [key.removeprefix("n_images/") for key in metrics if key.startswith("n_images/")]
    print(f"{'':20}{'AUROC':>17} {'sens at 1 FP/img':>17} {'FROC score':>17} {'oracle':>8} {'lesions':>8}")
    for name in [*names, "mean"]:
        oracle, lesions = metrics.get(f"froc/{name}/oracle"), metrics.get(f"n_lesions/{name}")
        print(
            f"{name:20}{show(f'auroc/{name}')} {show(f'froc/{name}/sens_at_1fp')} {show(f'froc/{name}/score')}"
            f" {'-' if oracle is None else f'{oracle:.2f}':>8} {'' if lesions is None else int(lesions):>8}"
        )


if __name__ == "__main__":
    fire.Fire(main)
