"""What is copied beside an exported file: the modules that the runner imports, and no folder of somebody else."""

import ast
from pathlib import Path

import pytest

from bundle.export.closure import import_closure
from bundle.export.runner import ENTRY, write_runner

ROOT = Path(__file__).resolve().parents[2]


def test_the_closure_is_what_is_imported_and_no_more():
    files = {path.relative_to(ROOT).as_posix() for path in import_closure(ROOT, [ENTRY])}
    assert {"bundle/onnx_run.py", "bundle/reading/decode_worker.py", "bundle/reading/decode_pictures.py"} <= files
    assert {"bundle/metrics/__init__.py", "bundle/metrics/candidate_tables.py"} <= files
    assert not {"bundle/metrics/candidates.py", "bundle/results/save_findings.py", "bundle/grid.py"} & files
    assert not [name for name in files if name.startswith(("bundle/networks", "bundle/export", "bundle/transforms"))]
    for name in files:
        for node in ast.parse((ROOT / name).read_text()).body:  # what an import of it runs
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {"torch", "monai", "itk"} & {each.split(".")[0] for each in names}, name


def test_a_second_runner_holds_nothing_of_the_first_and_replaces_nothing_else(tmp_path):
    written = write_runner(ROOT, tmp_path)
    assert {path.name for path in written} >= {"onnx_run.py", "requirements-reading.txt", "requirements-onnx.txt"}
    assert all(path.is_file() for path in written)
    (tmp_path / "bundle" / "old.py").write_text("")
    assert write_runner(ROOT, tmp_path) == written
    assert not (tmp_path / "bundle" / "old.py").exists()
    (tmp_path / "bundle" / "networks").mkdir()  # a whole package
    with pytest.raises(ValueError, match=r"bundle would be replaced, and is no runner's\. Give another output folder"):
        write_runner(ROOT, tmp_path)
    (tmp_path / "other" / "bundle").mkdir(parents=True)
    with pytest.raises(ValueError, match="no runner's"):
        write_runner(ROOT, tmp_path / "other")
