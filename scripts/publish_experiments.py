"""Put the tables of experiments into the pages: python -m scripts.publish_experiments --seeds eval/seeds

What the tables print is kept in docs/experiments.json; a test renders it again and compares.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import fire

from bundle.atomic import write_file
from scripts.compare_systems import systems_tables
from scripts.label_efficiency import NAMES, shares_table
from scripts.leave_one_anatomy_out import anatomies_tables
from scripts.publish_figures import KEPT as PUBLISHED
from scripts.publish_figures import put_table
from scripts.text_table import text_table

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "experiments.json"
README, EVALUATION, SYSTEMS = ROOT / "README.md", ROOT / "docs" / "evaluation.md", ROOT / "docs" / "systems.md"
DATA = ROOT / "docs" / "data.md"
ENDS = ("", "/low", "/high")
BESIDE = [key + end for key in NAMES for end in ENDS]


def beside_table(other: dict[str, float], heading: str = "as another machine's") -> str:
    """A markdown table: the demo's figures as they are published, and by the same plan of other images."""
    published: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    rows = [("figure", "test section", heading)]
    for key, name in NAMES.items():
        cells = (
            "{:.3f} ({:.3f} to {:.3f})".format(*(run[key + end] for end in ENDS))
            for run in (published["metrics"], other)
        )
        rows.append((name, *cells))
    return text_table(rows, markdown=True)


TABLES = {  # its file in the experiment's folder, its page, what makes the table, which figures it wants (None: all)
    "seeds": ("label_efficiency.json", EVALUATION, shares_table, None),
    "seeds_as_demo": ("label_efficiency.json", EVALUATION, shares_table, None),
    "shares": ("label_efficiency.json", EVALUATION, shares_table, None),
    "twentieth": ("label_efficiency.json", EVALUATION, shares_table, None),
    "shares_before": ("label_efficiency.json", EVALUATION, shares_table, None),
    "systems": ("systems.json", SYSTEMS, systems_tables, None),
    "anatomies": ("left_out_anatomy.json", DATA, anatomies_tables, None),
    "other": ("metrics.json", README, beside_table, BESIDE),
    "unseen": ("metrics.json", EVALUATION, beside_table, BESIDE),
    "further": ("metrics.json", EVALUATION, partial(beside_table, heading="1,600 further images"), BESIDE),
}


def main(
    seeds: str | None = None,
    seeds_as_demo: str | None = None,
    shares: str | None = None,
    twentieth: str | None = None,
    shares_before: str | None = None,
    systems: str | None = None,
    anatomies: str | None = None,
    other: str | None = None,
    unseen: str | None = None,
    further: str | None = None,
) -> None:
    """Keep and show what these folders of experiments and of the demo hold; others stay."""
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    given = {"seeds": seeds, "seeds_as_demo": seeds_as_demo, "shares": shares, "twentieth": twentieth}
    given |= {
        "shares_before": shares_before,
        "systems": systems,
        "anatomies": anatomies,
        "other": other,
        "unseen": unseen,
        "further": further,
    }
    for name, folder in given.items():
        if folder is not None:
            file, page, rendered, wanted = TABLES[name]
            figures = json.loads((Path(folder) / file).read_text(encoding="utf-8"))
            kept[name] = figures if wanted is None else {key: figures[key] for key in wanted}
            put_table(page, name, rendered(kept[name]))
    write_file(KEPT, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    fire.Fire(main)
