"""A linear head in place of prompts: what it computes, what trains, and what weights of prompts leave it."""

import pytest
import torch

from bundle.losses import PatchCLIPLoss
from bundle.networks import LearnedPairs


@pytest.fixture
def image():
    return torch.rand(2, 1, 132, 132, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("text", [True, False])
def test_maps_are_a_linear_layer_on_the_patch_embeddings(build, image, text):
    net = build(network=LearnedPairs, text=text).eval()
    with torch.no_grad():
        full = net(image, full=True)
        absent, present = torch.nn.functional.normalize(net.pairs, dim=-1).unbind(1)  # (K, D) each
        weight = net.scale() * (present - absent)
        wanted = torch.sigmoid(full["patch_embedding"] @ weight.T).transpose(1, 2).unflatten(-1, net.grid)
    torch.testing.assert_close(full["pred"], wanted)
    torch.testing.assert_close(net(image), wanted)


def test_only_what_is_named_trains_the_pairs_among_it(build, image):
    net = build(network=LearnedPairs, trainable=["pairs", "projection.*"]).train()
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad} == {"pairs", "projection"}
    assert not net.clip.training
    out = net(image, full=True)
    batch = {"label": torch.tensor([[1.0, 0, 1]] * 2), "boxed": torch.ones(2, 3, dtype=torch.bool)}
    mask = torch.zeros(2, 3, *net.grid, dtype=torch.bool)
    mask[:, 0, 0, 0] = True
    PatchCLIPLoss()(out, {**batch, "patch_mask": mask})["loss"].backward()
    assert net.pairs.grad.abs().sum((1, 2)).min() > 0
    with pytest.raises(ValueError, match="matches no parameter"):
        build(trainable=["pairs"])  # prompts have none


def test_weights_of_a_network_with_prompts_leave_the_pairs(build):
    source, net = build(seed=1), build(network=LearnedPairs, seed=2)
    before = net.pairs.clone()
    net.load_state_dict(source.state_dict())
    torch.testing.assert_close(net.pairs, before)
    torch.testing.assert_close(net.projection.linear.weight, source.projection.linear.weight)
    again = build(network=LearnedPairs, seed=3)
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again.prompts(), net.prompts())
    assert not torch.equal(again.prompts(), source.prompts())
