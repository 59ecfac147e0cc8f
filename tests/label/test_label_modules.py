"""Runs the tests of modules that import MONAI Label, label_*.py, in .venv-label, all in one process."""

import subprocess

import pytest

from tests.label.server import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow


def test_the_modules_that_import_monai_label(label_python, tmp_path):
    files = sorted((ROOT / "tests" / "label").glob("label_*.py"))
    assert len(files) == 4
    command = [label_python, "-m", "pytest", "-q", "-o", "filterwarnings=", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", ROOT / "pyproject.toml", *files],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
