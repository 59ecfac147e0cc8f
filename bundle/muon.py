"""Muon: matrices step in all their directions alike; everything else steps by AdamW."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

MATRIX = "matrix"
"""Key of a parameter group: its parameters are matrices, or convolutions' kernels, which Muon steps."""

# of the quintic a x + b x³ + c x⁵, whose fifth iterate brings what lies in 0.002..1 to 0.7..1.2 (Jordan et al.)
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class Muon(Optimizer):
    """Momentum, orthogonalised, for the parameter groups with `"matrix": True`; AdamW for the others.

        M ← μ M + (1 - μ) G,   N = μ M + (1 - μ) G,   W ← (1 - ηλ) W - η 0.2 √max(m, n) O(N)

    with G the gradient of W (m, n), μ the momentum, η the learning rate, λ the weight decay, and O(N) ≈ U Vᵀ for
    N = U S Vᵀ, by five Newton-Schulz iterations in float32. A kernel (m, C, kh, kw) is the matrix (m, C·kh·kw). The
    factor gives a step the root mean square of AdamW's, so that both take the same η and λ.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the factor: Liu et al.,
    "Muon is Scalable for LLM Training", 2025, arXiv 2502.16982. `torch.optim.Muon` takes matrices alone: no kernels,
    and nothing beside them.

    Args:
        params: groups, as of `bundle.optim.parameter_groups` with `matrices`.
        lr: η.
        betas: AdamW's.
        eps: AdamW's.
        weight_decay: λ, of both.
        muon_momentum: μ, in 0..1.

    Raises:
        ValueError: the momentum is outside 0..1, or a matrix group holds a vector.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        muon_momentum: float = 0.95,
    ) -> None:
        if not 0 <= muon_momentum < 1:
            raise ValueError(f"muon_momentum is {muon_momentum}; give a number from 0 to less than 1.")
        self._adamw = AdamW([torch.zeros(())], lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        super().__init__(params, {**self._adamw.defaults, MATRIX: False, "muon_momentum": muon_momentum})
        held = [p for group in self.param_groups if group[MATRIX] for p in group["params"]]
        if vectors := [tuple(p.shape) for p in held if p.ndim < 2]:
            raise ValueError(f"Muon: a matrix group holds parameters of shapes {vectors}; AdamW steps those.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"] if group[MATRIX] else ():
                if parameter.grad is not None:
                    self._step_matrix(parameter, parameter.grad, group)
        # groups and states are this optimizer's, which schedules move and checkpoints hold
        self._adamw.param_groups, self._adamw.state = [g for g in self.param_groups if not g[MATRIX]], self.state
        self._adamw.step()
        return loss

    def _step_matrix(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, momentum = self.state[parameter], group["muon_momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        step = orthogonalised(gradient.lerp(state["momentum_buffer"], momentum).flatten(1))
        size = 0.2 * max(step.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(step.reshape(parameter.shape), alpha=-group["lr"] * size)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """U Vᵀ of a matrix (m, n) = U S Vᵀ, nearly: its singular values, S, become 0.7 to 1.2, but for those next to 0."""
    wide = matrix.float() if matrix.shape[0] <= matrix.shape[1] else matrix.float().T
    wide = wide / wide.norm().clamp_min(1e-7)
    # X ← P X with P = a + b X Xᵀ + c (X Xᵀ)²: P needs X Xᵀ alone, which becomes P X Xᵀ P, so X is multiplied once
    square = wide @ wide.T
    product = even = _polynomial(square)
    for _ in range(_ITERATIONS - 1):
        square = even @ square @ even
        even = _polynomial(square)
        product = even @ product
    wide = product @ wide
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.T).to(matrix.dtype)


def _polynomial(square: torch.Tensor) -> torch.Tensor:
    found = torch.addmm(square, square, square, beta=_B, alpha=_C)
    found.diagonal().add_(_A)
    return found
