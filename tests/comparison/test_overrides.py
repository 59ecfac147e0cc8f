"""Overrides of trainings that run in this process."""

import pytest

from bundle.comparison.systems import SystemsComparison
from tests.workflows.conftest import ROOT


def test_a_misspelt_override_is_refused(tmp_path):
    files = [ROOT / "configs" / name for name in ("train.json", "demo.json", "minilm.json")]
    SystemsComparison(files, ROOT / "configs", tmp_path, overrides={"max_epochs": 3, "vqa_dir": "x"})
    with pytest.raises(ValueError, match=r"Unknown overrides \['max_epoch'\]"):
        SystemsComparison(files, ROOT / "configs", tmp_path, overrides={"max_epoch": 3})
