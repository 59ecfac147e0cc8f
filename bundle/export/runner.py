"""What `python -m bundle.onnx_run` takes beside an exported file: the modules that it imports, and no others."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

ENTRY = "bundle.onnx_run"
REQUIREMENTS = ("requirements-onnx.txt", "requirements-reading.txt", "constraints.txt")


def import_closure(root: Path, entry: str = ENTRY) -> list[Path]:
    """The files of the modules of `bundle` that a module imports, in functions too, and what those import.

    What is imported for the type checker alone is left out, and so is what a package loads by name when it is asked.

    Args:
        root: the folder in which `bundle` lies.
        entry: the module to begin with.

    Returns:
        Paths, sorted.

    Raises:
        FileNotFoundError: there is no such module.
    """
    found: set[Path] = set()
    waiting = [entry]
    if _file(root, entry) is None:
        raise FileNotFoundError(f"There is no module {entry} in {root}.")
    while waiting:
        name = waiting.pop()
        path = _file(root, name)
        if path is None or path in found:  # a name in a module, or known
            continue
        found.add(path)
        waiting.append(name.rpartition(".")[0])  # its package's __init__ runs first
        waiting += _imported(path.read_text(encoding="utf-8"))
    return sorted(found)


def write_runner(root: Path, output: Path) -> list[Path]:
    """Copy the modules of `bundle.onnx_run` and its requirements into `output`, beside the exported file.

    Args:
        root: the repository.
        output: a folder; `output/bundle` is replaced as a whole.

    Returns:
        What was written.

    Raises:
        ValueError: `output/bundle` was not written by this function.
    """
    folder = output / "bundle"
    if folder.exists():
        if not (folder / "onnx_run.py").is_file() or (folder / "networks").exists():
            raise ValueError(f"{folder} would be replaced, and is no runner's. Give another output folder.")
        shutil.rmtree(folder)
    files = [*import_closure(root), *(root / name for name in REQUIREMENTS)]
    for file in files:
        target = output / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return [output / file.relative_to(root) for file in files]


def _file(root: Path, name: str) -> Path | None:
    """The file of a module or package; None where the name is neither."""
    base = root.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if name and path.is_file()), None)


def _imported(source: str) -> Iterator[str]:
    """Modules of `bundle` that a source names; of `from bundle.a import b` both `bundle.a` and `bundle.a.b`."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
        yield from (name for name in names if name.split(".")[0] == "bundle")
