"""The part of `bundle` that something needs: the modules that it imports, and the files that these open by name."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def import_closure(root: Path, entries: Iterable[str]) -> list[Path]:
    """The files of the modules of `bundle` that names stand for, of what those import, in functions too, and so on.

    What is imported for the type checker alone is left out, unless a package gives one of these names to who asks for
    it ("bundle.results.SaveFindingsd"). Of files that are no modules come those whose name stands in a module beside
    them, and those of the same name with another suffix (a font's licence).

    Args:
        root: the folder in which `bundle` lies.
        entries: modules, or what is in them: "bundle.onnx_run", "bundle.networks.PatchCLIP".

    Returns:
        Paths, sorted.

    Raises:
        FileNotFoundError: there is no such module.
    """
    waiting = list(entries)
    for entry in waiting:
        name = entry
        while _file(root, name) is None and name.count(".") > 1:
            name = name.rpartition(".")[0]
        if _file(root, name) is None:
            raise FileNotFoundError(f"There is no module {entry} in {root}.")
    trees: dict[Path, ast.Module] = {}
    known = {""}  # what `bundle` itself lies in
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        package, _, last = name.rpartition(".")
        path = _file(root, name)
        if path is None:  # a name in a module
            waiting.append(package)
            if (home := _file(root, package)) is not None:
                waiting += _lent(ast.parse(home.read_text(encoding="utf-8")), last)
        else:
            trees[path] = ast.parse(path.read_text(encoding="utf-8"))
            waiting.append(package)  # its package's __init__ runs first
            waiting += _imported(trees[path])
    opened = {file for path, tree in trees.items() for file in _opened(path, tree)}
    return sorted({*trees, *opened})


def _file(root: Path, name: str) -> Path | None:
    """The file of a module or package; None where the name is neither."""
    base = root.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if name and path.is_file()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    """Modules of `bundle` that a source names; of `from bundle.a import b` both `bundle.a` and `bundle.a.b`."""
    for node in runtime_imports(tree):
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
        yield from (name for name in names if name.split(".")[0] == "bundle")


def runtime_imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements of a source, in functions too, but not those for the type checker alone."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


def _lent(tree: ast.Module, name: str) -> Iterator[str]:
    """The modules from which a source has a name, for the type checker too: a package that loads it when it is asked
    for says so there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(name == (alias.asname or alias.name) for alias in node.names):
            yield str(node.module)


def _opened(path: Path, tree: ast.Module) -> Iterator[Path]:
    """The files beside a module, no modules themselves, that it names, and those with only another suffix."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    others = [file for file in path.parent.iterdir() if file.is_file() and file.suffix not in (".py", ".pyc")]
    stems = {file.stem for file in others if file.name in texts}
    yield from (file for file in others if file.stem in stems)
