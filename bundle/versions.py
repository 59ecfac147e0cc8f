"""What software made a result, and whether a package is of the version of this code that runs."""

import ast
import filecmp
import logging
import platform
from importlib import metadata
from pathlib import Path

import bundle

logger = logging.getLogger(__name__)

_told: set[Path] = set()  # of which packages this process has warned
_PACKAGES = ("monai", "torch", "pytorch-ignite", "transformers", "numpy", "scikit-learn", "pydicom", "nibabel", "itk")


class OtherVersionError(ValueError):
    """A package was made by another version of this code; the message names both, and what to do."""


def versions() -> dict[str, str]:
    """Version of Python and of every package that results depend on; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def refuse_other_version(folder: str | Path) -> None:
    """Compare the code that a package carries with the code that runs, which need not be the package's own.

    Every package's code is named `bundle`, and a process imports one `bundle`: the repository's in the services, the
    first package's where several are used in one process. The package's is read, not imported. Other code of the same
    version is a warning, once.

    Args:
        folder: the package, with its code in `bundle`.

    Raises:
        OtherVersionError: its code is of another version, or of none.
    """
    theirs, ours = Path(folder).resolve() / "bundle", Path(bundle.__file__).resolve().parent
    if theirs.resolve() == ours:
        return
    made_by = _version(theirs / "__init__.py")
    if made_by != bundle.__version__:
        raise OtherVersionError(
            f"{folder} was made by {f'version {made_by}' if made_by else 'code without a version'} ({theirs}), and "
            f"what runs here is version {bundle.__version__} ({ours}). Package its training again with the code that "
            "runs here (`python -m scripts.package_bundle`), or run the code that made it: a workflow of a package, by "
            "starting it in a process of its own, in the package's folder."
        )
    other = [
        path.relative_to(theirs).as_posix()
        for path in sorted(theirs.rglob("*.py"))
        if not (own := ours / path.relative_to(theirs)).is_file() or not filecmp.cmp(path, own, shallow=False)
    ]
    if other and theirs not in _told:
        _told.add(theirs)
        logger.warning(
            "%s carries other code than runs here (%s), of the same version %s: %s%s. Package its training again, or "
            "results may differ from those that it was judged by.",
            *(folder, ours, bundle.__version__, ", ".join(other[:3])),
            f" and {len(other) - 3} more files" if len(other) > 3 else "",
        )


def _version(file: Path) -> str | None:
    """`__version__` of a source; None where it has none, or there is no such file."""
    if not file.is_file():
        return None
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant(value=str(version))):
                return version
    return None
