"""Batches with a wanted share of boxed images, where boxes are few."""

import hashlib
from collections.abc import Iterator

import torch
from torch.utils.data import Dataset

from bundle.data.loading import EpochSampler


def keeps_boxes(seed: int, index: int, fraction: float) -> bool:
    """Whether image number `index` of its section is among the `fraction` of images that keep their boxes.

    u < fraction, with u in [0, 1) made of SHA-256(seed, index): the images of a smaller share are among those of a
    larger one.
    """
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56 < fraction


class BoxedSampler(EpochSampler):
    """`EpochSampler` that fills a part of each batch with images that have a box.

    With n boxed images among N, a batch of B holds B·n/N of them on average: with few, most steps teach that a finding
    is absent and nothing else. Here the first round(share · B) of a batch are boxed images and the others are not; an
    epoch has as many images as before, and each kind is gone through in an order of its own, drawn from (seed, epoch),
    and again from the start where it does not suffice. So boxed images come more often than others in an epoch.

    Args:
        dataset: as for `EpochSampler`; its `data` are the entries, with `boxes` and `index`.
        batch_size: B, of one process.
        share: of boxed images in a batch, above 0 and below 1; None is `EpochSampler`.
        boxed_share: the share of images that keep their boxes in this training (`KeepBoxesd`), whose
            `seed` is this one's.
        seed: of the experiment.

    Raises:
        ValueError: a share that gives a batch no boxed image, or none without; no image that has a box, or all have.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, share: float | None = None, boxed_share: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__(dataset, seed=seed)
        self.batch_size, self.first = batch_size, 0
        if share is None:
            return
        self.first = round(share * batch_size)
        if not 0 < self.first < batch_size:
            raise ValueError(
                f"boxed_in_batch {share} of batch_size {batch_size} gives {self.first} boxed images a batch; give a "
                "share that leaves room for both kinds, or null to draw without regard to boxes."
            )
        entries = dataset.data  # type: ignore[attr-defined]
        kinds: tuple[list[int], list[int]] = ([], [])
        for place, entry in enumerate(entries):
            kinds[len(entry["boxes"]) > 0 and keeps_boxes(seed, int(entry["index"]), boxed_share)].append(place)
        self.others, self.boxed = (torch.tensor(kind) for kind in kinds)
        if not kinds[0] or not kinds[1]:
            raise ValueError(
                f"boxed_in_batch is {share}, but of {len(entries)} images {len(kinds[1])} have a box in this training "
                "(boxed_share); both kinds are needed. Set it to null."
            )

    def order(self, epoch: int) -> Iterator[int]:
        """As `EpochSampler.order`."""
        if not self.first:
            return super().order(epoch)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        world, whole = self.num_replicas, self.batch_size * self.num_replicas
        batches = -(-self.total_size // whole)
        boxed = _drawn(self.boxed, batches * self.first * world, generator).unflatten(0, (batches, -1))
        others = _drawn(self.others, batches * (whole - self.first * world), generator).unflatten(0, (batches, -1))
        # rank r takes every world-th: of each batch the first are boxed on every rank
        order = torch.cat([boxed, others], 1).flatten()[: self.total_size]
        return iter(order[self.rank :: world].tolist())


def _drawn(places: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` of the places, in random order, each as often as any other but for one time."""
    rounds = -(-count // len(places))
    orders = [places[torch.randperm(len(places), generator=generator)] for _ in range(rounds)]
    return torch.cat(orders)[:count]
