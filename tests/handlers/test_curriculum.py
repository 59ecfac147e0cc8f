"""Curriculum in a real, small training: weights and freezing by epoch, interrupted and resumed."""

import copy
import logging
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.engines import SupervisedTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bundle.engines import TrainingStep
from bundle.handlers import Curriculum, LossTerms
from bundle.losses import NegativeCaptionLoss, RegionContrastiveLoss, ReportContrastiveLoss, WeightedLosses
from bundle.networks.freezing import Freezing
from bundle.precision import Precision
from bundle.training import ResumableTraining
from tests.forked_ranks import meet, run_ranks
from tests.losses.regions import drawn

STAGES = [
    {"name": "global", "from_epoch": 1, "weights": {"report": 1.0}, "trainable": ["vision.*", "text.*"]},
    {"name": "region", "from_epoch": 2, "weights": {"report": 0.5, "region": 1.0}, "trainable": None},
    {"name": "hard", "from_epoch": 5, "weights": {"region": 1.0, "negative": 2.0}, "trainable": ["roi.*"]},
]
LOSSES = {"report": ReportContrastiveLoss, "region": RegionContrastiveLoss, "negative": NegativeCaptionLoss}


class Towers(nn.Module):
    """An image (B, 6) and fixed texts to all embeddings; dropout shows the mode of `roi`."""

    def __init__(self, trainable=None):
        super().__init__()
        torch.manual_seed(0)
        self.vision, self.text = nn.Linear(6, 6), nn.Linear(6, 6)
        self.roi = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.3))
        self.register_buffer("regions", torch.randn(1, 3, 6))
        self.freezing = Freezing(self, trainable)

    def train(self, mode=True):
        super().train(mode)
        self.freezing.apply()
        return self

    def forward(self, image):
        seen = self.vision(image)  # (B, 6)
        regions = self.roi(seen[:, None] + self.regions)  # (B, 3, 6)
        texts = self.text(self.regions.roll(1, 2) + image[:, None])  # (B, 3, 6)
        negatives = self.text(self.regions.roll(2, 2) - image[:, None])[:, :, None]  # (B, 3, 1, 6)
        embeddings = {"global": seen, "text": texts[:, 0], "region": regions, "caption": texts, "negative": negatives}
        unit = {f"{name}_embedding": F.normalize(value, dim=-1) for name, value in embeddings.items()}
        return {**unit, "logit_scale": torch.tensor(5.0)}


def batches(share=slice(None)):
    """Three batches, or a rank's share of each."""
    image = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(12).view(4, 3)
    target = {"region_valid": ids % 4 > 0, "caption_id": ids, "negative_id": ids[..., None] + 100}
    whole = [{"image": image + shift, **target} for shift in (0.0, 0.5, 1.0)]
    return [{name: value[share] for name, value in batch.items()} for batch in whole]


class Training:
    """A resumable training under a curriculum, and what was seen at the end of each of its epochs."""

    def __init__(self, folder, epochs, dropout=0.3, share=slice(None), wrap=lambda network: network):
        self.network, self.seen = Towers(), []
        self.network.roi[1].p = dropout
        self.loss = WeightedLosses({name: make() for name, make in LOSSES.items()}, dict.fromkeys(LOSSES, 1.0))
        curriculum = Curriculum(STAGES, self.loss, self.network)
        wrapped = wrap(self.network)
        optimizer = torch.optim.SGD(self.network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
        self.trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=batches(share),
            network=wrapped,
            optimizer=optimizer,
            loss_function=self.loss,
            iteration_update=TrainingStep(Precision("float32", channels_last=False), network_keys=(), full=False),
            train_handlers=[LossTerms(), curriculum],
            decollate=False,
        )
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.look)
        self.resumable = ResumableTraining(self.trainer, wrapped, optimizer, folder, seed=3)

    def look(self, engine):
        terms = sorted(engine.state.output[0]["terms"])
        weights = copy.deepcopy(self.network.state_dict())
        self.seen.append((engine.state.epoch, engine.state.stage, terms, self.network.roi[1].training, weights))

    def run(self):
        self.resumable.run()
        return self


def moved(before, after):
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_weights_and_freezing_follow_the_epoch(tmp_path):
    training = Training(tmp_path, epochs=6)
    start = copy.deepcopy(training.network.state_dict())
    training.run()
    assert [(epoch, stage.number, stage.name) for epoch, stage, *_ in training.seen] == [
        (1, 1, "global"),
        (2, 2, "region"),
        (3, 2, "region"),
        (4, 2, "region"),
        (5, 3, "hard"),
        (6, 3, "hard"),
    ]
    assert [terms for _, _, terms, *_ in training.seen] == [
        ["report"],
        *[["region", "report"]] * 3,
        *[["negative", "region"]] * 2,
    ]
    assert [dropout for *_, dropout, _ in training.seen] == [False, True, True, True, True, True]
    weights = [start, *(weights for *_, weights in training.seen)]
    # weight decay is on, and momentum in what trained before: a frozen part moves by neither
    changed = [moved(before, after) for before, after in pairwise(weights)]
    assert changed == [{"vision", "text"}, *[{"vision", "text", "roi"}] * 3, {"roi"}, {"roi"}]
    assert training.trainer.state.metrics["stage"] == 3


@pytest.mark.parametrize("stop", [1, 3, 5], ids=["at the end of a stage", "in its middle", "in the last"])
def test_resumed_it_is_in_the_right_stage_and_ends_with_the_same_weights(tmp_path, stop, caplog):
    whole = Training(tmp_path / "whole", epochs=6).run()
    Training(tmp_path / "parts", epochs=stop).run()
    with caplog.at_level(logging.INFO):
        caplog.clear()
        resumed = Training(tmp_path / "parts", epochs=6).run()
    for now, then in zip(resumed.seen, whole.seen[stop:], strict=True):
        assert now[:4] == then[:4]
        assert all(torch.equal(value, then[4][name]) for name, value in now[4].items())
    logged = [r.getMessage() for r in caplog.records if r.name == "bundle.handlers.curriculum"]
    expected = {1: ["Stage 2, 'region' of 3, at epoch 2"], 3: ["Stage 2, 'region' of 3, at epoch 4"], 5: []}[stop]
    expected += [f"Stage 3, 'hard' of 3, at epoch {max(5, stop + 1)}"]
    assert [text.partition(":")[0] for text in logged] == expected
    assert logged[-1].endswith(": losses region 1, negative 2; trains roi.*.")


def test_killed_within_a_stages_first_epoch(tmp_path):
    whole = Training(tmp_path / "whole", epochs=3).run()
    killed = Training(tmp_path / "parts", epochs=3)

    def stop(_):
        raise KeyboardInterrupt

    killed.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), stop)  # epoch 2 has begun its second iteration
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert killed.trainer.state.stage.number == 2
    resumed = Training(tmp_path / "parts", epochs=3).run()
    assert [stage.number for _, stage, *_ in resumed.seen] == [2, 2]
    assert all(torch.equal(value, whole.seen[-1][4][name]) for name, value in resumed.seen[-1][4].items())


def on_rank(rank, folder):
    """Train on a rank's share of each batch, the images dealt out unevenly."""
    meet(rank, folder)
    share = [slice(0, 3), slice(3, 4)][rank]
    wrap = partial(DistributedDataParallel, find_unused_parameters=True)
    seen = Training(folder / "ranks", epochs=6, dropout=0.0, share=share, wrap=wrap).run().seen
    torch.save([weights for *_, weights in seen], folder / f"{rank}.pt")
    with pytest.raises(ValueError, match=r"Stage 1, .* set find_unused_parameters to true"):
        Training(folder / f"refused{rank}", epochs=6, share=share, wrap=DistributedDataParallel).run()
    dist.destroy_process_group()


def test_two_processes_go_through_the_stages_as_one_does(tmp_path):
    run_ranks(on_rank, tmp_path)
    alone = [weights for *_, weights in Training(tmp_path / "alone", epochs=6, dropout=0.0).run().seen]
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for epoch in range(6):
        for name, value in alone[epoch].items():
            assert torch.equal(ranks[0][epoch][name], ranks[1][epoch][name]), (epoch, name)
            torch.testing.assert_close(ranks[0][epoch][name], value, rtol=0, atol=1e-5)
    assert moved(ranks[0][3], ranks[0][4]) == {"roi"}


def test_a_stage_that_is_never_reached_is_said(tmp_path, caplog):
    Training(tmp_path, epochs=2).run()
    assert "Stage 3, 'hard' begins with epoch 5, but the training ends with epoch 2." in caplog.text
    assert "Stage 2, 'region' begins" not in caplog.text


def test_nothing_changes_before_the_training(tmp_path):
    training = Training(tmp_path, epochs=1)
    assert all(p.requires_grad for p in training.network.parameters())  # the optimizer may be made now
    assert training.loss.weights == dict.fromkeys(LOSSES, 1.0)


def stages(**changes):
    """The stages with the second one changed; None takes a key away."""
    second = {key: value for key, value in {**STAGES[1], **changes}.items() if value is not None}
    return [STAGES[0], second, STAGES[2]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "no stages"),
        (STAGES[1:], r"Stage 1, 'region' begins with epoch 2; the first stage begins with epoch 1"),
        (stages(from_epoch=1), r"Stage 2, 'region' begins with epoch 1, not after 'global'"),
        (stages(from_epoch=5), r"Stage 3, 'hard' begins with epoch 5, not after 'region'"),
        (stages(from_epoch="2"), r"from_epoch of the stages is \[1, '2', 5\]"),
        (stages(from_epoch=None), r"Stage 2 of the curriculum lacks \['from_epoch'\]"),
        (stages(weight={"report": 1}), r"Stage 2 of the curriculum has unknown keys \['weight'\]"),
        (stages(weights={"reports": 1.0}), r"Stage 2, 'region': weights: \['reports'\] are no losses"),
        (stages(weights={"report": 0.0}), r"Stage 2, 'region': .*no loss to train with"),
        (stages(trainable=["vission.*"]), r"Stage 2, 'region': trainable: 'vission\.\*' matches no parameter"),
        (stages(trainable=["roi.*", "text.*"]), r"Stage 2, 'region': trainable: 'text\.\*' matches no parameter that"),
        (stages(trainable=[]), r"Stage 2, 'region': nothing trains"),
    ],
    ids=lambda v: None if isinstance(v, list) else v,
)
def test_faults_are_told_with_their_stage(wrong, message):
    network = Towers(trainable=["vision.*", "roi.*"])
    wrong = [{**stage, "trainable": ["vision.*"]} if stage is STAGES[0] else stage for stage in wrong]
    loss = WeightedLosses({name: make() for name, make in LOSSES.items()}, dict.fromkeys(LOSSES, 1.0))
    with pytest.raises(ValueError, match=message):
        Curriculum(wrong, loss, network)


def test_a_network_without_freezing_is_refused():
    loss = WeightedLosses({"report": ReportContrastiveLoss()}, {"report": 1.0})
    with pytest.raises(ValueError, match=r"Linear has no `freezing`; give the bare network, network_def"):
        Curriculum(STAGES[:1], loss, nn.Linear(2, 2))


def test_by_configuration():
    parser = ConfigParser(
        {
            "network_def": {"_target_": "tests.handlers.test_curriculum.Towers"},
            "loss": {
                "_target_": "bundle.losses.WeightedLosses",
                "losses": {
                    "_desc_": "by name",
                    "report": {"_target_": "bundle.losses.ReportContrastiveLoss"},
                    "region": {"_target_": "bundle.losses.RegionContrastiveLoss"},
                },
                "weights": {"report": 1.0, "region": 1.0},
            },
            "curriculum": {
                "_target_": "bundle.handlers.Curriculum",
                "stages": [{**STAGES[0], "_desc_": "first"}, {**STAGES[1], "weights": {"_desc_": "x", "region": 2.0}}],
                "loss": "@loss",
                "network": "@network_def",
            },
        }
    )
    curriculum = parser.get_parsed_content("curriculum")
    assert curriculum.loss is parser.get_parsed_content("loss")
    assert curriculum.stage(1).trainable == ["vision.*", "text.*"]
    assert [curriculum.stage(epoch).weights for epoch in (2, 9)] == [{"region": 2.0}] * 2
    output, target = drawn(seed=0)
    assert list(curriculum.loss(output, target)) == ["report", "summary", "region", "loss"]
