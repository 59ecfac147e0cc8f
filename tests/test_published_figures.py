"""The tables of the pages are those of the figures that were kept."""

import json
import re

import pytest

import bundle
from scripts import publish_experiments, publish_history
from scripts.benchmark_rows import table_of
from scripts.publish_figures import KEPT, PAGES, rendered

TABLES = rendered(**json.loads(KEPT.read_text(encoding="utf-8")))
EXPERIMENTS = json.loads(publish_experiments.KEPT.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in PAGES.items() for name in names])
def test_a_table_is_what_was_measured(page, name):
    assert placed(page, name) == TABLES[name].strip()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiments_table_is_what_was_measured(name):
    _, page, table, _ = publish_experiments.TABLES[name]
    assert placed(page, name) == table(EXPERIMENTS[name]).strip()


def test_the_benchmarks_table_is_what_was_measured():
    said = json.loads((publish_history.ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))
    assert placed(publish_history.PAGE, "benchmarks") == table_of(said["rows"], said["not_run"], markdown=True).strip()
    assert not said["quick"]
    assert not any(row["busy"] for row in said["rows"])


def test_the_history_ends_with_this_version_and_the_demos_figures():
    entries = json.loads(publish_history.KEPT.read_text(encoding="utf-8"))
    assert placed(publish_history.PAGE, "history") == publish_history.history_table(entries)
    last = entries[-1]
    assert {key: last[key] for key in ("auroc", "sensitivity")} == publish_history.demo_quality()
    assert last["version"] == bundle.__version__
    minutes = re.findall(
        r"^\| minutes \|.*\| ([\d.]+) \|$", (publish_history.ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert minutes == [str(last["minutes"])]


def test_a_release_is_added_with_the_demos_figures(tmp_path, monkeypatch):
    for name in ("KEPT", "PAGE"):
        copied = tmp_path / getattr(publish_history, name).name
        copied.write_bytes(getattr(publish_history, name).read_bytes())
        monkeypatch.setattr(publish_history, name, copied)
    before = json.loads(publish_history.KEPT.read_text())
    with pytest.raises(SystemExit, match="needs all of"):
        publish_history.main(minutes=5.0)
    shorter = round(before[-1]["minutes"] - 2, 1)
    publish_history.main(minutes=shorter, on="a machine", change="less of it")
    *kept, added = json.loads(publish_history.KEPT.read_text())
    assert kept == before
    assert added["version"] == bundle.__version__
    assert {key: added[key] for key in ("auroc", "sensitivity")} == publish_history.demo_quality()
    last = placed(publish_history.PAGE, "history").splitlines()[-1]
    assert [cell.strip() for cell in last.split("|")[3:8:2]] == [
        f"{shorter} (-2.0)",
        f"{added['auroc']:.3f} (+0.000)",
        "less of it",
    ]


def placed(page, name):
    """What stands in a table's place in a page."""
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(text) > 100
    return text.strip()
