"""From samples to batches: what is stacked, what is padded, and in which order epochs go."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from monai.data import MetaTensor, list_data_collate
from torch.utils.data import Dataset, DistributedSampler

from bundle.losses.gather import rank_and_world

BOX_ROWS = {"box_finding": -1, "box_cnr": math.nan, "caption_id": -1, "negative_id": -1, "negative_kind": -1}
"""What belongs to `boxes` row by row, where it is there, and what pads it: who drops a box drops these rows too."""
_PADDING = {"boxes": math.nan, "regions": math.nan, "region_valid": False, **BOX_ROWS}


def collate_radiographs(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack what has one shape; pad boxes and regions to the batch's largest number.

    Args:
        samples: dicts. `boxes` and `regions` (N, 4) are padded with NaN, `region_valid` (N,) with False, and what
            belongs to them row by row as `BOX_ROWS` says. Everything that is neither tensor, array nor number
            (reports, patient data) is left behind.

    Returns:
        A dict of tensors whose first axis is the batch.
    """
    most = {key: max((len(s[key]) for s in samples if key in s), default=0) for key in _PADDING}
    rows = []
    for sample in samples:
        row: dict[str, Any] = {}
        for key, value in sample.items():
            if isinstance(value, MetaTensor):
                row[key] = value
            elif key in _PADDING:
                tensor = torch.as_tensor(value)
                padding = tensor.new_full((most[key] - len(tensor), *tensor.shape[1:]), _PADDING[key])
                row[key] = torch.cat([tensor, padding])
            elif not isinstance(value, str | Mapping) and value is not None:
                row[key] = torch.as_tensor(value)
        rows.append(row)
    return list_data_collate(rows)


class EpochSampler(DistributedSampler):
    """The order of an epoch's images, drawn from (seed, epoch), on one process or many.

    MONAI's engines call `set_epoch` when an epoch starts; the dataset's transforms that have a `set_epoch` (the
    augmentations) are told too. So an epoch is the same whether or not training was interrupted before it.

    Args:
        dataset: what to sample from; its `transform` may be a MONAI Compose.
        seed: of the experiment.
        shuffle: False keeps the order.
        even: True repeats a few images so that all ranks get equally many (training); False gives each image to
            exactly one rank (evaluation).

    Raises:
        ValueError: `even` is False and there are fewer images than ranks.
    """

    def __init__(self, dataset: Dataset, seed: int = 0, shuffle: bool = True, even: bool = True) -> None:
        rank, world = rank_and_world()
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=shuffle, seed=seed)
        if not even:
            count = len(dataset)  # type: ignore[arg-type]
            # MONAI skips an empty loader's run: that rank would leave the others waiting in their first collective
            if count < world > 1:
                raise ValueError(
                    f"A section to evaluate has {count} images for {world} processes, but each needs one. "
                    f"Give the section at least {world} images, or start fewer processes (torchrun --nproc_per_node)."
                )
            self.num_samples, self.total_size = len(range(rank, count, world)), count
        self._goes_on: tuple[int, int] | None = None

    def go_on(self, epoch: int, skip: int) -> None:
        """The next iteration is the rest of an epoch's order, after its first `skip` images of this rank.

        Whatever `set_epoch` says: a loader may still be going through the order of an epoch before.
        """
        self._goes_on = (epoch, skip)

    def __iter__(self) -> Iterator[int]:
        (epoch, skip), self._goes_on = self._goes_on or (self.epoch, 0), None
        return islice(self.order(epoch), skip, None)

    def order(self, epoch: int) -> Iterator[int]:
        """An epoch's images of this rank, by their places in the dataset."""
        now, self.epoch = self.epoch, epoch
        try:
            return super().__iter__()
        finally:
            self.epoch = now

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from now on."""
        super().set_epoch(epoch)
        transform = getattr(self.dataset, "transform", None)
        for step in getattr(transform, "transforms", [transform]):
            if hasattr(step, "set_epoch"):
                step.set_epoch(epoch)
