"""What becomes of a datalist's images that cannot be read: the run stops, or goes on without them and lists them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from bundle.atomic import write_json
from bundle.data.bad_choice import RAISE, SKIP, check_choice
from bundle.losses.gather import rank_and_world
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import read_radiograph
from bundle.reading.radiograph_error import RadiographError

logger = logging.getLogger(__name__)


class BadImages:
    """The choice of a training. With "skip" every image is read once, whole, before anything else.

    What cannot be read then, or is no frontal chest radiograph, is not in the section: samplers, batches, epochs and
    several processes know only what is left, and the others keep their `index`, by which augmentation draws. An image
    that goes bad later stops the training, as with "raise".

    Args:
        on_bad_image: "raise" or "skip".
        max_bad_share: of a section's images, 0..1; above it the run stops.
        folder: where `unreadable_SECTION.json` goes, [{"index", "file", "reason"}]: the place in the section, the path
            below the data folder.
        workers: processes that read, of each rank; 0 reads in this one.
        evaluating: whether figures are made, which are of every image: "skip" is refused.

    Attributes:
        left_out: section -> places of the images that are not taken, where there are any.

    Raises:
        ValueError: a setting that cannot be meant.
    """

    def __init__(
        self,
        on_bad_image: str = RAISE,
        max_bad_share: float = 0.05,
        folder: str | os.PathLike[str] = ".",
        workers: int = 0,
        evaluating: bool = False,
    ) -> None:
        check_choice(on_bad_image, max_bad_share)
        if on_bad_image == SKIP and evaluating:
            raise ValueError(
                'on_bad_image is "skip", which is for training and inference: figures are of every image of a section. '
                'Set it to "raise", and mend the images that cannot be read or take them out of the datalist.'
            )
        self.skips, self.max_bad_share, self.workers = on_bad_image == SKIP, max_bad_share, workers
        self.folder = Path(folder)
        self.left_out: dict[str, list[int]] = {}

    def kept(
        self, entries: Sequence[Mapping[str, Any]], section: str | Sequence[str], base: Path, options: ReadingOptions
    ) -> list[int]:
        """Which entries are taken; the others stand in the table, written by rank 0 before this returns.

        Args:
            entries: of the section, or of several in a row.
            section: their name.
            base: the data folder.
            options: with which the images will be read.

        Returns:
            Places in `entries`, in their order; the same on every rank.

        Raises:
            ValueError: more than `max_bad_share` of them cannot be read, or none can.
        """
        if not self.skips:
            return list(range(len(entries)))
        name = section if isinstance(section, str) else "+".join(section)
        logger.info("on_bad_image is skip: the %d images of %s are read once before they are used.", len(entries), name)
        reasons = self._reasons([entry["image"] for entry in entries], options)
        bad = [
            {"index": place, "file": os.path.relpath(entries[place]["image"], base), "reason": reason}
            for place, reason in enumerate(reasons)
            if reason
        ]
        table = self.folder / f"unreadable_{name}.json"
        first_rank = rank_and_world()[0] == 0
        if first_rank:
            write_json(table, bad)
        if bad:
            self.left_out[name] = [place for place, reason in enumerate(reasons) if reason]
            share = len(bad) / len(entries)
            found = f"{len(bad)} of the {len(entries)} images of {name} ({share:.2%}) cannot be read"
            if len(bad) == len(entries) or share > self.max_bad_share:
                first = f"{bad[0]['file']}: {bad[0]['reason']}"
                raise ValueError(
                    f"{found}, more than max_bad_share allows ({self.max_bad_share}). All are listed in {table}; the "
                    f"first is {first}. Mend them or take them out of the datalist, or allow a larger share."
                )
            log = logger.warning if first_rank else logger.debug
            log("%s and are left out (on_bad_image); %s says which and why.", found, table)
        return [place for place, reason in enumerate(reasons) if not reason]

    def _reasons(self, images: list[str], options: ReadingOptions) -> list[str]:
        """Why each cannot be read, empty where it can; each rank reads its part."""
        rank, world = rank_and_world()
        loader = DataLoader(
            _Looked(images[rank::world], options),
            batch_size=None,
            num_workers=self.workers,
            generator=torch.Generator(),  # what the network draws is the same with "raise"
        )
        own = list(loader)
        parts: list[list[str]] = [own] * world
        if world > 1:
            distributed.all_gather_object(parts, own)
        reasons = [""] * len(images)
        for start, part in enumerate(parts):
            reasons[start::world] = part
        return reasons


class _Looked(Dataset[str]):
    """Images as why they cannot be read, empty where they can."""

    def __init__(self, images: list[str], options: ReadingOptions) -> None:
        self.images, self.options = images, options

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> str:
        try:
            _, metadata = read_radiograph(self.images[place], self.options)
        except RadiographError as error:
            return str(error).removeprefix(f"{self.images[place]}: ")
        return metadata["not_assessed"] or ""
