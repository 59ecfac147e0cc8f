"""Put the tables of experiments over seeds into the pages: python -m scripts.publish_experiments --seeds eval/seeds

What the tables print is kept in docs/experiments.json; a test renders it again and compares.
"""

import json
from pathlib import Path
from typing import Any

import fire

from bundle.atomic import write_file
from scripts.compare_systems import systems_tables
from scripts.label_efficiency import shares_table
from scripts.publish_figures import put_table

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "experiments.json"
EVALUATION, SYSTEMS = ROOT / "docs" / "evaluation.md", ROOT / "docs" / "systems.md"
TABLES = {  # its file in the experiment's folder, its page, and what makes the table
    "seeds": ("label_efficiency.json", EVALUATION, shares_table),
    "shares": ("label_efficiency.json", EVALUATION, shares_table),
    "systems": ("systems.json", SYSTEMS, systems_tables),
}


def main(seeds: str | None = None, shares: str | None = None, systems: str | None = None) -> None:
    """Keep and show what these folders of `label_efficiency` and `compare_systems` hold; the other tables stay."""
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    given = {"seeds": seeds, "shares": shares, "systems": systems}
    for name, folder in given.items():
        if folder is not None:
            file, page, rendered = TABLES[name]
            kept[name] = json.loads((Path(folder) / file).read_text(encoding="utf-8"))
            put_table(page, name, rendered(kept[name]))
    write_file(KEPT, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    fire.Fire(main)
