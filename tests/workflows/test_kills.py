"""A real training, killed again and again: it ends with the bits of one that nobody disturbed."""

import logging
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from monai.bundle import run

from bundle import handlers as handlers  # else each forked process imports them
from bundle import networks as networks
from tests.small_training import ended, same
from tests.workflows.conftest import ROOT, TINY, Place

logger = logging.getLogger(__name__)
KILLS, CUTS, TERMS, EPOCHS = 20, 5, 3, 6
ENDS = {"kill": -signal.SIGKILL, "term": 143, "cut": -signal.SIGXFSZ, "end": 0}
CUT = range(15_000, 55_000)  # bytes: fewer than a checkpoint of tiny.json has, more than its log


def train(place, folder, workers, log, limit=None):
    """What `python -m monai.bundle run training` does, in a forked process."""
    torch.set_num_threads(1)  # a forked process must not use its parent's OpenMP threads
    # pytest's, one of which takes the output back, and those on streams that an earlier test has closed
    for each in [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]:
        each.handlers.clear()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8") for number in (1, 2))
    if limit is not None:  # the system ends it within a write, after so many bytes of a file
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    settings = {"max_epochs": EPOCHS, "save_every": 1, "num_workers": workers}
    where = {"bundle_root": place.folder, "dataset_dir": place.data, "ckpt_dir": folder, "output_dir": place.eval}
    files = [str(ROOT / "configs" / "train.json"), str(TINY)]
    run("training", config_file=files, **settings, **{key: str(value) for key, value in where.items()})


def seconds(pid):
    """On a processor, so far: a busy machine kills at the same moments as an idle one."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0]) / 1e9


def begun(log):
    return log.is_file() and re.search("Starting from|Resuming after", log.read_text(encoding="utf-8"))


def run_until(process, log, delay, number=signal.SIGKILL):
    """Signal a training after so many seconds of its own; None lets it end. Returns how many it took, or None."""
    process.start()
    first = took = None
    try:
        while process.is_alive():
            now = seconds(process.pid)
            if first is None and begun(log):
                first = now
            took = None if first is None else now - first
            if took is not None and delay is not None and took >= delay:
                os.kill(process.pid, number)
                break
            time.sleep(0.001)
    except (FileNotFoundError, ProcessLookupError):  # it ended just now
        pass
    process.join()
    return took


def figures(log):
    """What was logged of each epoch. Who goes through one again must say the same."""
    said = log.read_text(encoding="utf-8")
    losses = re.findall(r"epoch (\d+)/\d+, .* left: (loss/.*)", said)
    return {*losses, *re.findall(r"Epoch\[(\d+)\] Metrics -- (.*)", said)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "kills", "cuts", "terms"), [(0, KILLS, CUTS, TERMS), (2, 2, 0, 1)], ids=["alone", "workers"]
)
def test_kills(tmp_path, workers, kills, cuts, terms):
    place, rng, fork = Place(tmp_path), random.Random(workers), multiprocessing.get_context("fork")
    log = tmp_path / "whole.log"
    length = run_until(fork.Process(target=train, args=(place, tmp_path / "whole", workers, log)), log, None)
    whole, wanted = ended(tmp_path / "whole"), figures(log)
    assert len({epoch for epoch, _ in wanted}) == EPOCHS
    plan = [(kind, rng.uniform(0, length / 8)) for kind in ["kill"] * kills + ["term"] * terms]
    plan += [("cut", rng.choice(CUT)) for _ in range(cuts)]
    rng.shuffle(plan)
    said, left, trainings, reached = set(), 0, 1, []
    plan.append(("end", None))
    for number, (kind, when) in enumerate(plan):
        folder, log = tmp_path / f"parts{trainings}", tmp_path / f"{number}.log"
        limit, delay = (when if kind == "cut" else None), (None if kind == "cut" else when)
        process = fork.Process(target=train, args=(place, folder, workers, log, limit))
        run_until(process, log, delay, signal.SIGTERM if kind == "term" else signal.SIGKILL)
        said |= figures(log)
        halves = len(list(folder.glob(".*.pt")))
        left += halves
        last = folder / "last.pt"
        reached.append(torch.load(last, weights_only=True)["iteration"] if last.is_file() else 0)
        if reached[-1] == whole[0]["iteration"]:  # it may have ended before it was told to
            assert same(ended(folder), whole)
            trainings += kind != "end"
            if kind == "cut":  # it found nothing left to write: another one, in the training that is begun next
                plan.insert(number + 1, (kind, when))
        else:
            assert process.exitcode == ENDS[kind]
            assert halves or kind != "cut"
    assert (kind, process.exitcode) == ("end", 0)
    assert said == wanted
    logger.info(
        f"{kills} kills, {cuts} within a write, {terms} SIGTERM, of {trainings} trainings; {left} left half a file; "
        f"checkpoints found after them: {reached}"
    )
    assert trainings < 4
    assert len(set(reached)) > min(5, kills) // 2
