"""The rooms of bundle/ import one another as the picture in docs/design.md says: downwards, so in no circle."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.export.closure import runtime_imports

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
ROOMS = {path.stem for path in BUNDLE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} - {
    "__init__"
}


def lines_of(picture: str) -> dict[str, int]:
    """Room -> its line, from above: the words of a line up to two blanks, behind which it is explained."""
    lines: dict[str, int] = {}
    for number, line in enumerate(picture.strip().splitlines()):
        for room in re.split(r"\s{2,}", line)[0].split():
            assert room not in lines, f"{room} is twice in the picture"
            lines[room] = number
    return lines


def rooms_imported(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """The rooms that a module of a package names, in functions too, but not for the type checker alone."""
    for node in runtime_imports(ast.parse(source)):
        names = [name.name for name in node.names]
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{name}" for name in names]
        yield from (name.split(".")[1] for name in names if name.startswith("bundle."))


LINES = lines_of(re.search(r"```rooms\n(.*?)```", (ROOT / "docs" / "design.md").read_text(), re.DOTALL)[1])


def test_every_room_is_in_the_picture():
    assert LINES.keys() == ROOMS


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_those_below_it(room):
    paths = sorted((BUNDLE / room).rglob("*.py")) if (BUNDLE / room).is_dir() else [BUNDLE / f"{room}.py"]
    for path in paths:
        for other in rooms_imported(path.read_text(), path.relative_to(ROOT).parent.parts):
            assert other == room or LINES[other] > LINES[room], f"{path.relative_to(ROOT)} imports {other}"


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import bundle.report.draw", ["report"]),
        ("from bundle import grid", ["grid"]),
        ("from bundle.data.texts import Texts", ["data"]),
        ("def f():\n    from bundle.networks import PatchCLIP", ["networks"]),
        ("from ..grid import patch_boxes", ["grid"]),
        ("from .. import grid", ["grid"]),
        ("from .froc import FROC", ["handlers"]),
        ("if TYPE_CHECKING:\n    from bundle.label import app", []),
        ("if typing.TYPE_CHECKING:\n    import torch\nelse:\n    import bundle.report", ["report"]),
        ("import torch", []),
    ],
)
def test_what_an_import_names(source, rooms):
    assert list(rooms_imported(source, ("bundle", "handlers"))) == rooms
