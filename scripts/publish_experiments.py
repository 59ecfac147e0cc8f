"""Put the tables of experiments into the pages: python -m scripts.publish_experiments --seeds eval/seeds

What the tables print is kept in docs/experiments.json; a test renders it again and compares.
"""

import json
from pathlib import Path
from typing import Any

import fire

from bundle.atomic import write_file
from scripts.compare_systems import systems_tables
from scripts.label_efficiency import shares_table
from scripts.publish_figures import KEPT as PUBLISHED
from scripts.publish_figures import put_table
from scripts.text_table import text_table

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "experiments.json"
EVALUATION, SYSTEMS = ROOT / "docs" / "evaluation.md", ROOT / "docs" / "systems.md"
AT_1 = "mean/sens_at_1fp"
AGAIN = {
    "auroc/mean": "mean AUROC",
    f"froc/{AT_1}": "sensitivity at 1 FP/image per finding, mean",
    "froc/Nodule/sens_at_1fp": "... nodules",
    "shown/false_marks_per_image": "false marks an image as shown, all findings",
    "shown/sensitivity": "sensitivity as shown",
    "shown/finding_free_marked": "images without findings that are marked",
    "ece/mean": "expected calibration error, mean",
    f"compare/no-look marker/{AT_1}/difference": "ahead of the no-look marker at 1 FP/image",
    f"compare/attention relevance, Patch-CLIP/{AT_1}/difference": "... of attention relevance",
    f"compare/RT-DETR/{AT_1}/difference": "... of RT-DETR",
    "compare/RT-DETR/mean/auroc/difference": "... of RT-DETR, AUROC",
    f"compare/Grad-CAM, trained without boxes/{AT_1}": "Grad-CAM, trained without boxes, at 1 FP/image",
    f"compare/attention relevance, trained without boxes/{AT_1}": "attention relevance, the same",
}
ENDS = ("", "/low", "/high")


def again_table(again: dict[str, float]) -> str:
    """A markdown table: the demo's figures as they are published, and of another run of it."""
    published: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    runs = {**published["metrics"], **published["comparison"]}, again
    rows = [("figure", "the run of README", "once more")]
    for key, name in AGAIN.items():
        cells = ("{:.3f} ({:.3f} to {:.3f})".format(*(run[key + end] for end in ENDS)) for run in runs)
        rows.append((name, *cells))
    return text_table(rows, markdown=True)


TABLES = {  # its files in the experiment's folder, its page, what makes the table, which figures it wants (None: all)
    "seeds": (("label_efficiency.json",), EVALUATION, shares_table, None),
    "shares": (("label_efficiency.json",), EVALUATION, shares_table, None),
    "systems": (("systems.json",), SYSTEMS, systems_tables, None),
    "again": (
        ("metrics.json", "comparison.json"),
        EVALUATION,
        again_table,
        [key + end for key in AGAIN for end in ENDS],
    ),
}


def main(
    seeds: str | None = None, shares: str | None = None, systems: str | None = None, again: str | None = None
) -> None:
    """Keep and show what these folders of `label_efficiency`, `compare_systems`, the demo hold; others stay."""
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    given = {"seeds": seeds, "shares": shares, "systems": systems, "again": again}
    for name, folder in given.items():
        if folder is not None:
            files, page, rendered, wanted = TABLES[name]
            figures: dict[str, Any] = {}
            for file in files:
                figures |= json.loads((Path(folder) / file).read_text(encoding="utf-8"))
            kept[name] = figures if wanted is None else {key: figures[key] for key in wanted}
            put_table(page, name, rendered(kept[name]))
    write_file(KEPT, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    fire.Fire(main)
