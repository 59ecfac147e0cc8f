"""Stopped anywhere, started again with the same command."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.workflows.conftest import Place


def weights(folder):
    return torch.load(folder / "last.pt", weights_only=True)["network"]


@pytest.mark.slow
def test_resumed_at_an_epochs_boundary_ends_with_the_same_weights(tmp_path):
    place = Place(tmp_path)
    place.run("training", "train", ckpt_dir=tmp_path / "whole", max_epochs=3, fresh=True)
    place.run("training", "train", ckpt_dir=tmp_path / "parts", max_epochs=2, fresh=True)
    output = place.run("training", "train", ckpt_dir=tmp_path / "parts", max_epochs=3, fresh=True)
    assert "Resuming after epoch 2 of 3" in output
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    tensors = [name for name, value in whole.items() if isinstance(value, torch.Tensor)]
    assert all(torch.equal(whole[name], parts[name]) for name in tensors)
    assert len(tensors) > 20


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_it_resumes_and_finishes(tmp_path):
    place = Place(tmp_path)
    command = [sys.executable, *place.arguments("training", "train", max_epochs=400)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (place.models / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.03)  # somewhere within a later epoch
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reached = torch.load(place.models / "last.pt", weights_only=True)["epoch"]
    assert 1 <= reached < 400
    output = place.run("training", "train", max_epochs=reached + 2)
    assert f"Resuming after epoch {reached} of {reached + 2}" in output
    assert torch.load(place.models / "last.pt", weights_only=True)["epoch"] == reached + 2


@pytest.mark.slow
def test_the_steps_choices_are_configuration(tmp_path):
    place = Place(tmp_path)
    choices = {"average_decay": 0.9, "cudnn_benchmark": True, "clip#checkpointing": True, "optimizer#fused": True}
    place.run("training", "train", max_epochs=1, **choices)
    last = torch.load(place.models / "last.pt", weights_only=True)
    best = torch.load(place.models / "model.pt", weights_only=True)
    assert last["optimizer"]["param_groups"][0]["fused"] is True
    name = "projection.linear.weight"
    assert torch.equal(best[name], last["averaged"][name])
    assert not torch.equal(best[name], last["network"][name])
