"""What `python -m bundle.onnx_run` takes beside an exported file: the modules that it imports, and no others."""

import shutil
from pathlib import Path

from bundle.export.closure import import_closure

ENTRY = "bundle.onnx_run"
REQUIREMENTS = ("requirements-onnx.txt", "requirements-reading.txt", "constraints.txt")


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
    files = [*import_closure(root, [ENTRY]), *(root / name for name in REQUIREMENTS)]
    for file in files:
        target = output / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return [output / file.relative_to(root) for file in files]
