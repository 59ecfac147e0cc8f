"""What a command that failed says last: the bundle's message where it has one, else the first cause and its key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.transforms import Compose

from bundle import failure
from bundle.checkpoints import load_weights
from bundle.data.datalist import datalist_section
from bundle.transforms import LoadRadiographd

ROOT = Path(__file__).parents[1]


def error_of(config: dict[str, Any], key: str = "it") -> BaseException:
    """What MONAI makes of a component that fails."""
    with pytest.raises(Exception) as caught:
        ConfigParser(config).get_parsed_content(key)
    return caught.value


def test_a_message_of_the_bundle_is_found_below_monais(tmp_path):
    data = {"_target_": "bundle.data.datalist.datalist_section", "path": "@file", "section": "training"}
    config = {"file": str(tmp_path / "none.json"), "data": data, "it": {"_target_": "Dataset", "data": "@data"}}
    error = error_of(config)
    assert str(error).startswith("Failed to instantiate component")
    said = failure.said_by_the_bundle(error)
    assert said is not None
    assert said.splitlines()[0] == f"{tmp_path / 'none.json'}: 1 fault in the datalist"


def test_the_bundles_words_go_before_the_librarys_that_they_stand_for(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read") as caught:
        load_weights(None, tmp_path / "model.pt")  # type: ignore[arg-type]
    assert caught.value.__cause__ is not None
    assert failure.said_by_the_bundle(caught.value) == str(caught.value)


def test_what_python_raises_in_the_bundle_is_no_message():
    with pytest.raises(TypeError) as caught:
        datalist_section(3, "training")  # type: ignore[arg-type]
    assert failure.said_by_the_bundle(caught.value) is None
    assert failure.cause(caught.value).startswith("TypeError: ")


def test_else_the_first_cause_is_said_with_its_key():
    config = {
        "loader": {"_target_": "torch.utils.data.DataLoader", "dataset": [1], "batch_size": 0},
        "it": "$list(@loader)",
    }
    error = error_of(config)
    assert failure.said_by_the_bundle(error) is None
    assert failure.cause(error).startswith("loader: ValueError: batch_size should be a positive integer")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_stops_a_training_is_named_whoever_reads_it(tmp_path, workers):
    path = tmp_path / "cut.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    data = Dataset([{"image": str(path)}], Compose([LoadRadiographd("image")]))
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(data, num_workers=workers))
    said = failure.said_by_the_bundle(caught.value)
    assert said is not None
    assert said.startswith(f"{path}: ")
    assert "Traceback" not in said


@pytest.mark.parametrize(("debug", "program", "plain"), [("", True, True), ("1", True, False), ("", False, False)])
def test_the_hook_is_the_commands_alone(monkeypatch, debug, program, plain):
    monkeypatch.setenv("MONAI_DEBUG", debug or "0")
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    if program:
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", type("Spec", (), {"name": "monai.bundle.__main__"}))
    failure.end_plainly()
    assert (sys.excepthook is not sys.__excepthook__) is plain


@pytest.mark.parametrize(
    ("overrides", "last"),
    [
        (["--dataset_dir", "2024_01"], "Write --dataset_dir ./2024_01."),
        (
            ["--dataset_dir", "nowhere"],
            "the file, path: found no readable file (No such file or directory); wanted a datalist in JSON",
        ),
    ],
)
@pytest.mark.slow
def test_the_real_command_ends_with_what_to_do(tmp_path, overrides, last):
    files = [str(ROOT / "configs" / "train.json"), str(ROOT / "tests" / "tiny.json")]
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "training", f"--config_file={files}"]
    where = [f"--bundle_root={tmp_path}", f"--output_dir={tmp_path / 'eval'}", f"--ckpt_dir={tmp_path / 'models'}"]
    done = subprocess.run(
        [*command, *where, *overrides], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(last)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_several_processes_want_torchrun(tmp_path):
    files = [str(ROOT / "configs" / name) for name in ("train.json", "multi_gpu_train.json")]
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "training", f"--config_file={files}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "torchrun --nproc_per_node=N" in done.stderr.rstrip().splitlines()[-1]
