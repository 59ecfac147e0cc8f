"""What `import bundle.metrics` loads: figures of records need neither torch nor MONAI, which take seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bundle.metrics

ROOT = Path(__file__).resolve().parents[2]
SLOW = ("torch", "monai", "ignite", "sklearn", "transformers")


def test_no_slow_package_is_loaded():
    program = f"import sys, bundle.metrics; print([name for name in {SLOW} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_works_on_tensors_is_loaded_when_asked_for():
    for name in bundle.metrics._MODULES:
        assert getattr(bundle.metrics, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_metric"):
        bundle.metrics.no_such_metric  # noqa: B018
