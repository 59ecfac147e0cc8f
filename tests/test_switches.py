"""Switches of the scripts: true, false, and nothing else."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import fire
import pytest

from scripts import benchmark, prepare_datalist
from scripts.benchmark_rows import BENCHMARKS
from scripts.switches import with_switches

SCRIPTS = Path(__file__).parents[1] / "scripts"


def command(path: str = "here", check: bool = True, prune: bool = False, **others: object) -> tuple[object, ...]:
    return path, check, prune, others


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("", ("here", True, False, {})),
        ("--check false --prune true", ("here", False, True, {})),
        ("--check=False --prune=True", ("here", False, True, {})),
        ("--nocheck --prune", ("here", False, True, {})),
        ("there --prune --rate 0.5 --kind true", ("there", True, True, {"rate": 0.5, "kind": "true"})),
    ],
)
def test_a_switch_is_true_or_false(typed, read):
    assert fire.Fire(with_switches(command), command=typed.split(), serialize=lambda _: "") == read


@pytest.mark.parametrize("typed", ["--check no", "--check 0", "--prune there"])
def test_another_word_is_refused(typed):
    with pytest.raises(SystemExit, match=rf"^{typed.split()[0]}: found {typed.split()[1]}; wanted true or false\.$"):
        fire.Fire(with_switches(command), command=typed.split())


def bare(source: str, namespace: dict[str, object]) -> tuple[list[str], list[str]]:
    """The commands that a script gives to fire, and the switches among them that nothing reads."""
    commands, switches = [], []
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    for call in calls:
        if ast.unparse(call.func) != "fire.Fire":
            continue
        read = {name for node in ast.walk(call.args[0]) if is_read(node) for name in ast.walk(node)}
        names = [n for n in ast.walk(call.args[0]) if isinstance(n, ast.Name)]
        names = [n for n in names if n.id not in ("with_switches", "commands")]
        commands += [n.id for n in names]
        for name in (n.id for n in names if n not in read):
            # dicom_node chooses among its functions
            found = [namespace[name]] if name in namespace else [f for f in namespace.values() if inspect.isfunction(f)]
            for each in found:
                known = inspect.signature(each).parameters.values()
                switches += [f"{name}: {p.name}" for p in known if isinstance(p.default, bool)]
    return commands, switches


def is_read(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "with_switches"


def test_no_script_reads_its_switches_otherwise():
    seen, left = [], []
    for path in sorted(SCRIPTS.glob("*.py")):
        if "fire.Fire(" in (source := path.read_text()):
            commands, switches = bare(source, vars(import_module(f"scripts.{path.stem}")))
            seen += commands
            left += [f"{path.name}, {each}" for each in switches]
    assert len(seen) > 40
    assert not left


def test_a_bare_switch_would_be_seen():
    namespace = {"command": command, "other": test_no_script_reads_its_switches_otherwise}
    source = 'fire.Fire({"a": with_switches(command), "b": command, "c": other})'
    commands, switches = bare(source, namespace)
    assert sorted(commands) == ["command", "command", "other"]
    assert switches == ["command: check", "command: prune"]


def test_a_benchmark_reads_its_own():
    named = [
        (name, p.name)
        for name, each in BENCHMARKS.items()
        for p in inspect.signature(each.run).parameters.values()
        if isinstance(p.default, bool)
    ]
    assert named == [("datalist.start", "whole")]
    with pytest.raises(SystemExit, match=r"^--whole: found no; wanted true or false\.$"):
        fire.Fire(with_switches(benchmark.main), command=["datalist.start", "--whole", "no"])


def test_the_sources_of_a_datalist_read_theirs_so():
    with pytest.raises(SystemExit, match=r"^--allow_missing: found no; wanted true or false\.$"):
        fire.Fire(prepare_datalist.commands(), command=["table", "--allow_missing", "no"])
