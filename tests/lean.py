"""Environments that hold what a requirements file states, what that needs, and nothing else: links into this one."""

import re
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def stated(name: str) -> list[Requirement]:
    """The requirements of a file of the repository, and of those that it includes."""
    found = []
    for line in (ROOT / name).read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            found += stated(text.removeprefix("-r ").strip())
        elif text:
            found.append(Requirement(text))
    return found


def needed(requirements: list[Requirement]) -> dict[str, Distribution]:
    """The installed distributions that these requirements bring, by their normalised names, as pip would."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found[name] = distribution(requirement.name)
            for text in found[name].requires or []:
                more = Requirement(text)
                if more.marker is None or more.marker.evaluate({"extra": extra}):
                    waiting.append(more)
    return found


def environment(folder: Path, name: str) -> tuple[Path, int]:
    """A virtual environment of a requirements file, without pip.

    Args:
        folder: to make.
        name: of the file.

    Returns:
        Its interpreter, and the bytes on disk of what is linked, which an installation would copy.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    size = 0
    for each in needed(stated(name)).values():
        for source, target in _links(each):
            if not (site / target).exists():
                (site / target).parent.mkdir(parents=True, exist_ok=True)
                (site / target).symlink_to(source)
        paths = {Path(each.locate_file(file)) for file in each.files or []}
        size += sum(512 * path.stat().st_blocks for path in paths if path.is_file())
    return folder / "bin" / "python", size


def _links(each: Distribution) -> Iterator[tuple[Path, str]]:
    """What of a distribution is linked, and where: folders of its own as a whole, in shared ones file by file."""
    names = [str(file) for file in each.files or [] if file.parts[0] not in ("..", "__pycache__")]
    inits = {name for name in names if name.endswith("/__init__.py")}
    for name in names:
        top, _, below = name.partition("/")
        own = not below or f"{top}/__init__.py" in inits or top.endswith((".dist-info", ".libs"))
        target = top if own else name
        yield Path(each.locate_file(target)), target
