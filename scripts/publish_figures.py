"""Put the demo's figures into the pages: python -m scripts.publish_figures eval/demo

What the tables print is kept in docs/demo_figures.json; a test renders it again and compares.
"""

import json
import re
from pathlib import Path
from typing import Any

import fire

from bundle.atomic import write_file
from scripts.show_comparison import methods_table, not_localised
from scripts.show_metrics import findings_table, shown_table

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "demo_figures.json"
PAGES = {  # and the tables that each has
    ROOT / "README.md": ("shown", "findings", "methods", "not localised"),
    ROOT / "docs" / "README.md": ("shown", "findings"),
}


class _Read(dict[str, Any]):
    """A mapping that knows which of its entries were asked for."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.asked: dict[str, None] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """As a dict's."""
        self.asked[key] = None
        return super().get(key, default)


def main(folder: str) -> None:
    """Keep what the tables print, and write them into the pages."""
    source = Path(folder)
    metrics, comparison, about = (
        json.loads((source / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("metrics", "comparison", "comparison_notes")
    )
    read, compared, notes = _Read(metrics), _Read(comparison), _Read(about["notes"])
    rendered(read, compared, {**about, "notes": notes})
    said = {key: text for key, text in about["notes"].items() if key in notes.asked or key.startswith("not_localised")}
    kept = {
        "metrics": {key: value for key, value in metrics.items() if key in read.asked or key.startswith("n_images/")},
        "comparison": {key: value for key, value in comparison.items() if key in compared.asked},
        "about": {"reference": about["reference"], "methods": about["methods"], "notes": said},
    }
    write_file(KEPT, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    tables = rendered(**kept)
    for file, names in PAGES.items():
        for name in names:
            put_table(file, name, tables[name])


def put_table(page: Path, name: str, table: str) -> None:
    """Put a table, or nothing, into its place in a page: <!-- name --> ... <!-- end -->."""
    new = rf"\g<1>\n{table.strip()}\n\n\g<2>" if table else r"\g<1>\g<2>"
    text = page.read_text(encoding="utf-8")
    text, times = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", new, text, flags=re.DOTALL)
    if times != 1:
        raise SystemExit(f"{page}: wanted one place <!-- {name} --> ... <!-- end -->, found {times}")
    write_file(page, text)


def rendered(metrics: dict[str, Any], comparison: dict[str, Any], about: dict[str, Any]) -> dict[str, str]:
    """The pages' tables by the names of their places."""
    return {
        "shown": shown_table(metrics, markdown=True),
        "findings": findings_table(metrics, markdown=True),
        "methods": methods_table(comparison, about),
        "not localised": "\n".join(f"- {line}" for line in not_localised(about["notes"])),
    }


if __name__ == "__main__":
    fire.Fire(main)
