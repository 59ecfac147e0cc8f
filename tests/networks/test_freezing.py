"""Freezing: which parameters train, and what a curriculum may narrow."""

import copy

import pytest
import torch
from torch import nn

from bundle.networks.freezing import Freezing


def network(trainable=None):
    """A tower with dropout, a head and a norm; its `freezing` as a network has it."""
    torch.manual_seed(0)
    net = nn.ModuleDict(
        {
            "tower": nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)),
            "head": nn.Linear(3, 3),
            "norm": nn.BatchNorm1d(3),
        }
    )
    net.freezing = Freezing(net, trainable)
    return net


def trains(net):
    return [name for name, p in net.named_parameters() if p.requires_grad]


def modes(net):
    net.train()
    net.freezing.apply()
    return {name for name, module in net.named_modules() if name and module.training}


def test_narrowed_and_widened_again():
    net = network()
    assert len(trains(net)) == 6
    assert modes(net) == {"tower", "tower.0", "tower.1", "head", "norm"}
    net.freezing.narrow(["head.*"])
    assert trains(net) == ["head.weight", "head.bias"]
    assert modes(net) == {"head"}
    net.freezing.narrow(["tower.0.weight", "norm.*"])
    assert trains(net) == ["tower.0.weight", "norm.weight", "norm.bias"]
    assert modes(net) == {"tower", "tower.0", "tower.1", "norm"}
    net.freezing.narrow(None)
    assert len(trains(net)) == 6
    assert modes(net) == {"tower", "tower.0", "tower.1", "head", "norm"}


def test_never_more_than_the_configuration_trains():
    net = network(["head.*", "norm.weight"])
    net.freezing.narrow(["*.weight"])
    assert trains(net) == ["head.weight", "norm.weight"]
    net.freezing.narrow(None)
    assert trains(net) == ["head.weight", "head.bias", "norm.weight"]
    with pytest.raises(ValueError, match=r"'tower\.\*' matches no parameter that network_def's.*head\.bias"):
        net.freezing.narrow(["head.*", "tower.*"])
    assert trains(net) == ["head.weight", "head.bias", "norm.weight"]  # as before the refusal


def test_what_was_frozen_before_stays_frozen():
    net = network()
    net["tower"].requires_grad_(False)  # such as a teacher
    net.freezing = Freezing(net, None)
    net.freezing.narrow(["head.*"])
    net.freezing.narrow(None)
    assert trains(net) == ["head.weight", "head.bias", "norm.weight", "norm.bias"]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    ],
    ids=["SGD", "AdamW"],
)
def test_frozen_parameters_do_not_move(optimizer):
    net = network().eval()
    steps = optimizer(net.parameters())

    def step():
        net["norm"](net["head"](net["tower"](torch.ones(2, 3)))).square().sum().backward()
        steps.step()

    step()  # fills gradients and momentum
    net.freezing.narrow(["head.weight"])
    before = copy.deepcopy(net.state_dict())
    step()  # without zero_grad: narrow dropped the old gradients
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"head.weight"}
    net.freezing.narrow(None)
    step()
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved >= {"tower.0.weight", "head.bias", "norm.weight"}


def test_a_copy_freezes_itself():
    net = network()
    other = copy.deepcopy(net)
    other.freezing.narrow(["head.*"])
    assert len(trains(net)) == 6
    assert trains(other) == ["head.weight", "head.bias"]
