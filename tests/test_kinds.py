"""Values that a command line reads as another kind than the configuration wants, and those that are meant."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from bundle.guard import WrongValueError
from bundle.kinds import wrong_values

CONFIGS = Path(__file__).parents[1] / "configs"
STATED = {
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/data'",
    "image_dir": None,
    "init_checkpoint": None,
    "findings": ["Mass"],
    "section": "training",
    "batch_size": 8,
    "rate": 0.1,
    "limit": None,
    "blind": False,
    "score": {"weights": "learned"},
    "loss": {"_target_": "Loss", "weight": 1.0, "mean": True},
}


def complaints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, typed: str) -> list[str]:
    """Those of a command that gives one key, as the command line reads it."""
    file = tmp_path / "train.json"
    file.write_text(json.dumps(STATED))
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", f"--{key}", typed])
    value = DefaultParseValue(typed)
    parser = ConfigParser()
    parser.read_config(str(file))
    if value is not None:  # which MONAI drops
        parser[key] = value
    return wrong_values(parser.get(), [file], {key: value})


@pytest.mark.parametrize(
    ("key", "typed", "said"),
    [
        (
            "dataset_dir",
            "2024_01",
            "found 202401, as a command line reads 2024_01; wanted a path. Write --dataset_dir ./2024_01.",
        ),
        ("dataset_dir", "1e3", "found 1000.0, as a command line reads 1e3; wanted a path. Write --dataset_dir ./1e3."),
        ("dataset_dir", "True", "found True; wanted a path. Write --dataset_dir ./True."),
        (
            "dataset_dir",
            "a,b",
            "found ('a', 'b'), as a command line reads a,b; wanted a path. Write --dataset_dir ./a,b.",
        ),
        ("dataset_dir", "", "found ''; wanted a path. Write --dataset_dir PATH."),
        ("dataset_dir", "~/data", "found '~/data', which only a shell reads as your home folder"),
        (
            "dataset_dir",
            "None",
            "found None, which MONAI drops...Write --dataset_dir '$None' for null, ./None for a folder",
        ),
        ("init_checkpoint", "None", "found None, which MONAI drops...leave --init_checkpoint out."),
        ("init_checkpoint", "null", "found the text 'null'; wanted a path. Write --init_checkpoint '$None' for null"),
        ("limit", "None", "found None, which MONAI drops"),
        ("findings", "Mass", "found 'Mass'; wanted a list. Write --findings \"['Mass']\"."),
        ("section", "2024", "found 2024; wanted a text. Write --section \"'2024'\"."),
        ("batch_size", "'8'", "found '8'; wanted a whole number, such as --batch_size 8."),
        ("batch_size", "8.5", "found 8.5; wanted a whole number"),
        ("batch_size", "True", "found True; wanted a whole number"),
        ("rate", "fast", "found 'fast'; wanted a number, such as --rate 0.1."),
        ("blind", "1", "found 1; wanted True or False, such as --blind False."),
        ("loss::mean", "false", "found 'false'; wanted True or False"),
        ("loss::weight", "big", "found 'big'; wanted a number"),
        ("score", "patch", "found 'patch'; wanted settings by name. Write --score#weights VALUE."),
    ],
)
def test_what_cannot_be_meant(tmp_path, monkeypatch, key, typed, said):
    monkeypatch.chdir(tmp_path)
    (line,) = complaints(tmp_path, monkeypatch, key, typed)
    assert line.startswith(f"Wrong value of '{key}': ")
    assert line.endswith(".")
    assert all(part in line for part in said.split("..."))


@pytest.mark.parametrize(
    ("key", "typed"),
    [
        ("dataset_dir", "./2024_01"),
        ("dataset_dir", "'2024_01'"),
        ("dataset_dir", "007"),
        ("dataset_dir", "$@bundle_root + '/mine'"),
        ("image_dir", "/images"),
        ("init_checkpoint", "$None"),
        ("findings", "['Nodule/Mass', 'Fracture, rib']"),
        ("findings", "Mass,Nodule"),
        ("section", "['fold_0','fold_1']"),
        ("batch_size", "16"),
        ("batch_size", "$2 * 8"),
        ("rate", "1"),
        ("rate", "1e-4"),
        ("limit", "3"),
        ("blind", "true"),
        ("score", "{'weights': 'patch'}"),
        ("score::weights", "{'patch': 1.0}"),
        ("loss", "@score"),
    ],
)
def test_what_is_meant(tmp_path, monkeypatch, key, typed):
    assert complaints(tmp_path, monkeypatch, key, typed) == []


def test_a_folder_called_null_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "null").mkdir()
    assert complaints(tmp_path, monkeypatch, "dataset_dir", "null") == []


def test_files_are_held_against_the_files_before_them(tmp_path):
    files = [tmp_path / "train.json", tmp_path / "mine.json"]
    for file, content in zip(files, (STATED, {"findings": "Mass", "image_dir": "/images"}), strict=True):
        file.write_text(json.dumps(content))
    (line,) = wrong_values(ConfigParser.load_config_files([str(file) for file in files]), files, {})
    assert "'findings': found 'Mass'; wanted a list" in line


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.json")))
def test_no_file_of_the_house_is_refused(name):
    if name in ("metadata.json", "tracking_mlflow.json", "inference.json"):
        return
    before = ["train.json"] if name != "pretrain.json" else []
    before += ["demo.json"] if name not in ("demo.json", "train.json", "pretrain.json") else []
    before += {
        "compare.json": ["evaluate.json"],
        "evaluate_texts.json": ["evaluate.json"],
        "frozen_plan.json": ["evaluate.json"],
        "other_machine.json": ["evaluate.json", "frozen_plan.json"],
        "patch_maps_alone.json": ["evaluate.json", "compare.json"],
        "vqa_evaluate.json": ["vqa.json"],
    }.get(name, [])
    before += ["evaluate.json"] if name in ("saliency_maps.json", "open_vocabulary.json") else []
    files = list(dict.fromkeys(str(CONFIGS / each) for each in [*before, name]))
    config: dict[str, Any] = ConfigParser.load_config_files(files)
    assert wrong_values(config, files, {}) == []


def test_switches_of_the_house_are_read_from_words_too():
    """`--blind false` gives a text, and a text is true."""
    for name in ("inference.json", "vqa.json"):
        text = (CONFIGS / name).read_text()
        for key, value in json.loads(text).items():
            if isinstance(value, bool) and "#" not in key:
                assert len(re.findall(rf"@{key}\b", text)) == text.count(f"str(@{key}).lower()") > 0, key


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")
def test_the_guard_refuses_them_all_at_once(tmp_path):
    from monai.bundle.scripts import run

    file = tmp_path / "train.json"
    content = {**STATED, "training": [{"_target_": "bundle.guard.refuse_unknown_overrides"}], "loss": None}
    file.write_text(json.dumps(content))
    with pytest.raises(WrongValueError, match=r"(?s)'batch_size'.*'init_checkpoint'"):
        run("training", config_file=str(file), batch_size="8", init_checkpoint=None)
