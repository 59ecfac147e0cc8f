"""Tracking by `--tracking` settings."""

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from bundle.fingerprint import file_fingerprint
from bundle.handlers.run_source import commit_tags
from tests.handlers.tracked_engines import (
    ROOT,
    artifacts,
    runs,
)

CONFIGS = {
    "metadata.json": {"version": "0.1.0"},
    "train.json": {
        "imports": ["$import tests.handlers.tracked_engines as tracked_engines"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "ckpt_path": "$@output_dir + '/model.pt'",
        "max_epochs": 2,
        "datalist": "$@output_dir + '/datalist.json'",
        "learnt_from": {
            "_target_": "bundle.made_for.made_for",
            "datalist": "@datalist",
            "section": "training",
            "findings": ["Mass"],
        },
        "train": {
            "handlers": [],
            "trainer": "$tracked_engines.trainer(*@train#handlers, validator=@validate#evaluator)",
        },
        "validate": {
            "handlers": [],
            "evaluator": "$tracked_engines.evaluator(tracked_engines.Details(@output_dir), *@validate#handlers)",
        },
        "training": [{"_target_": "bundle.guard.refuse_unknown_overrides"}, "@learnt_from", "$@train#trainer.run()"],
        "evaluating": [{"_target_": "bundle.guard.refuse_unknown_overrides"}, "$@validate#evaluator.run()"],
    },
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    for name, content in CONFIGS.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def run_by_configuration(configs: Path, run_id: str, **override: Any) -> None:
    tracked = str(ROOT / "configs" / "tracking_mlflow.json")
    workflow = ConfigWorkflow(
        str(configs / "train.json"), logging_file=False, run_id=run_id, tracking=tracked, **override
    )
    workflow.initialize()
    workflow.run()


@pytest.mark.parametrize("plain", [True, False])
def test_the_settings_work_by_configuration(configs: Path, output_dir: Path, plain: bool) -> None:
    place = str(output_dir) if plain else f"$'{output_dir}'"
    (output_dir / "datalist.json").write_text("{}")
    run_by_configuration(configs, "training", output_dir=place, max_epochs=7)
    run_by_configuration(configs, "evaluating", output_dir=place)
    training, evaluating = runs(output_dir)
    assert training.info.run_name != evaluating.info.run_name
    assert {training.info.status, evaluating.info.status} == {"FINISHED"}
    judged = {"config.json", "metrics.json", "figures/froc.png", "tables/froc.csv"}
    assert artifacts(training) == judged | {"models/model.pt"}
    assert artifacts(evaluating) == judged
    assert training.data.params["max_epochs"] == "7"  # the merged configuration, overrides included
    assert training.data.params["ckpt_path"] == f"{output_dir}/model.pt"  # resolved
    (data,) = training.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("training", file_fingerprint(output_dir / "datalist.json"))
    assert commit_tags().items() <= training.data.tags.items()
    assert {"froc", "loss/patch", "lr"} <= training.data.metrics.keys()
    assert "froc" in evaluating.data.metrics
    run_by_configuration(configs, "training", output_dir=place, is_not_rank0=True)
    assert len(runs(output_dir)) == 2  # only rank 0 tracks
