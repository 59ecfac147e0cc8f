"""What comes along with a module: what it imports, whoever lends it, and the files beside it that it opens."""

from pathlib import Path

import pytest

from bundle.export.closure import import_closure

FILES = {
    "bundle/__init__.py": "",
    "bundle/user.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import bundle.typed\n"
    "def f():\n    from bundle.lending import Late\n",
    "bundle/typed.py": "",
    "bundle/lending/__init__.py": "if TYPE_CHECKING:\n    from bundle.lending.late import Late as Late\n"
    "    from bundle.lending.other import Other as Other\n",
    "bundle/lending/late.py": "PAGE = Path(__file__).with_name('page.html')\n",
    "bundle/lending/other.py": "FONT = 'font.ttf'\n",
    **dict.fromkeys(("bundle/lending/page.html", "bundle/lending/font.ttf", "bundle/lending/font.LICENSE"), ""),
}


@pytest.fixture
def root(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


LATE = ["__init__.py", "lending/__init__.py", "lending/late.py", "lending/page.html"]


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ("bundle.typed", ["__init__.py", "typed.py"]),
        ("bundle.user.f", [*LATE, "user.py"]),
        ("bundle.lending.Late", LATE),
        ("bundle.lending.Late.method", LATE),
        (
            "bundle.lending.Other",
            [*LATE[:2], *(f"lending/{name}" for name in ("font.LICENSE", "font.ttf", "other.py"))],
        ),
    ],
)
def test_what_comes_along(root, entry, files):
    assert import_closure(root, [entry]) == [Path(root, "bundle", name) for name in files]


@pytest.mark.parametrize("entry", ["bundle.nothing", "bundle.nothing.f.g", "other.f"])
def test_what_is_not_there_is_named(root, entry):
    with pytest.raises(FileNotFoundError, match=f"no module {entry} in"):
        import_closure(root, [entry])
