"""The demo's time to quality, release by release: python -m scripts.publish_history

With `--minutes 17.4 --on "two cores" --change "what moved it"` the present release is added first.
"""

import datetime
import json
from pathlib import Path
from typing import Any

import fire

import bundle
from bundle.atomic import write_file
from scripts.publish_figures import KEPT as FIGURES
from scripts.publish_figures import ROOT, put_table
from scripts.text_table import text_table

KEPT, PAGE = ROOT / "docs" / "history.json", ROOT / "docs" / "benchmarks.md"


def main(minutes: float | None = None, on: str | None = None, change: str | None = None) -> None:
    """Write the table of docs/history.json into docs/benchmarks.md.

    Args:
        minutes: of Patch-CLIP's training, to its last validation (`scripts.quality_curve`).
        on: which machine.
        change: one line on what moved the figures. AUROC and sensitivity are those of docs/demo_figures.json.
    """
    entries: list[dict[str, Any]] = json.loads(KEPT.read_text(encoding="utf-8"))
    given = (minutes, on, change)
    if any(value is not None for value in given):
        if None in given:
            raise SystemExit("A new release needs all of --minutes, --on and --change.")
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        entry = {"version": bundle.__version__, "date": today, "source": f"docs/{FIGURES.name}", "minutes": minutes}
        entries.append({**entry, "on": on, **demo_quality(), "change": change})
        write_file(KEPT, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    put_table(PAGE, "history", history_table(entries))


def demo_quality(figures: Path = FIGURES) -> dict[str, float]:
    """`auroc` and `sensitivity` (at 1 FP/image per finding), means of the findings, of the demo's figures."""
    metrics = json.loads(figures.read_text(encoding="utf-8"))["metrics"]
    return {"auroc": round(metrics["auroc/mean"], 3), "sensitivity": round(metrics["froc/mean/sens_at_1fp"], 3)}


def history_table(entries: list[dict[str, Any]]) -> str:
    """Markdown: a row an entry, with what moved since the one before."""
    rows = [("version", "date", "minutes", "on", "AUROC", "sensitivity at 1 FP/image per finding", "what changed")]
    for before, entry in zip([None, *entries], entries, strict=False):
        moved = {}
        for key, digits in (("minutes", 1), ("auroc", 3), ("sensitivity", 3)):
            by = "" if before is None else f" ({entry[key] - before[key]:+.{digits}f})"
            moved[key] = f"{entry[key]:.{digits}f}{by}"
        figures = moved["minutes"], entry["on"], moved["auroc"], moved["sensitivity"]
        rows.append((entry["version"], entry["date"], *figures, entry["change"]))
    return text_table(rows, markdown=True)


if __name__ == "__main__":
    fire.Fire(main)
