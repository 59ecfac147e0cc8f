"""Prompts that tell findings apart."""

import pytest
import torch
from torch import nn

from bundle.checkpoints import load_weights, save_atomically
from bundle.networks.separate_prompts import separate_prompts


def test_the_prompts_are_orthonormal_and_nearest_to_what_they_were(build):
    plain, apart = build().eval(), build(separate_prompts=True).eval()
    with torch.no_grad():
        before, after = plain.prompts().flatten(0, 1), apart.prompts().flatten(0, 1)  # (2K, D)
    assert (before @ before.T - torch.eye(6)).abs().max() > 0.1
    torch.testing.assert_close(after @ after.T, torch.eye(6), atol=1e-5, rtol=0)
    # no other orthonormal set is nearer: turned a little, within its span or out of it, it is farther away
    nearest = (after - before).norm()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        turn = torch.randn(12, 12, generator=generator)
        turned = after @ torch.linalg.matrix_exp(0.1 * (turn - turn.T))
        assert (turned - before).norm() > nearest


def test_what_has_no_share_in_the_prompts_stays_as_it_is():
    """A text whose features are orthogonal to the prompts' is projected as before: the change is the smallest."""
    torch.manual_seed(0)
    projection, pooled = nn.Linear(10, 6, bias=False), torch.randn(4, 10)
    other = torch.linalg.svd(pooled, full_matrices=True)[2][4:]  # (6, 10)
    with torch.no_grad():
        before = projection(other)
        separate_prompts(projection, pooled, [1, 1, 1, 1])
        torch.testing.assert_close(projection(other), before)


def test_weights_that_are_loaded_bring_their_own_projection(build, tmp_path):
    trained = build(seed=5)
    save_atomically(trained.state_dict(), tmp_path / "model.pt")
    apart = build(separate_prompts=True).eval()
    load_weights(apart, tmp_path / "model.pt")
    with torch.no_grad():
        torch.testing.assert_close(apart.prompts(), trained.eval().prompts())


def test_the_prompts_of_a_frozen_text_tower_stay_orthonormal_in_training(build):
    net = build(separate_prompts=True, trainable=["downscaler.*"]).train()
    after = net.prompts().flatten(0, 1)
    torch.testing.assert_close(after @ after.T, torch.eye(6), atol=1e-5, rtol=0)


def test_prompts_that_cannot_be_told_apart_are_refused(build):
    torch.manual_seed(0)
    pooled = torch.randn(4, 10)
    with pytest.raises(ValueError, match=r"4 prompts .* in 3 dimensions made of 10 features"):
        separate_prompts(nn.Linear(10, 3, bias=False), pooled, [1, 1, 1, 1])
    with pytest.raises(ValueError, match="the same features"):
        separate_prompts(nn.Linear(10, 6, bias=False), pooled[[0, 1, 2, 1]], [1, 1, 1, 1])
    with pytest.raises(ValueError, match="the same features"):
        build(separate_prompts=True, prompts={"names": {"Mass": "nodule"}})
