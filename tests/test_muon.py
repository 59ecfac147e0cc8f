"""Muon: torch's own step for matrices, AdamW's for the rest, kernels as matrices."""

import io
from typing import Any

import pytest
import torch
from torch import nn

from bundle.muon import MATRIX, Muon, orthogonalised
from bundle.optim import parameter_groups

SETTINGS = {"lr": 0.01, "weight_decay": 0.1}


def _weights(*shape: int, steps: int = 3) -> tuple[nn.Parameter, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(len(shape))
    draw = torch.randn(steps + 1, *shape, generator=generator)
    return nn.Parameter(draw[0].clone()), list(draw[1:])


def _stepped(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: list[torch.Tensor]) -> torch.Tensor:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach().clone()


def test_orthogonalised_has_the_singular_vectors_and_none_of_the_values() -> None:
    for shape in ((6, 40), (40, 6)):
        matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
        u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
        found = u.T @ orthogonalised(matrix) @ vh.T
        values = found.diagonal()
        assert torch.allclose(found, values.diag(), atol=1e-4)
        assert values.min() > 0.65
        assert values.max() < 1.25


@pytest.mark.parametrize("shape", [(32, 32), (32, 200)])
def test_small_singular_values_grow_as_by_the_iteration_in_float64(shape: tuple[int, int]) -> None:
    """Computed by the smaller side's squares, what lies in .002 to 1 must come to .7 to 1.2 all the same."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(drawn, full_matrices=False)
    values = torch.logspace(0, -3, 32, dtype=torch.float64)
    wanted = values / values.norm()
    for _ in range(5):
        wanted = 3.4445 * wanted - 4.7750 * wanted**3 + 2.0315 * wanted**5
    found = (u.T @ orthogonalised((u * values @ vh).float()).double() @ vh.T).diagonal()
    assert (found - wanted).abs().max() < 1e-3
    assert found[values / values.norm() > 0.002].min() > 0.65


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_a_matrix_steps_as_by_torch(shape: tuple[int, int]) -> None:
    ours, gradients = _weights(*shape)
    theirs = nn.Parameter(ours.detach().clone())
    start = ours.detach().clone()
    found = _stepped(Muon([{"params": [ours], MATRIX: True}], **SETTINGS), ours, gradients) - start
    library = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", momentum=0.95, **SETTINGS)
    wanted = _stepped(library, theirs, gradients) - start
    assert (found - wanted).norm() < 0.02 * wanted.norm()  # torch orthogonalises in bfloat16


def test_a_kernel_steps_as_its_matrix_in_any_layout() -> None:
    kernel, gradients = _weights(8, 4, 3, 3)
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    last = nn.Parameter(kernel.detach().contiguous(memory_format=torch.channels_last))
    wanted = _stepped(Muon([{"params": [matrix], MATRIX: True}], **SETTINGS), matrix, [g.flatten(1) for g in gradients])
    for one in (kernel, last):
        found = _stepped(Muon([{"params": [one], MATRIX: True}], **SETTINGS), one, gradients)
        assert torch.allclose(found.flatten(1), wanted, atol=1e-6)


def test_everything_else_steps_by_adamw_and_a_schedule_moves_both() -> None:
    vector, gradients = _weights(5)
    kernel, kernel_gradients = _weights(4, 3, 3)
    other = nn.Parameter(vector.detach().clone())
    groups = [{"params": [kernel], MATRIX: True}, {"params": [vector]}]
    for parameter, rest, optimizer in (
        (vector, kernel, Muon(groups, betas=(0.8, 0.9), **SETTINGS)),
        (other, None, torch.optim.AdamW([other], betas=(0.8, 0.9), **SETTINGS)),
    ):
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=len(gradients))
        for gradient, second in zip(gradients, kernel_gradients, strict=True):
            parameter.grad = gradient.clone()
            if rest is not None:
                rest.grad = second.clone()
            optimizer.step()
            schedule.step()
        assert {group["lr"] for group in optimizer.param_groups} == set(schedule.get_last_lr())
    assert torch.equal(vector, other)
    assert not torch.equal(kernel, _weights(4, 3, 3)[0])


def test_goes_on_from_a_checkpoint_to_the_same_bits() -> None:
    def optimizer() -> tuple[nn.ParameterList, Muon]:
        parameters = nn.ParameterList([_weights(4, 6)[0], _weights(5)[0]])
        return parameters, Muon([{"params": [parameters[0]], MATRIX: True}, {"params": [parameters[1]]}], **SETTINGS)

    def step(parameters: nn.ParameterList, stepping: Muon, number: int) -> None:
        for parameter in parameters:
            parameter.grad = _weights(*parameter.shape)[1][number]
        stepping.step()

    whole, stepping = optimizer()
    for number in range(3):
        step(whole, stepping, number)
        if number == 0:
            weights = {name: value.clone() for name, value in whole.state_dict().items()}
            state = torch.load(_saved(stepping.state_dict()), weights_only=True)
    resumed, stepping = optimizer()
    resumed.load_state_dict(weights)
    stepping.load_state_dict(state)
    for number in (1, 2):
        step(resumed, stepping, number)
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def _saved(state: dict[str, Any]) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_matrices_are_those_of_layers() -> None:
    network = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "linear": nn.Linear(4, 4),
            "score": nn.Linear(4, 1),
            "attention": nn.MultiheadAttention(4, 2),
            "words": nn.Embedding(5, 4),
            "norm": nn.LayerNorm(4),
        }
    )
    groups = parameter_groups(network, {"linear.*": 0.5}, no_decay=True, matrices=True)
    names = {parameter: name for name, parameter in network.named_parameters()}
    found = {names[p] for group in groups if group[MATRIX] for p in group["params"]}
    assert found == {"conv.weight", "linear.weight", "attention.in_proj_weight", "attention.out_proj.weight"}
    assert {names[p]: group["lr"] for group in groups if "lr" in group for p in group["params"]} == {
        "linear.weight": 0.5,
        "linear.bias": 0.5,
    }
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \[\(5,\)\]"):
        Muon([{"params": [nn.Parameter(torch.zeros(5))], MATRIX: True}])
    with pytest.raises(ValueError, match="muon_momentum is 1"):
        Muon([nn.Parameter(torch.zeros(5))], muon_momentum=1)
