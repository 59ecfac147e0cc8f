"""The rows of all ranks as one batch, with gradients, so that a contrastive loss sees every negative there is."""

from typing import Any

import torch
import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """This process' number among those that train together, and how many they are; (0, 1) for one alone."""
    ready = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if ready else (0, 1)


def several_ranks() -> bool:
    """Whether this process trains together with others."""
    return rank_and_world()[1] > 1


def gather_rows(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The ranks' rows, one after the other in the order of the ranks.

    The ranks may have different numbers of rows, and none at all; every rank must call, or the others wait. Each rank
    then computes the loss L of the whole. What comes back to a rank's own rows is the sum over the ranks of ∂L/∂row;
    DistributedDataParallel's mean over the ranks makes of it the parameters' gradient of one process with all rows.

    Nothing is gathered on a single rank, nor where no tensor wants a gradient: in an evaluation the ranks may have
    different numbers of batches, and the last would wait for ever. A loss is then that of a rank's own batch.

    Args:
        tensors: (n, ...) each, of any dtype; n is the same for all tensors of one rank.

    Returns:
        (N, ...) each, N the sum of the ranks' n.
    """
    if not several_ranks() or not any(tensor.requires_grad for tensor in tensors):
        return tensors
    counts = _counts(tensors[0])
    longest = max(1, *counts)  # not every backend gathers nothing
    place = torch.arange(longest, device=tensors[0].device)
    kept = torch.cat([place[:count] + rank * longest for rank, count in enumerate(counts)])  # (N,)
    return tuple(_Gather.apply(_padded(tensor, longest))[kept] for tensor in tensors)


def _counts(rows: torch.Tensor) -> list[int]:
    """How many rows each rank has."""
    mine = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, mine)
    return [int(count) for count in counts]


def _padded(rows: torch.Tensor, length: int) -> torch.Tensor:
    """(n, ...) -> (length, ...), zeros at the end; a collective wants the same shape from every rank."""
    return torch.cat([rows, rows.new_zeros(length - len(rows), *rows.shape[1:])])


class _Gather(torch.autograd.Function):
    """(n, ...) of each of W ranks -> (W·n, ...). torch's own, in torch.distributed.nn, is deprecated."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        rows = rows.contiguous()
        ctx.own = slice(dist.get_rank() * len(rows), (dist.get_rank() + 1) * len(rows))
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.own]
