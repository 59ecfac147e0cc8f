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
    return gathered(*tensors)[0]


def gathered(*tensors: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], int]:
    """As `gather_rows`, and the place of this rank's first row among them all.

    For a loss that is a sum over rows, of which each rank computes its own rows' share against all:
    `sum_over_ranks` of the shares then is the loss.
    """
    if not several_ranks() or not any(tensor.requires_grad for tensor in tensors):
        return tensors, 0
    counts = _counts(tensors[0])
    longest = max(1, *counts)  # not every backend gathers nothing
    place = torch.arange(longest, device=tensors[0].device)
    kept = torch.cat([place[:count] + rank * longest for rank, count in enumerate(counts)])  # (N,)
    return tuple(_Gather.apply(_padded(tensor, longest))[kept] for tensor in tensors), sum(counts[: dist.get_rank()])


def sum_over_ranks(share: torch.Tensor) -> torch.Tensor:
    """L = Σ_r share_r, the same on every rank, of scalars that hang on gathered rows; every rank must call.

    The gradient of a rank's own share is the number of ranks, of which DistributedDataParallel's mean makes 1. A share
    that wants no gradient, such as an evaluation's, stays as it is: nothing was gathered for it.
    """
    return _Sum.apply(share) if several_ranks() and share.requires_grad else share


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
    def forward(_: Any, rows: torch.Tensor) -> torch.Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        own = gradient.new_empty(len(gradient) // dist.get_world_size(), *gradient.shape[1:])
        dist.reduce_scatter_single(own, gradient.contiguous())
        return own


class _Sum(torch.autograd.Function):
    """A scalar of each rank -> their sum."""

    @staticmethod
    def forward(_: Any, share: torch.Tensor) -> torch.Tensor:
        total = share.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * dist.get_world_size()
