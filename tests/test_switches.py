"""Switches of the scripts: true, false, and nothing else."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import fire
import pytest

from scripts import prepare_datalist
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


def test_no_script_reads_its_switches_otherwise():
    bare = []
    for path in sorted(SCRIPTS.glob("*.py")):
        for names in re.findall(r"fire\.Fire\(([^()]*)\)", path.read_text()):  # no call in it, so not with_switches
            module = import_module(f"scripts.{path.stem}")
            for name in re.findall(r"(?<!\")\b[a-z_]+\b(?!\")", names):
                each = getattr(module, name, None)
                if inspect.isfunction(each):
                    known = inspect.signature(each).parameters.values()
                    bare += [f"{path.name}: {p.name}" for p in known if isinstance(p.default, bool)]
    assert not bare


def test_the_sources_of_a_datalist_read_theirs_so():
    with pytest.raises(SystemExit, match=r"^--allow_missing: found no; wanted true or false\.$"):
        fire.Fire(prepare_datalist.commands(), command=["table", "--allow_missing", "no"])
