"""The figures of what is not assessed, as docs/data.md gives them, are those of the real lists."""

import re
from pathlib import Path

from scripts.benchmark_gate import main

DOCS = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def test_the_documented_figures_are_those_of_the_command(capsys):
    main()
    printed = capsys.readouterr().out
    text = DOCS.read_text(encoding="utf-8")
    assert printed in text
    rows = [[int(cell.replace(",", "")) for cell in row.split("|")[2:-1]] for row in printed.splitlines()[2:]]
    frontal, refused = (sum(row[column] for row in rows) for column in (0, 1))
    assert f"So {refused} of {frontal:,} frontal chests are refused" in text
    with_headers = [row for row in rows if row[3]]  # of laterals some are refused: the list has their views
    share = sum(row[3] for row in with_headers) / sum(row[2] for row in with_headers)
    (said,) = re.findall(r"whose lists have their headers, (\d+)% are", text)
    assert round(100 * share) == int(said)
