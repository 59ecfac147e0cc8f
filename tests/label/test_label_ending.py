"""The server's end is a training's end too, which goes on when it is asked for again."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.label.server import ENVIRONMENT, ROOT, Server
from tests.label.test_label_training import draw, entries, train
from tests.tiny import write_tiny_data

pytestmark = pytest.mark.slow
SETTINGS = {"max_epochs": 60, "learning_rate": 0.01}


def command(folder, package):
    where = ["--studies", folder / "studies", "--model", package, "--work", folder / "work"]
    return ["bash", ROOT / "scripts" / "serve.sh", *where]


def start(folder, package):
    server = Server([*command(folder, package), "--verbose"], folder / "log", folder, "patch_clip")
    server.work, server.studies = folder / "work", folder / "studies"
    return server


def children(pid):
    """Processes that the threads of a process have started and that still run."""
    return [int(each) for file in Path(f"/proc/{pid}/task").glob("*/children") for each in file.read_text().split()]


def trains(pid):
    try:
        return b"monailabel.interfaces.utils.app" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_sigterm_ends_a_training_which_goes_on_when_it_is_asked_for_again(tiny_package, tmp_path):
    write_tiny_data(tmp_path / "studies", {"training": 6}, seed=5)
    half = tmp_path / "work" / "sessions" / "half"  # an upload to an earlier server, without notes
    half.mkdir(parents=True)
    os.utime(half, (0, 0))
    server = start(tmp_path, tiny_package)
    wait_for(lambda: not half.exists(), 10)
    name = next(name for name, entry in entries(server).items() if entry["boxes"])
    assert draw(server, name, tmp_path).status_code == 200
    for query in ({}, {"enqueue": "true"}):  # the second waits for its turn, which must not come
        answer = server.request("POST", "/train/patch_clip", params=query, json=SETTINGS)
        assert answer.status_code == 200
    wait_for((server.work / "training" / "checkpoints" / "last.pt").is_file)
    training = [pid for pid in children(server.process.pid) if trains(pid)]
    assert len(training) == 1
    server.stop()
    wait_for(lambda: not trains(training[0]), 5)
    weights = server.work / "app" / "model" / "patch_clip" / "models" / "model.pt"
    assert weights.is_symlink(), "it ended before it was told to"

    server = start(tmp_path, tiny_package)
    try:
        assert train(server, **SETTINGS)["status"] == "DONE"
        assert "Going on with the training that was interrupted" in server.log.read_text()
        assert "Resuming after epoch" in server.log.read_text()
        assert not weights.is_symlink()
        assert not (server.work / "training" / "checkpoints" / "begun.json").exists()
    finally:
        server.stop()


def test_a_thread_that_dies_ends_the_server_which_says_why(tiny_package, tmp_path):
    """The one that removes uploads: without it they would stay."""
    write_tiny_data(tmp_path / "studies", {"training": 2}, seed=5)
    odd = tmp_path / "work" / "sessions" / "odd"
    odd.mkdir(parents=True)
    (odd / "loop").symlink_to("loop")  # of which no age can be told
    started = [str(each) for each in command(tmp_path, tiny_package)]
    done = subprocess.run(
        [*started, "--port", "0"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr[-3000:]
    assert "The server ends: the thread sessions has failed: OSError" in done.stdout + done.stderr
    assert "The server has ended: the thread sessions has failed" in done.stderr
