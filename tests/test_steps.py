"""What a step may be made of by configuration: several batches, averaged weights, another way to compute it."""

import random
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader
from torch import nn

from bundle.optim import computed_as
from tests.small_training import BATCH, IMAGES, STEPS, Training, ended, same


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
