"""Every benchmark runs at its smallest size, with finite figures; names, settings, a busy machine, the JSON."""

import json
import math
import re

import psutil
import pytest

from bundle.versions import versions
from scripts import benchmark
from scripts.benchmark_rows import BENCHMARKS, BUSY, Row
from tests.checkout import ROOT

ELSEWHERE = {"reading.isolated": "tests/reading", "reading.import": "tests/reading"}  # run, and looked at, there
SLOW = {"loading.demo"}
RUN = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name, each in BENCHMARKS.items()
    if each.small and name not in ELSEWHERE
]


@pytest.mark.parametrize("name", RUN)
def test_it_runs_and_gives_finite_figures(name):
    if name == "metrics.froc_against_picai_eval":
        pytest.importorskip("picai_eval")
    rows = BENCHMARKS[name].run(**BENCHMARKS[name].small)
    assert rows
    for row in rows:
        assert f"{row.name}.".startswith(f"{name}.")
        figures = [*row.measured, 1.0 if row.ratio is None else row.ratio]
        assert all(math.isfinite(figure) for figure in figures)
        assert len(row.measured) == 1 or min(figures) > 0
    assert len({row.name for row in rows}) == len(rows)


def test_what_is_not_run_here_needs_something():
    assert {name for name, each in BENCHMARKS.items() if not each.small} == {
        *("exports.images", "metrics.share_of_default_pass", "metrics.share_of_demo_pass", "serving.requests")
    }
    assert all(each.needs for each in BENCHMARKS.values() if not each.small)


def test_an_unknown_name_and_an_unknown_setting_are_refused_with_what_there_is():
    with pytest.raises(SystemExit) as caught:
        benchmark.main("loss.agains")
    assert all(name in str(caught.value) for name in BENCHMARKS)
    assert benchmark.chosen_of(("step", "exports")) == [
        *("exports.images", "step.against_bare_tower", "step.against_published", "step.share_of_heads")
    ]
    with pytest.raises(SystemExit, match=r"--file is an argument of none.*loss.against_published: batch, patches"):
        benchmark.main("loss", file=1)


@pytest.mark.parametrize("load", [0.9 * BUSY, 1.1 * BUSY])
def test_rows_and_machine_are_written_and_a_busy_machine_is_said_to_be(tmp_path, capsys, monkeypatch, load):
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: load)
    benchmark.main("loss", "sparse.padded", quick=True, output=str(tmp_path / "b.json"), markdown=True, batch=3)
    said = json.loads((tmp_path / "b.json").read_text())
    rows, busy = said["rows"], load > BUSY
    assert [row["name"] for row in rows] == ["loss.against_published", "sparse.padded"]
    assert [row["busy"] for row in rows] == [busy, busy]
    assert rows[0].keys() == {*Row.__dataclass_fields__, "ratio", "load", "busy"}
    assert "3 images of 9 patches" in rows[0]["what"]  # the setting, and the rest as small as it gets
    assert rows[0]["ratio"] == rows[0]["measured"][1] / rows[0]["measured"][0]
    assert said["machine"]["versions"] == versions()
    assert said["machine"].keys() >= {"processor", "cores", "threads", "commit", "load", "peak_mib"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("|") for line in lines] == [5] * 4
    assert [f"(busy: {load:.0f}% before)" in line for line in lines[2:]] == [busy, busy]


def test_a_row_says_what_was_measured_and_wanted():
    assert Row("a", "", (0.022, 27.41), "s", "as fast", ("at least", 1000)).cells() == (
        "0.022 s against 27.4 s: 1,246x as fast",
        "at least 1,000x",
    )
    assert Row("a", "", (2.1, 2.0), "ms", wanted=("at most", 1.05)).cells() == (
        "2.1 ms against 2 ms: 1.05x as long",
        "at most 1.05x",
    )
    assert Row("a", "", (1.5,), "s", wanted=("at most", 2)).cells() == ("1.5 s", "at most 2 s")


def test_the_docs_name_benchmarks_that_there_are():
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    named = [
        each for page in pages for each in re.findall(r"scripts\.benchmark ((?:[a-z][\w.]* ?)+)", page.read_text())
    ]
    assert len(named) > 5
    for names in named:
        assert benchmark.chosen_of(tuple(names.split()))
