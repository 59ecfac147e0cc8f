"""Unknown overrides stop a run, from whichever side they come."""

import json
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from monai.bundle.scripts import run

from bundle.guard import UnknownKeyError, refuse_unknown_overrides, unknown_paths

ROOT = Path(__file__).parents[1]
CONFIG = {
    "_desc_": "a small experiment",
    "imports": ["$import math"],
    "learning_rate": 0.1,
    "val_interval": 1,
    "unused": "no one reads it, but a file names it",
    "picked": {"_desc_": "read name by name", "floor": 0.5, "count": 3},
    "open": {"any": 1},
    "optimizer": {"_target_": "builtins.dict", "lr": "@learning_rate"},
    "train": {
        "trainer": {"_target_": "builtins.dict", "max_epochs": 2, "interval": "@val_interval", "open": "@open"},
        "handlers": [{"_target_": "builtins.dict", "floor": "$@picked['floor'] + @picked['count']"}],
    },
    "outcome": {"_target_": "builtins.dict", "trainer": "@train#trainer", "optimizer": "@optimizer"},
    "training": [{"_target_": "bundle.guard.refuse_unknown_overrides"}, "$@outcome"],
    "run": "%training",
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A configs folder with train.json, an overlay, a file that is not loaded, and metadata."""
    folder = tmp_path / "configs"
    folder.mkdir()
    contents = {
        "train.json": CONFIG,
        "overlay.json": {"stage": "for another", "stage_epochs": 1, "optimizer::lr": 0.5, "+open": {"more": 2}},
        "inference.json": {"input_folder": "x", "evaluator": None},
        "metadata.json": {"version": "0.1.0", "task": "a test"},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def outcome(configs: Path, *overlays: str | Path, run_id: str = "run", **override: Any) -> dict[str, Any]:
    """What the run list leaves, by the Python API."""
    files = [str(configs / "train.json"), *(str(configs / o) for o in overlays)]
    workflow = ConfigWorkflow(files, logging_file=False, run_id=run_id, **override)
    workflow.initialize()
    result: dict[str, Any] = workflow.run()[-1]
    return result


@pytest.mark.parametrize("run_id", ["run", "training"])
def test_known_overrides_pass_and_take_effect(configs: Path, run_id: str) -> None:
    override = {
        "val_interval": 5,
        "unused": "said again",
        "train#trainer#max_epochs": 7,
        "optimizer::lr": 0.3,
        "optimizer::momentum": 0.9,  # an argument that the file does not give
        "picked::floor": 0.1,
        "open::new": 3,  # read as a whole: it may hold anything
        "learning_rate": "@mine",
        "mine": 0.7,  # read by another override
        "_note_": "anything",
        "_meta_::version": "0.2.0",
    }
    result = outcome(configs, run_id=run_id, **override)
    assert result["trainer"] == {"max_epochs": 7, "interval": 5, "open": {"any": 1, "new": 3}}
    assert result["optimizer"] == {"lr": 0.3, "momentum": 0.9}


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("val_intervall", "Did you mean 'val_interval'"),
        ("lr", "Did you mean 'optimizer::lr'"),
        ("train::max_epochs", "Did you mean 'train::trainer::max_epochs'"),
        ("train#trainr", "Did you mean 'train::trainer'"),
        ("picked#flor", "Did you mean 'picked::floor'"),
        ("input_folder", "Known here: imports, learning_rate"),  # of a file that is not loaded
        ("stage", "Known here"),  # of an overlay that is not loaded
        ("version", "Known here"),  # of the metadata
        ("+open", "'+' merges within config files only"),
        ("run_name", "give that too"),
    ],
)
@pytest.mark.parametrize("run_id", ["run", "training"])
def test_an_unknown_override_stops_the_run(configs: Path, key: str, hint: str, run_id: str) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        outcome(configs, run_id=run_id, **{key: 5})
    assert f"Unknown key '{key.replace('#', '::')}'" in str(caught.value)
    assert hint in str(caught.value)


def test_every_unknown_key_is_named_at_once(configs: Path) -> None:
    with pytest.raises(UnknownKeyError, match=r"(?s)'train::trainr'.*'val_intervall'"):
        outcome(configs, val_intervall=5, **{"train#trainr": 1})


def test_overlays_may_name_what_is_not_read(configs: Path) -> None:
    result = outcome(configs, "overlay.json", stage="said again")
    assert result["optimizer"] == {"lr": 0.5}
    assert result["trainer"]["open"] == {"any": 1, "more": 2}


def test_a_misspelt_key_of_a_file_elsewhere_is_refused(configs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"val_intervall": 5}))
    with pytest.raises(UnknownKeyError, match="Did you mean 'val_interval'"):
        outcome(configs, mine)


@pytest.mark.parametrize(
    "tracking", ["mlflow", {"handlers_id": {}, "configs": {"run_name": "r", "extra": "@run_name"}}]
)
def test_what_tracking_adds_is_known(configs: Path, tmp_path: Path, tracking: Any) -> None:
    known = {"output_dir": str(tmp_path), "experiment_name": "e"}
    if isinstance(tracking, dict):
        with pytest.raises(UnknownKeyError, match="'extra'"):  # no handler reads it
            outcome(configs, tracking=tracking, **known)
        tracking["configs"].pop("extra")
    assert outcome(configs, tracking=tracking, **known)["trainer"]["max_epochs"] == 2


@pytest.mark.parametrize("given", ["arguments", "args_file"])
def test_monai_bundle_run(configs: Path, tmp_path: Path, given: str) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"stage": "only this command knows the file", "val_interval": 3}))
    arguments = {"config_file": [str(configs / "train.json"), str(mine)], "val_interval": 4}
    wrong = {**arguments, "val_intervall": 5}
    if given == "args_file":
        for name, content in (("good", arguments), ("bad", wrong)):
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        arguments, wrong = ({"args_file": str(tmp_path / f"{name}.json")} for name in ("good", "bad"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "parsing config_file")
        run("training", **arguments)
        with pytest.raises(UnknownKeyError, match="Did you mean 'val_interval'"):
            run("training", **wrong)


def command(configs: Path, *override: str) -> list[str]:
    return ["run", "training", "--config_file", str(configs / "train.json"), *override]


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")
@pytest.mark.parametrize("override", [["--val_interval", "5"], ["--optimizer::lr", "1"], ["--train#trainer#x=1"]])
def test_known_overrides_of_the_command_line(
    configs: Path, override: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["monai.bundle", *command(configs, *override)])
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")
@pytest.mark.parametrize("override", [["--val_intervall", "5"], ["--optimiser::lr", "1"], ["--train#trainr=1"]])
def test_unknown_overrides_of_the_command_line(
    configs: Path, override: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["monai.bundle", *command(configs, *override)])
    # MONAI itself refuses what lies in a section that does not exist
    with pytest.raises((UnknownKeyError, KeyError), match=r"val_interval'|optimiser|train::trainer"):
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


@pytest.mark.slow
def test_the_command_ends_with_the_message_alone(configs: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-W", "ignore", "-m", "monai.bundle", *command(configs, "--val_intervall", "5")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Unknown key 'val_intervall'")
    assert "Traceback" not in done.stderr


def test_without_a_workflow_there_is_nothing_to_check() -> None:
    refuse_unknown_overrides()


def test_references_of_every_kind_count_as_reading() -> None:
    config = {
        "a": 1,
        "b": 2,
        "c": {"d": {"e": 1, "f": 2}},
        "g": {"h": 1},
        "s": "write to @nobody about @g",  # prose, no reference
        "use": ["@a", "$@b + 1", {"deep": "$max(@c::d['e'], 0)"}],
    }
    assert unknown_paths(config, named={"use", "s"}) == ["c::d::f", "g"]
