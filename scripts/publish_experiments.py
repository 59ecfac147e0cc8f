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


SHARES = ("label_efficiency.json", EVALUATION, shares_table, None)
TABLES = {  # its file in the experiment's folder, its page, what makes the table, which figures it wants (None: all)
    **dict.fromkeys(("seeds", "seeds_as_demo", "shares", "twentieth", "shares_before"), SHARES),
    "systems": ("systems.json", SYSTEMS, systems_tables, None),
    "anatomies": ("left_out_anatomy.json", DATA, anatomies_tables, None),
    "other": ("metrics.json", README, beside_table, BESIDE),
    "unseen": ("metrics.json", EVALUATION, beside_table, BESIDE),
    "further": ("metrics.json", EVALUATION, partial(beside_table, heading="1,600 further images"), BESIDE),
}


def main(**folders: str) -> None:
    """Keep and show what these folders of experiments and of the demo hold, by the names in `TABLES`; others stay."""
    if unknown := folders.keys() - TABLES.keys():
        raise SystemExit(f"Found --{', --'.join(sorted(unknown))}; wanted some of --{', --'.join(TABLES)}.")
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    for name, folder in folders.items():
        file, page, rendered, wanted = TABLES[name]
        figures = json.loads((Path(folder) / file).read_text(encoding="utf-8"))
        kept[name] = figures if wanted is None else {key: figures[key] for key in wanted}
        put_table(page, name, rendered(kept[name]))
    write_file(KEPT, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    fire.Fire(main)
