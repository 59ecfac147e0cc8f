"""Stopped within an epoch and started again, a training ends with the bits of one that was not."""

import errno
import logging
import os
import resource
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from torch import nn
from torch.utils.data import DistributedSampler

from bundle.atomic import atomic_path
from bundle.checkpoints import previous_of, save_atomically, save_last
from bundle.continuation import TrainedWeights
from bundle.data.boxed_sampler import BoxedSampler
from bundle.data.loading import EpochSampler
from tests.forked_ranks import meet, run_ranks
from tests.small_training import BATCH, IN_VALIDATION, STEPS, Net, Training, after, ended, same

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("workers", "length", "sampler", "kills"),
    [
        (0, None, EpochSampler, [[after(n)] for n in (2, 5, 6, 7, 10)]),
        (0, None, EpochSampler, [[IN_VALIDATION], [after(2), after(9), IN_VALIDATION, after(16)]]),
        (2, None, EpochSampler, [[after(4), after(9)]]),
        (0, 4, EpochSampler, [[after(n)] for n in (3, 6, 7, 8, 10)]),  # of the loader's six batches an epoch takes four
        (2, 4, EpochSampler, [[after(7)]]),
        (0, None, partial(BoxedSampler, batch_size=BATCH, share=0.5, seed=3), [[after(9)]]),
    ],
    ids=["once", "validating", "workers", "length", "length and workers", "boxed"],
)
def test_killed_anywhere_it_ends_with_the_same_bits(tmp_path, workers, length, sampler, kills):
    settings = {"workers": workers, "length": length, "sampler": sampler, "save_every": 1}
    whole = Training(tmp_path / "whole", **settings | {"save_every": None}).run()
    for number, events in enumerate(kills):
        folder, figures = tmp_path / str(number), {}
        for event in events:
            (killed := Training(folder, **settings)).killed(event)
            figures |= killed.figures
        resumed = Training(folder, **settings).run()
        assert resumed.orders[0][0] > 1, "it began anew"
        assert resumed.orders == whole.orders[-len(resumed.orders) :]
        assert same(ended(folder), ended(tmp_path / "whole"))
        assert figures | resumed.figures == whole.figures


def test_it_saves_every_so_many_steps_and_before_an_epochs_last(tmp_path):
    training, saved = Training(tmp_path, epochs=2, save_every=4), []

    def look(engine):
        if (tmp_path / "last.pt").is_file():
            saved.append(torch.load(tmp_path / "last.pt", weights_only=True)["iteration"])

    training.trainer.add_event_handler(Events.ITERATION_STARTED, look)
    training.run()
    assert saved == [4, 5, 6, 6, 6, 6, 10, 11]
    assert torch.load(previous_of(tmp_path / "last.pt"), weights_only=True)["iteration"] == 11


def test_without_save_every_nothing_is_saved_within_an_epoch(tmp_path):
    Training(tmp_path).killed(after(STEPS - 1))
    assert not (tmp_path / "last.pt").exists()


@pytest.mark.parametrize("save_every", [0, -3, 1.5, True])
def test_what_is_no_number_of_steps_is_refused(tmp_path, save_every):
    with pytest.raises(ValueError, match=r"save_every is .*; give a number of steps, such as 200, or null"):
        Training(tmp_path, save_every=save_every).run()


def test_a_loader_that_cannot_go_on_within_an_epoch_is_refused(tmp_path):
    plain = partial(DistributedSampler, num_replicas=1, rank=0)
    with pytest.raises(ValueError, match=r"save_every: .*EpochSampler"):
        Training(tmp_path, save_every=2, sampler=plain).run()
    Training(tmp_path, save_every=2).killed(after(3))
    with pytest.raises(ValueError, match=r"last\.pt was saved within an epoch, by 1 processes"):
        Training(tmp_path, sampler=plain).run()


def test_checkpoints_hold_what_trains_and_the_weights_all(tmp_path):
    network = Training(tmp_path, epochs=1).run().network
    last, model = ended(tmp_path)
    assert model.keys() == network.state_dict().keys()
    assert last["network"].keys() == {name for name in model if not name.startswith("0.")}
    assert "1.running_mean" in last["network"]


@pytest.mark.parametrize("source", ["configured", "init_from", "model.pt"])
def test_the_frozen_weights_are_found_again(tmp_path, source):
    whole = Training(tmp_path / "whole", epochs=2).run()
    Training(tmp_path / "parts", epochs=1).run()
    seed, initial = (1, None) if source == "configured" else (2, tmp_path / "initial.pt")
    torch.save(Net(1).state_dict(), tmp_path / "initial.pt")
    if source == "model.pt":
        initial.unlink()
    else:
        (tmp_path / "parts" / "model.pt").unlink()
    Training(tmp_path / "parts", epochs=2, frozen_seed=seed, init_from=initial).run()
    assert same(ended(tmp_path / "parts")[0], ended(tmp_path / "whole")[0])
    assert whole.network.state_dict().keys() == ended(tmp_path / "whole")[1].keys()


def test_other_frozen_weights_are_refused_by_their_fingerprint(tmp_path):
    Training(tmp_path, epochs=1).run()
    fingerprint = torch.load(tmp_path / "last.pt", weights_only=True)["frozen"]
    torch.save(Net(2).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=rf"frozen weights of the fingerprint {fingerprint}.*Give `pretrained` and"):
        Training(tmp_path, epochs=2, frozen_seed=3).run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1


def test_a_checkpoint_of_before_goes_on(tmp_path):
    """Format 1 held the frozen weights too, and neither places nor random numbers."""
    Training(tmp_path, epochs=1).run()
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    last |= {"format": 1, "network": torch.load(tmp_path / "model.pt", weights_only=True)}
    for key in ("frozen", "iteration", "ranks", "accumulation_steps"):
        del last[key]
    torch.save(last, tmp_path / "last.pt")
    training = Training(tmp_path, epochs=2, frozen_seed=2).run()
    assert training.orders[0][0] == STEPS + 1
    assert same(training.network[0].state_dict(), Net(1)[0].state_dict())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("when", "saved"),
    [(after(8), 8), (after(12), 12), (IN_VALIDATION, 6)],
    ids=["a step", "an epoch's last", "validating"],
)
def test_sigterm_saves_and_ends_with_its_status(tmp_path, when, saved, workers, caplog):
    whole = Training(tmp_path / "whole").run()
    told = Training(tmp_path / "parts", workers=workers)
    getattr(told, when[0]).add_event_handler(when[1], lambda _: [os.kill(pid, signal.SIGTERM) for pid in of(told)])
    with pytest.raises(SystemExit) as end:
        told.run()
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert torch.load(tmp_path / "parts" / "last.pt", weights_only=True)["iteration"] == saved
    assert f"Asked to end (SIGTERM): saved after step {saved} to" in caplog.text
    resumed = Training(tmp_path / "parts", workers=workers).run()
    assert same(ended(tmp_path / "parts"), ended(tmp_path / "whole"))
    assert told.figures | resumed.figures == whole.figures


def of(training):
    """The process, and twice, as clusters do; and its loader's workers."""
    iterator = training.trainer._dataloader_iter
    return [os.getpid(), os.getpid(), *(worker.pid for worker in getattr(iterator, "_workers", ()))]


def on_rank(rank, folder):
    meet(rank, folder)
    wrap = nn.parallel.DistributedDataParallel
    whole = Training(folder / "whole", wrap=wrap).run()
    told = Training(folder / "parts", wrap=wrap)
    if rank == 1:  # one alone is told
        told.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda _: os.kill(os.getpid(), 15))
    with pytest.raises(SystemExit):
        told.run()
    resumed = Training(folder / "parts", wrap=wrap).run()
    assert resumed.orders == whole.orders[-len(resumed.orders) :]
    assert 1 < resumed.orders[0][0] <= 9
    assert told.figures | resumed.figures == whole.figures
    if rank == 0:
        assert same(ended(folder / "parts"), ended(folder / "whole"))
    torch.distributed.destroy_process_group()


def test_two_processes_end_together_and_go_on(tmp_path):
    run_ranks(on_rank, tmp_path)


@pytest.mark.parametrize("reached", [0, 1, 2])
def test_a_full_disk_leaves_the_checkpoints_as_they_were(tmp_path, reached):
    """The system refuses to write on, as it does on a full disk; not after how many bytes."""
    settings = {"epochs": 3, "save_every": 2}
    Training(tmp_path / "whole", **settings).run()
    if reached:
        Training(tmp_path / "parts", **settings | {"epochs": reached}).run()
    before = {path.name: path.read_bytes() for path in (tmp_path / "parts").glob("*")}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        with pytest.raises(
            OSError, match=r"(last|model)\.pt cannot be written: File too large; \d+ MB are free"
        ) as said:
            Training(tmp_path / "parts", **settings).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "start the same command again" in str(said.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "parts").glob("*")} == before
    Training(tmp_path / "parts", **settings).run()
    assert same(ended(tmp_path / "parts"), ended(tmp_path / "whole"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a file system of its own")
def test_a_disk_that_is_really_full(tmp_path):
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        Training(tmp_path, epochs=1).run()
        before = (tmp_path / "last.pt").read_bytes()
        (tmp_path / "filler").write_bytes(bytes(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_bsize - 4096))
        with pytest.raises(OSError, match=rf"cannot be written: {os.strerror(errno.ENOSPC)}; 0 MB are free"):
            Training(tmp_path, epochs=2).run()
        assert {path.name for path in tmp_path.iterdir()} == {"last.pt", "model.pt", "filler"}
        assert (tmp_path / "last.pt").read_bytes() == before
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_what_killed_writers_left_is_removed(tmp_path):
    (tmp_path / "parts").mkdir()
    writers = [atomic_path(tmp_path / "parts" / f"{name}.pt") for name in ("last", "last_but_one", "model", "mine")]
    for writer in writers:
        writer.__enter__().write_bytes(b"half")  # and no end, as after a kill
    assert len(list((tmp_path / "parts").iterdir())) == 4
    Training(tmp_path / "parts", epochs=1).run()
    left = [path.name.split(".", 2)[2] for path in (tmp_path / "parts").glob(".*")]
    assert left == ["mine.pt"]


def test_a_checkpoint_of_the_demo_is_written_in_no_time(tmp_path):
    parser = ConfigParser()
    parser.read_config([ROOT / "configs" / "train.json", ROOT / "configs" / "demo.json"])
    network, optimizer = parser.get_parsed_content("network_def"), parser.get_parsed_content("optimizer")
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    save_atomically([network.state_dict(), optimizer.state_dict()], tmp_path / "whole.pt")
    content, began = [TrainedWeights(network, optimizer).state(), optimizer.state_dict()], time.monotonic()
    save_last(content, tmp_path / "last.pt")
    seconds = time.monotonic() - began
    whole, lean = ((tmp_path / name).stat().st_size / 1e6 for name in ("whole.pt", "last.pt"))
    logger.info(f"{lean:.1f} MB in {seconds:.2f} s; with the frozen weights {whole:.1f} MB")
    assert lean < whole / 3
    assert seconds < 10  # an epoch takes 115
