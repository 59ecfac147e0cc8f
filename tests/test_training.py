"""Steps, learning rates, checkpoints: refusals and rules."""

import io
import logging
import math
import zipfile
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import ValidationHandler
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LinearLR, OneCycleLR
from torch.utils.data import DataLoader, DistributedSampler

from bundle.checkpoints import load_weights, previous_of, save_atomically
from bundle.engines import TrainingStep
from bundle.optim import parameter_groups
from bundle.precision import Precision
from bundle.training import ResumableTraining, better


def test_first_matching_pattern_gives_the_rate():
    net = nn.ModuleDict({"down": nn.Linear(2, 2), "heads": nn.Linear(2, 2), "tower": nn.Linear(2, 2)})
    net["tower"].bias.requires_grad_(False)
    groups = parameter_groups(net, {"down.*": 0.1, "heads.weight": 0.2})
    rates = [(group.get("lr"), len(group["params"])) for group in groups]
    assert rates == [(0.1, 2), (0.2, 1), (None, 2)]


def test_vectors_are_exempt_from_decay_on_demand():
    groups = parameter_groups(nn.Linear(2, 2), {}, no_decay=True)
    assert [(g.get("weight_decay"), [p.ndim for p in g["params"]]) for g in groups] == [(None, [2]), (0.0, [1])]


def test_idle_patterns_and_frozen_networks_are_refused():
    with pytest.raises(ValueError, match=r"\['head\.\*'\] match no trainable parameter"):
        parameter_groups(nn.ModuleDict({"heads": nn.Linear(2, 2)}), {"head.*": 0.1})
    with pytest.raises(ValueError, match="No parameter trains"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), {})


@pytest.mark.parametrize(("current", "best", "wanted"), [(0.5, 0.4, True), (0.4, 0.4, False), (0.1, math.nan, True)])
def test_better(current, best, wanted):
    assert better(current, best) is wanted
    assert better(math.nan, best) is math.isnan(best)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.pt"
    save_atomically(nn.Linear(2, 2).state_dict(), path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        save_atomically({"bad": lambda: None}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]
    load_weights(nn.Linear(2, 2), path)


def test_a_loss_that_is_not_finite_stops_and_names_the_term():
    net = nn.Conv2d(1, 1, 1)
    engine = SimpleNamespace(
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), 0.1),
        inferer=lambda image, network, **_: network(image),
        state=SimpleNamespace(device=torch.device("cpu"), epoch=3, iteration=7),
        non_blocking=False,
        fire_event=lambda _: None,
        loss_function=lambda output, _: {
            "patch": output.sum() * math.nan,
            "global": output.sum(),
            "loss": output.sum() * math.nan,
        },
    )
    with pytest.raises(FloatingPointError, match=r"Epoch 3, iteration 7: the loss terms \['patch', 'loss'\]"):
        TrainingStep(Precision("float32"), network_keys=(), full=False)(engine, {"image": torch.ones(1, 1, 2, 2)})


def resumable(folder, epochs=1, metrics=(), interval=1, schedule=None, optimizer=None, **arguments):
    """A training that needs nothing; the bias it learns is the epoch's number, the key metric is given by epoch."""
    net = nn.Linear(2, 2)
    trainer = Engine(lambda engine, batch: nn.init.constant_(net.bias, engine.state.epoch))
    trainer.state.epoch_length, trainer.state.max_epochs, trainer.state.rank = 3, epochs, 0
    trainer.run = partial(trainer.run, [1, 2, 3], max_epochs=epochs)
    if metrics:
        arguments["evaluator"] = judge(net, metrics)
        ValidationHandler(interval, arguments["evaluator"]).attach(trainer)
    optimizer = (optimizer or partial(torch.optim.SGD, lr=0.1, momentum=0.9))(net.parameters())
    if schedule is not None:
        arguments["lr_scheduler"] = scheduler = schedule(optimizer)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: (optimizer.step(), scheduler.step()))
    return ResumableTraining(trainer, net, optimizer, folder, **arguments)


def judge(net, metrics):
    """An evaluator whose key metric is given by epoch."""

    class Given:
        def attach(self, engine, name):
            engine.add_event_handler(
                Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update({name: metrics[e.state.epoch - 1]})
            )

    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=[{}],
        network=net,
        iteration_update=lambda engine, batch: None,
        key_val_metric={"froc": Given()},
        metric_cmp_fn=better,
        decollate=False,
    )


def best_epoch(folder):
    """The epoch whose weights are in model.pt."""
    return float(torch.load(folder / "model.pt", weights_only=True)["bias"][0])


def test_a_training_goes_on_with_the_teacher_it_began_with(tmp_path):
    resumable(tmp_path, depends_on={"_desc_": "not counted", "teacher": "abc"}).run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["depends_on"] == {"teacher": "abc"}
    resumable(tmp_path, depends_on={"teacher": "abc"}).run()
    with pytest.raises(
        ValueError, match=r"last\.pt learnt from \{'teacher': 'abc'\}, this training from \{'teacher': 'd"
    ):
        resumable(tmp_path, depends_on={"teacher": "def"}).run()
    with pytest.raises(ValueError, match=r"this training from \{\}"):
        resumable(tmp_path).run()


DATA = {"datalist": "abc", "section": ["training"], "findings": ["Mass"]}


@pytest.mark.parametrize("metrics", [(), [0.5, 0.6]], ids=["unjudged", "judged"])
def test_a_training_goes_on_with_the_data_it_began_with_and_its_weights_say_it(tmp_path, metrics):
    resumable(tmp_path, data=DATA, metrics=metrics).run()
    assert torch.load(tmp_path / "model.pt", weights_only=True).made_for == DATA
    resumable(tmp_path, epochs=2, data=DATA, metrics=metrics).run()
    for change in ({"datalist": "def"}, {"section": ["test"]}, {"findings": ["Nodule"]}):
        with pytest.raises(ValueError, match=r"last\.pt learnt from something else: .* instead of .*another folder"):
            resumable(tmp_path, epochs=3, data=DATA | change, metrics=metrics).run()
    load_weights(nn.Linear(2, 2), tmp_path / "model.pt")


def test_a_checkpoint_that_does_not_say_its_data_goes_on(tmp_path):
    resumable(tmp_path).run()
    resumable(tmp_path, epochs=2, data=DATA).run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["data"] == DATA


@pytest.mark.parametrize(
    ("metrics", "best"), [([math.nan] * 3, 3), ([math.nan, 0.5, math.nan], 2), ([0.5, math.nan, 0.4], 1)]
)
def test_without_a_number_to_judge_by_the_last_weights_are_kept_and_that_is_said(tmp_path, metrics, best, caplog):
    resumable(tmp_path, epochs=3, metrics=metrics).run()
    assert best_epoch(tmp_path) == best
    assert caplog.text.count("The key metric froc is not a number") == int(math.isnan(metrics[0]))


def test_a_resumed_training_goes_on_without_a_number(tmp_path):
    resumable(tmp_path, epochs=1, metrics=[math.nan]).run()
    resumable(tmp_path, epochs=2, metrics=[math.nan] * 2).run()
    assert best_epoch(tmp_path) == 2


def one_cycle(steps):
    return partial(OneCycleLR, max_lr=0.1, total_steps=steps)


def test_a_schedule_of_so_many_steps_takes_no_more(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    resumable(tmp_path, epochs=2, schedule=one_cycle(6)).run()
    resumable(tmp_path, epochs=2, schedule=one_cycle(6)).run()
    assert "(2 of 2 epochs)" in caplog.text
    assert "To train on, begin another from them, in another folder" in caplog.text
    for schedule, steps in ((one_cycle(9), "9"), (ConstantLR, "any number of"), (None, "any number of")):
        with pytest.raises(ValueError, match=f"was made for 6 steps, this training's is for {steps}.*init_checkpoint"):
            resumable(tmp_path, epochs=3, schedule=schedule).run()
    resumable(tmp_path, epochs=2, schedule=one_cycle(6)).run()  # nothing is spoilt


def test_a_schedule_of_any_number_of_steps_takes_more(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for epochs in (1, 1, 2):
        resumable(tmp_path, epochs=epochs, schedule=partial(LinearLR, total_iters=2)).run()
    assert "To train on, raise the number of epochs" in caplog.text
    assert "Resuming after epoch 1 of 2" in caplog.text
    assert best_epoch(tmp_path) == 2


@pytest.mark.parametrize("length", [0, 60], ids=["the loader's length", "a length of its own"])
@pytest.mark.parametrize(("ranks", "where"), [(1, ""), (2, " on each of 2 ranks")])
def test_fewer_images_than_a_batch_are_refused(tmp_path, length, ranks, where):
    training = resumable(tmp_path)
    images = [0, 1, 2]
    sampler = DistributedSampler(images, num_replicas=ranks, rank=0)
    training.trainer.data_loader = DataLoader(images, batch_size=4, sampler=sampler, drop_last=True)
    training.trainer.state.epoch_length = length
    with pytest.raises(ValueError, match=f"whole batch an epoch: 3 images, batch size 4{where}. Add images, or lower"):
        training.run()
    assert not list(tmp_path.iterdir())


SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW


@pytest.mark.parametrize("schedule", [None, ConstantLR, partial(LinearLR, total_iters=9)])
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"lr": 0.5}, "lr was 0.1, now 0.5"),
        ({"momentum": 0.1}, "momentum was 0.9, now 0.1"),
        ({"weight_decay": 0.02, "nesterov": False}, "weight_decay was 0.01, now 0.02; nesterov was True, now False"),
    ],
)
def test_other_settings_of_the_optimizer_are_refused(tmp_path, schedule, changes, found):
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}
    resumable(tmp_path, schedule=schedule, optimizer=partial(SGD, **settings)).run()
    with pytest.raises(ValueError, match=rf"other settings of the optimizer: {found}. Give those"):
        resumable(tmp_path, epochs=2, schedule=schedule, optimizer=partial(SGD, **settings | changes)).run()
    resumable(tmp_path, epochs=2, schedule=schedule, optimizer=partial(SGD, **settings)).run()
    assert best_epoch(tmp_path) == 2


def test_what_a_one_cycle_schedule_moves_is_no_other_setting(tmp_path):
    def training(epochs=1, rate=0.001, **settings):
        schedule = partial(OneCycleLR, max_lr=rate, total_steps=6)
        return resumable(tmp_path, epochs, schedule=schedule, optimizer=partial(ADAMW, lr=rate, **settings))

    training().run()
    moved = torch.load(tmp_path / "last.pt", weights_only=True)["optimizer"]["param_groups"][0]
    assert moved["betas"][0] != training().optimizer.param_groups[0]["betas"][0]
    with pytest.raises(ValueError, match=r"lr was 4e-05, now 8e-05; max_lr was 0\.001, now 0\.002"):
        training(2, rate=0.002).run()
    with pytest.raises(ValueError, match=r"betas\[1:\] was \(0\.999,\), now \(0\.99,\)"):
        training(2, betas=(0.9, 0.99)).run()
    training(2, foreach=False).run()  # how, not what
    assert best_epoch(tmp_path) == 2


@pytest.mark.parametrize(("interval", "best", "said"), [(5, 3, 1), (2, 2, 0)])
def test_a_training_never_validated_leaves_its_last_weights_and_says_so(tmp_path, interval, best, said, caplog):
    resumable(tmp_path, epochs=3, metrics=[0.5] * 3, interval=interval).run()
    assert best_epoch(tmp_path) == best
    assert caplog.text.count("No epoch of the 3 was validated") == said


def test_a_checkpoint_to_resume_from_is_not_taken_for_weights(tmp_path):
    resumable(tmp_path).run()
    with pytest.raises(
        ValueError, match=r"last\.pt is a checkpoint that a training resumes from.*beside it.*model\.pt"
    ):
        load_weights(nn.Linear(2, 2), tmp_path / "last.pt")
    load_weights(nn.Linear(2, 2), tmp_path / "model.pt")


def test_weights_of_another_precision_are_read_into_the_networks_own(tmp_path):
    stored = {name: value.half() for name, value in nn.Linear(2, 2).state_dict().items()}
    save_atomically(stored, tmp_path / "model.pt")
    net = nn.Linear(2, 2)
    load_weights(net, tmp_path / "model.pt")
    assert net.weight.dtype == torch.float32
    assert torch.equal(net.weight, stored["weight"].float())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weight": torch.zeros(2, 2)}, r"does not fit this network: Missing key.*\"bias\".*Give that one, or"),
        ({"module.weight": torch.zeros(2, 2)}, r"Missing key.*; Unexpected key.*\"module\.weight\""),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, r"size mismatch for weight.*\[3, 2\].*\[2, 2\]"),
        ({"weight": torch.zeros(2, 2), "bias": torch.tensor([0, math.nan])}, r"not numbers, in bias"),
        ([torch.zeros(2)], r"holds a list; wanted weights by name"),
        ({"weight": print}, r"cannot be read.*or holds more than tensors"),
        (b"PK\3\4 cut short", r"cannot be read: it is damaged"),
        (b"\10\0\0\0\0\0\0\0{}      ", r"cannot be read.*no file of weights by torch\.save"),  # safetensors
        (b"", r"cannot be read"),
    ],
)
def test_what_is_no_file_of_this_networks_weights_is_refused(tmp_path, content, said):
    path = tmp_path / "model.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=said):
        load_weights(nn.Linear(2, 2), path)


def test_a_training_says_what_it_begins_with(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    training = resumable(tmp_path / "a")
    training.network.bias.requires_grad_(False)
    training.network.random = [""]  # as CLIPTowers has it, of parts
    training.run()
    assert "Starting from the network as configured: no checkpoint" in caplog.text
    assert "random" not in caplog.text  # a part of it trains
    training = resumable(tmp_path / "b")
    training.network.requires_grad_(False).random = [""]
    training.run()
    assert "has random weights and is frozen" in caplog.text
    caplog.clear()
    training = resumable(tmp_path / "b", init_from=tmp_path / "a" / "model.pt", epochs=2)
    training.run()
    assert "as configured" not in caplog.text


def test_a_network_without_prompts_is_not_trained(tmp_path):
    training = resumable(tmp_path)
    training.network.has_prompts = False
    with pytest.raises(ValueError, match=r"its findings have no prompts.*`init_checkpoint` a file"):
        training.run()
    assert not training.last.exists()
    torch.save(training.network.state_dict(), tmp_path / "silent.pt")  # weights that bring none do not help
    training.init_from = tmp_path / "silent.pt"
    with pytest.raises(ValueError, match="its findings have no prompts"):
        training.run()


def test_a_teacher_joins_the_output():
    net, seen = nn.Conv2d(1, 1, 1), []
    engine = SimpleNamespace(
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), 0.1),
        inferer=lambda image, network, **_: {"student": network(image)},
        state=SimpleNamespace(device=torch.device("cpu"), epoch=1, iteration=1),
        non_blocking=False,
        fire_event=lambda _: None,
        loss_function=lambda output, _: seen.append(sorted(output)) or {"loss": output["student"].sum()},
    )
    step = TrainingStep(
        Precision("float32"), network_keys=(), full=False, teacher=lambda batch: {"teacher": batch["image"] + 1}
    )
    step(engine, {"image": torch.ones(1, 1, 2, 2)})
    assert seen == [["student", "teacher"]]


@pytest.mark.parametrize("computes", [True, False])
def test_a_card_that_only_emulates_bfloat16_trains_in_float32(monkeypatch, computes):
    def supported(including_emulation=True):
        return including_emulation or computes

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert Precision("auto").uses_bfloat16(torch.device("cuda")) is computes


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'auto', 'bfloat16' or 'float32'"):
        Precision("half")


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    """One bit of a tensor is another."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data/0"))
        values = archive.read(name)
    place = content.index(values, content.index(name.encode()))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda content: bytes(len(content)), lambda content: b""])
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, damage):
    resumable(tmp_path, epochs=2).run()
    last = tmp_path / "last.pt"
    before = previous_of(last).read_bytes()
    assert torch.load(previous_of(last), weights_only=True)["epoch"] == 1
    whole = last.read_bytes()
    last.write_bytes(damage(whole))
    training = resumable(tmp_path, epochs=3)
    training.run()
    assert "last.pt cannot be read" in caplog.text
    assert "the one before, of epoch 1" in caplog.text
    assert training.trainer.state.epoch == 3
    assert torch.load(last, weights_only=True)["epoch"] == 3
    last.write_bytes(b"")
    previous_of(last).write_bytes(cut(before))
    with pytest.raises(ValueError, match=r"last_but_one\.pt cannot be read"):
        resumable(tmp_path, epochs=4).run()


def test_a_first_checkpoint_that_is_damaged_is_refused(tmp_path):
    resumable(tmp_path).run()
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"last\.pt cannot be read"):
        resumable(tmp_path, epochs=2).run()


def test_the_one_before_is_copied_where_there_are_no_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("no hard links")))
    resumable(tmp_path, epochs=2).run()
    assert torch.load(previous_of(tmp_path / "last.pt"), weights_only=True)["epoch"] == 1
