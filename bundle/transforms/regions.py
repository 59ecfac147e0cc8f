"""MONAI dictionary transform for networks that look at regions: their boxes, in step with their captions."""

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.transforms.traits import RandomizableTrait

from bundle.data.loading import BOX_ROWS
from bundle.grid import boxes_in_grid, transform_boxes
from bundle.transforms.augment import generator_for

logger = logging.getLogger(__name__)

Sample = dict[Hashable, Any]


class RegionsToCanvasd(MapTransform, RandomizableTrait):
    """`boxes` (stored pixels) and `canvas_from_stored` -> `regions` (R, 4), canvas pixels, and `region_valid` (R,).

    A box of which nothing is left on the canvas (augmentation moved it out) keeps its row and is not valid, so that
    regions stay in step with boxes, captions and negatives. Of an image with more boxes than `max_regions` that many
    stay, drawn from (seed, epoch, `index`), in their order; the others are dropped, with what belongs to them
    (`BOX_ROWS`). The first time this happens it is logged.

    Args:
        keys: the boxes, (N, 4).
        canvas: side of the square canvas, in pixels.
        max_regions: R at most.
        seed: of the experiment.

    Raises:
        ValueError: `max_regions` is below 1.
    """

    def __init__(self, keys: KeysCollection = "boxes", canvas: int = 900, max_regions: int = 16, seed: int = 0) -> None:
        super().__init__(keys)
        if max_regions < 1:
            raise ValueError(f"RegionsToCanvasd: max_regions is {max_regions}; give 1 or more.")
        self.canvas, self.max_regions, self.seed = (canvas, canvas), max_regions, seed
        # in shared memory, as AugmentRadiographd's epoch: one for all worker processes
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._told = torch.zeros((), dtype=torch.bool).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from now on."""
        self._epoch.fill_(epoch)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            if len(d[key]) > self.max_regions:
                kept = self._draw(len(d[key]), int(d["index"]))
                d |= {row: torch.as_tensor(d[row])[kept] for row in (key, *BOX_ROWS) if row in d}
            d["regions"] = transform_boxes(torch.as_tensor(d[key]), d["canvas_from_stored"])
            d["region_valid"] = boxes_in_grid(d["regions"], self.canvas)
        return d

    def _draw(self, count: int, index: int) -> torch.Tensor:
        """Which boxes of an image stay: (max_regions,), ascending."""
        if not self._told:
            logger.warning(
                f"Image {index} has {count} boxes, more than max_regions {self.max_regions}: each epoch draws "
                f"{self.max_regions} of them. Said once."
            )
            self._told.fill_(True)
        generator = generator_for(self.seed, int(self._epoch), index)
        return torch.randperm(count, generator=generator)[: self.max_regions].sort().values
