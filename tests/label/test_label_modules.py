"""Runs the tests of modules that import MONAI Label, label_*.py, in .venv-label."""

import subprocess

import pytest

from tests.label.server import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("file", ["label_archive.py", "label_changes.py", "label_modules.py", "label_pairs.py"])
def test_the_modules_that_import_monai_label(label_python, tmp_path, file):
    command = [label_python, "-m", "pytest", "-q", "-o", "filterwarnings=", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", ROOT / "pyproject.toml", ROOT / "tests" / "label" / file],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
