"""Tables of rows per image that grow during evaluation and are gathered across ranks, every image once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import Cumulative
from monai.utils import evenly_divisible_all_gather
from numpy.typing import ArrayLike, NDArray

_INDEX, _VISIT, _FIRST = range(3)  # the two columns put before the caller's


class CumulativeRows(Cumulative):
    """Buffers of float64 rows, any number of them per image, for metrics that need more than one number per image.

    Differs from MONAI's `Cumulative` in three ways that an evaluation in shards needs: an image may have no row in a
    table; a rank without any image still takes part in the gathering (else the others wait for ever); an image seen
    twice, as samplers that pad the last batch do, counts once: its first visit on the lowest rank.

    Args:
        widths: columns of each table as the caller gives it. The first table has exactly one row per image.
        identity: how many leading columns of the first table must be equal at every visit of an image, because they
            are its ground truth. A difference means that two images share an index.
    """

    _buffers: list[list[torch.Tensor]] | None
    _synced_tensors: list[torch.Tensor | None] | None

    def __init__(self, widths: Sequence[int], identity: int) -> None:
        self._widths = tuple(widths)
        self._identity = identity
        super().__init__()

    def reset(self) -> None:
        """Forget every image."""
        super().reset()
        self._visits = 0

    def add(self, index: int, *tables: ArrayLike) -> None:
        """Add the rows of one image.

        Args:
            index: the image's number, the same on every rank and visit.
            tables: one array (n, width) for each table, n == 1 for the first.

        Raises:
            ValueError: where number or shapes of the tables do not fit.
        """
        if len(tables) != len(self._widths):
            raise ValueError(f"{len(self._widths)} tables wanted, got {len(tables)}")
        if self._buffers is None:
            self._buffers = [[] for _ in self._widths]
        for buffer, table, width in zip(self._buffers, tables, self._widths, strict=True):
            rows = np.asarray(table, np.float64).reshape(-1, width)
            stamped = np.empty((len(rows), _FIRST + width))
            stamped[:, _INDEX], stamped[:, _VISIT], stamped[:, _FIRST:] = index, self._visits, rows
            buffer.append(torch.from_numpy(stamped))
        self._visits += 1
        self._synced = False

    def aggregate(self, *args: Any, **kwargs: Any) -> Any:
        """Not defined here: a metric built on these rows says what to make of them."""
        raise NotImplementedError

    def rows(self) -> list[NDArray[np.float64]]:
        """All ranks' tables, (n, 1 + width): the image's index, then the caller's columns; by index, every image once.

        Collective: every rank must call it (as it must `aggregate`, `get_buffer` and `len`, which do).

        Raises:
            ValueError: where two images share an index.
        """
        self._sync()
        return [table.numpy() for table in self._synced_tensors or [] if table is not None]

    def _sync(self) -> None:
        if self._synced:
            return
        buffers = self._buffers or [[] for _ in self._widths]
        tables = [_gather(buffer, _FIRST + width) for buffer, width in zip(buffers, self._widths, strict=True)]
        self._synced_tensors = [torch.from_numpy(table) for table in self._once(tables)]
        self._synced = True

    def _once(self, tables: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Keep the first visit of each image, sort by index and drop the visit column."""
        images = tables[0]
        index, first, inverse = np.unique(images[:, _INDEX], return_index=True, return_inverse=True)
        truth = images[:, _FIRST : _FIRST + self._identity]
        same = ((truth == truth[first][inverse]) | (np.isnan(truth) & np.isnan(truth[first][inverse]))).all(1)
        if not same.all():
            shared = sorted({int(number) for number in images[~same, _INDEX]})
            raise ValueError(f"different ground truth under one image index: {shared[:10]}; indices must be unique")
        kept = images[first, _VISIT]
        result = []
        for table in tables:
            mine = table[table[:, _VISIT] == kept[np.searchsorted(index, table[:, _INDEX])]] if len(table) else table
            mine = mine[np.argsort(mine[:, _INDEX], kind="stable")]
            result.append(np.delete(mine, _VISIT, axis=1))
        return result


def groups(index: NDArray[np.float64], group: NDArray[np.float64]) -> NDArray[np.int64]:
    """The unit that the bootstrap draws: the patients if every image names one, the images if none does.

    Raises:
        ValueError: where some images name a group and others do not.
    """
    absent = np.isnan(group)
    if absent.any() and not absent.all():
        raise ValueError(f"{absent.sum()} of {len(group)} images name no group: give it for all images or for none")
    return (index if absent.all() else group).astype(np.int64)


def _gather(buffer: list[torch.Tensor], width: int) -> NDArray[np.float64]:
    """One table of all ranks, rank after rank, its visits made distinct between ranks: (n, width)."""
    # a last row of zeros, so that no rank sends an empty tensor
    local = torch.cat([*buffer, torch.zeros(1, width, dtype=torch.float64)])
    gathered = evenly_divisible_all_gather(local, concat=False)
    ranks = [gathered] if isinstance(gathered, torch.Tensor) else gathered
    tables = [table[:-1].cpu().numpy().copy() for table in ranks]
    for rank, table in enumerate(tables):
        table[:, _VISIT] = table[:, _VISIT] * len(tables) + rank
    return np.concatenate(tables)
