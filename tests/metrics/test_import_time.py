"""What `import bundle.metrics` loads: figures of records, and what prints them, need neither torch nor MONAI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bundle.metrics

ROOT = Path(__file__).resolve().parents[2]
SLOW = ("torch", "monai", "ignite", "sklearn", "transformers")


def test_no_slow_package_is_loaded():
    loaded = "sys, bundle.metrics, scripts.show_comparison, scripts.show_metrics"
    program = f"import {loaded}; print([name for name in {SLOW} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_works_on_tensors_is_loaded_when_asked_for():
    for name in bundle.metrics._MODULES:
        assert getattr(bundle.metrics, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_metric"):
        bundle.metrics.no_such_metric  # noqa: B018
