"""Stopped within an epoch and started again, a training ends with the bits of one that was not."""

import errno
import logging
import os
import random
import resource
import signal
import subprocess
import time
from copy import deepcopy
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Average
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler, from_engine
from monai.transforms import Compose
from torch import nn
from torch.utils.data import DistributedSampler

from bundle.atomic import atomic_path
from bundle.checkpoints import previous_of, save_atomically, save_last
from bundle.continuation import TrainedWeights
from bundle.data.boxed_sampler import BoxedSampler
from bundle.data.loading import EpochSampler
from bundle.engines import TrainingStep
from bundle.handlers import LossTerms
from bundle.optim import computed_as
from bundle.precision import Precision
from bundle.training import ResumableTraining, better
from tests.forked_ranks import run_ranks

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[1]
IMAGES, BATCH, STEPS = 12, 2, 6
STEP = TrainingStep(Precision("float32", channels_last=False), network_keys=(), full=False)


class Epochs:
    """Changes an image by the epoch, as the augmentations do."""

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __call__(self, item):
        noise = np.random.default_rng((self.epoch, item["index"])).normal(size=5)
        return {"image": torch.as_tensor(item["image"] + noise, dtype=torch.float32), "index": item["index"]}


class Net(nn.Sequential):
    """What draws (dropout), what changes without an optimizer (batch norm), what is frozen, what a name hides."""

    def __init__(self, frozen_seed=1):
        torch.manual_seed(frozen_seed)
        frozen = nn.Linear(5, 8).requires_grad_(False)
        torch.manual_seed(7)
        super().__init__(frozen, nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))

    def forward(self, image):
        return super().forward(image + (random.random() + np.random.rand() if self.training else 0))


def adamw(network):
    return torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.05)


class Training:
    """A real, small training; `figures` are what each epoch logs."""

    def __init__(self, folder, epochs=3, workers=0, length=None, frozen_seed=1, sampler=EpochSampler, **more):
        random.seed(5)
        np.random.seed(5)
        rng = np.random.default_rng(0)
        data = [{"image": rng.normal(size=5), "index": i, "boxes": [0] * (i % 3 == 0)} for i in range(IMAGES)]
        dataset = Dataset(data, Compose([Epochs()]))
        self.network, self.figures, self.orders = Net(frozen_seed), {}, []
        wrap, accumulation = more.pop("wrap", lambda network: network), more.pop("accumulation_steps", 1)
        wrapped = wrap(self.network)
        optimizer = more.pop("optimizer", adamw)(self.network)
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=15)
        evaluator = SupervisedEvaluator(
            device="cpu",
            val_data_loader=DataLoader(dataset, batch_size=4, num_workers=0),
            network=wrapped,
            iteration_update=lambda engine, batch: {"loss": engine.network.eval()(batch["image"]).mean()},
            key_val_metric={"mean": Average(output_transform=lambda output: output["loss"].detach())},
            metric_cmp_fn=better,
            decollate=False,
        )
        self.trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=DataLoader(
                dataset, batch_size=BATCH, sampler=sampler(dataset), num_workers=workers, drop_last=True
            ),
            epoch_length=length,
            network=wrapped,
            optimizer=optimizer,
            loss_function=lambda output, _: {"loss": (term := output.square().mean()), "square": term},
            iteration_update=more.pop("step", STEP),
            key_train_metric={"loss": Average(output_transform=from_engine(["loss"], first=True))},
            accumulation_steps=accumulation,
            train_handlers=[LossTerms(), ValidationHandler(1, evaluator), LrScheduleHandler(scheduler)],
            decollate=False,
        )
        self.trainer.add_event_handler(Events.ITERATION_STARTED, self.look)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.note)
        self.evaluator = evaluator
        self.resumable = ResumableTraining(
            self.trainer, wrapped, optimizer, folder, scheduler, evaluator=evaluator, seed=3, **more
        )

    def look(self, engine):
        self.orders.append((engine.state.iteration, engine.state.batch["index"].tolist()))

    def note(self, engine):
        validated = self.evaluator.state.metrics["mean"]
        self.figures[engine.state.epoch] = {**engine.state.metrics, "validated": validated}

    def run(self):
        self.resumable.run()
        return self

    def killed(self, event):
        """Run until then, and end as a kill does: nothing more is written."""

        def kill(_):
            raise KeyboardInterrupt

        engine, when = event
        getattr(self, engine).add_event_handler(when, kill)
        with pytest.raises(KeyboardInterrupt):
            self.run()


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def ended(folder):
    return [torch.load(folder / name, weights_only=True) for name in ("last.pt", "model.pt")]


def after(iteration):
    return "trainer", Events.ITERATION_COMPLETED(once=iteration)


IN_VALIDATION = ("evaluator", Events.ITERATION_COMPLETED(once=2))  # the next, after its second batch


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
    torch.set_num_threads(1)  # a forked process must not use its parent's OpenMP threads
    os.environ["LOCAL_RANK"] = str(rank)  # as torchrun sets it
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
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


@pytest.mark.parametrize(("steps", "images"), [(2, 4), (3, 6)])
def test_accumulated_gradients_are_those_of_a_larger_batch(tmp_path, steps, images, monkeypatch):
    """Of a loss that is a mean over images, of a network without batch norm; an epoch's last step may have fewer."""
    monkeypatch.setattr(random, "random", lambda: 0.0)
    monkeypatch.setattr(np.random, "rand", lambda: 0.0)
    trainings = [Training(tmp_path / "a", epochs=2, accumulation_steps=steps), Training(tmp_path / "b", epochs=2)]
    gradients = ([], [])
    for training, seen, each in zip(trainings, gradients, (BATCH, images), strict=True):
        training.network[1], training.network[2] = nn.Identity(), nn.Identity()
        training.trainer.data_loader = DataLoader(
            training.trainer.data_loader.dataset, batch_size=each, sampler=training.trainer.data_loader.sampler
        )
        training.trainer.state.epoch_length = len(training.trainer.data_loader)
        optimizer = training.trainer.optimizer
        optimizer.register_step_pre_hook(
            lambda o, *_, seen=seen: seen.append(
                [p.grad.clone() for g in o.param_groups for p in g["params"] if p.grad is not None]
            )
        )
        training.run()
    assert len(gradients[0]) == len(gradients[1]) == 2 * IMAGES // images
    first = zip(gradients[0][0], gradients[1][0], strict=True)
    assert all(torch.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in first)


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


def test_averaged_weights_are_judged_kept_and_resumed_to_the_bit(tmp_path):
    settings = {"average_decay": 0.9, "save_every": 2}
    whole, means = Training(tmp_path / "whole", **settings), []
    mean = whole.network[3].weight.detach().clone()

    def follow(_):
        mean.mul_(0.9).add_(whole.network[3].weight.detach(), alpha=0.1)
        means.append(mean.clone())

    whole.trainer.add_event_handler(Events.ITERATION_COMPLETED, follow)
    whole.run()
    last, best = ended(tmp_path / "whole")
    torch.testing.assert_close(last["averaged"]["3.weight"], means[-1])
    torch.testing.assert_close(best["3.weight"], means[last["best_metric_epoch"] * STEPS - 1])
    assert torch.equal(best["0.weight"], whole.network[0].weight)  # frozen
    assert "0.weight" not in last["averaged"]
    plain = Training(tmp_path / "plain").run()
    assert torch.equal(plain.network[3].weight, whole.network[3].weight)
    assert plain.figures[1]["validated"] != whole.figures[1]["validated"]
    Training(tmp_path / "parts", **settings).killed(("trainer", Events.ITERATION_COMPLETED(once=9)))
    Training(tmp_path / "parts", **settings).run()
    assert same(ended(tmp_path / "whole"), ended(tmp_path / "parts"))
    with pytest.raises(ValueError, match=r"trained with average_decay 0\.9, now None"):
        Training(tmp_path / "parts").run()
    with pytest.raises(ValueError, match="average_decay is 1; give a number between 0 and 1"):
        Training(tmp_path / "other", average_decay=1)


def test_weights_are_averaged_once_a_step_of_accumulated_gradients(tmp_path):
    training, seen = Training(tmp_path, epochs=1, average_decay=0.5, accumulation_steps=3), []
    averaged = training.resumable._averaged.network[3].weight
    training.trainer.add_event_handler(Events.ITERATION_STARTED, lambda _: seen.append(averaged.detach().clone()))
    training.run()
    assert [torch.equal(one, other) for one, other in pairwise(seen)] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_how_steps_are_computed_is_the_configurations_after_a_resume_too():
    networks = [nn.Linear(3, 2), nn.Linear(3, 2)]
    networks[1].load_state_dict(networks[0].state_dict())
    plain = torch.optim.AdamW(networks[0].parameters(), lr=0.1)
    fused = torch.optim.AdamW(networks[1].parameters(), lr=0.1, fused=True)

    def step(network, optimizer):
        optimizer.zero_grad()
        network(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    step(networks[0], plain)
    networks[1].load_state_dict(networks[0].state_dict())
    fused.load_state_dict(computed_as(deepcopy(plain.state_dict()), fused))  # torch would share it
    assert fused.param_groups[0]["fused"] is True
    for network, optimizer in zip(networks, (plain, fused), strict=True):
        step(network, optimizer)
    torch.testing.assert_close(networks[0].weight, networks[1].weight)
