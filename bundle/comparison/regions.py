"""What a network makes of regions and their words: hard negatives, retrieval, pointing by a description."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite import distributed as idist

from bundle.comparison.caption_prior import CaptionPrior
from bundle.comparison.language import put_retrieval
from bundle.data.hard_negatives import KINDS
from bundle.engines import plain
from bundle.grid import boxes_to_patch_mask, grid_to_stored
from bundle.metrics.candidates import visible_patches
from bundle.metrics.draws import Draws
from bundle.metrics.intervals import Difference
from bundle.metrics.records import Floats, Integers
from bundle.metrics.region_matching import (
    by_kind,
    caption_scores,
    caption_to_region,
    match_captions,
    point,
    region_to_caption,
)
from bundle.metrics.table import FigureTable, Metrics, Notes, share_of
from bundle.networks import RegionCLIP
from bundle.precision import Precision

_NO_REGION, _NO_NEGATIVE = "no image has a captioned region", "no region has such a hard negative"


class _Seen(NamedTuple):
    """The captioned regions of a section, image by image: N of them, M hard negatives of each, T texts."""

    image: Integers  # (N,) index
    group: Integers  # (N,)
    region: torch.Tensor  # (N, D)
    caption_id: Integers  # (N,)
    negative_id: Integers  # (N, M)
    negative_kind: Integers  # (N, M)
    pointing: Floats  # (N,)
    pointing_chance: Floats  # (N,)
    text_id: Integers  # (T,) ascending
    text: torch.Tensor  # (T, D)


class RegionEvaluation:
    """Judges the region embeddings of a network, and its patches, against the captions of given boxes.

    Keys, those with * with an interval (patients are drawn):

    - `regions/accuracy`*: the caption scores above all hard negatives of its region; `/chance`;
    - `regions/pairwise/<kind>`*: it scores above a negative of this kind, <kind> of `hard_negatives.KINDS`; chance is
      1/2; `/n_pairs`;
    - `<both>/blind`*: the same by the words alone (`CaptionPrior`, fitted on the training section), and
      `<both>/difference`*: the network minus that, in the same draws;
    - `regions/region_to_caption/r_at_<k>`*, k = 1, 5, 10, `/median_rank`, `/gallery_size`, `/distinct_texts`: the
      caption among the distinct captions of the section;
    - `regions/caption_to_region/...`: the same the other way: a described lesion among all regions of the section;
    - `regions/pointing`*: the patch of its image that fits the caption best carries the lesion; `/chance` of a patch;
    - `regions/n_regions`, `regions/n_images`: what all of it rests on.

    Boxes are given, in training as here: this judges words, not whether a lesion is found. FROC does that.

    Args:
        network: bare, with `texts`.
        loader: batches of the section: `regions`, `caption_id`, `negative_id`, `negative_kind` beside the image and its
            geometry.
        training: items of the training section, for the words alone; None leaves that out.
        texts: by their numbers.
        device: to compute on.
        precision: number format and layout.
        replicates: R of the bootstrap over patients.
        seed: of the draws.

    Raises:
        ValueError: a training section without captions or negatives.
    """

    def __init__(
        self,
        network: RegionCLIP,
        loader: Iterable[Mapping[str, Any]],
        training: Sequence[Mapping[str, Any]] | None,
        texts: Sequence[str],
        device: torch.device,
        precision: Precision,
        replicates: int = 1000,
        seed: int = 0,
    ) -> None:
        self.network, self.loader, self.texts = network, loader, texts
        self.prior = None if training is None else CaptionPrior(training, texts)
        self.device, self.precision, self.replicates, self.seed = device, precision, replicates, seed
        self.draws: dict[str, Floats] = {}  # of the last run: each figure's replicates

    def run(self) -> tuple[Metrics, Notes]:
        """Look at the section (collective) and sum up."""
        table = FigureTable(())
        self.draws = table.draws
        seen = self._look()
        if seen is None:
            table.notes["regions"] = _NO_REGION
            return table.finish()
        draws = Draws.of(seen.group, self.replicates, self.seed)
        caption, negative = (_rows(ids, seen.text_id) for ids in (seen.caption_id, seen.negative_id))
        self._match(table, seen, caption, negative, draws)
        for name, ask in (("region_to_caption", region_to_caption), ("caption_to_region", caption_to_region)):
            put_retrieval(table, f"regions/{name}", ask(seen.region, seen.text, caption), draws)
        _put_mean(table, "regions/pointing", seen.pointing, draws, "no patch shows the images")
        table.put("regions/pointing/chance", _mean(seen.pointing_chance), "no patch shows the images")
        table.put("regions/n_regions", len(seen.image))
        table.put("regions/n_images", len(np.unique(seen.image)))
        return table.finish()

    def _match(
        self,
        table: FigureTable,
        seen: _Seen,
        caption: Integers,
        negative: Integers,
        draws: Draws,
    ) -> None:
        found = {"": match_captions(*caption_scores(seen.region, seen.text, caption, negative))}
        if self.prior is not None:
            odds = self.prior.scores([self.texts[number] for number in seen.text_id.tolist()])
            absent = (negative < 0) | (negative == caption[:, None])
            found["/blind"] = match_captions(odds[caption], np.where(absent, np.nan, odds[negative]))
        table.put("regions/accuracy/chance", _mean(found[""].chance), _NO_NEGATIVE)
        right = {name: each.right for name, each in found.items()}
        _put_all(table, "regions/accuracy", right, draws)
        pairs = {name: by_kind(each.pair, seen.negative_kind, len(KINDS)) for name, each in found.items()}
        of_pairs = draws.at(np.repeat(np.arange(len(draws.unit)), negative.shape[1]))
        for k, kind in enumerate(KINDS):
            mine = {name: columns[:, k] for name, columns in pairs.items()}
            _put_all(table, f"regions/pairwise/{kind}", mine, of_pairs)
            table.put(f"regions/pairwise/{kind}/n_pairs", int((~np.isnan(mine[""])).sum()))

    def _look(self) -> _Seen | None:
        """Every image of every rank; None where no region has a caption."""
        self.network.eval()
        parts = [part for batch in self.loader if (part := self._look_at(batch)) is not None]
        if idist.get_world_size() > 1:
            parts = [part for theirs in idist.all_gather(parts) for part in theirs]
        if not parts:
            return None
        joined = [_concatenated(column) for column in zip(*parts, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        text_id, first = np.unique(joined[-2], return_index=True)
        return _Seen._make([*(column[order] for column in joined[:-2]), text_id, joined[-1][first]])

    @torch.no_grad()
    def _look_at(self, batch: Mapping[str, Any]) -> _Seen | None:
        """One batch."""
        image = self.precision.layout(plain(batch["image"]).to(self.device))
        keys = {key: batch[key].to(self.device) for key in ("regions", "caption_id", "negative_id")}
        with self.precision.context(self.device):
            output: Any = self.network(image, full=True, **keys)
        output = {name: value.float().cpu() for name, value in output.items() if name.endswith("_embedding")} | {
            "region_valid": output["region_valid"].cpu()
        }
        counted = output["region_valid"] & (batch["caption_id"] >= 0)  # (B, R)
        if not counted.any():
            return None
        canvas = (image.shape[-2], image.shape[-1])
        pointing, chance = point(*self._pointed(batch, output, counted, canvas))
        row = counted.nonzero()[:, 0]
        ids = torch.cat([batch["caption_id"][counted][:, None], batch["negative_id"][counted]], 1)  # (n, 1 + M)
        vectors = torch.cat([output["caption_embedding"][:, :, None], output["negative_embedding"]], 2)[counted]
        text_id, first = np.unique(ids[ids >= 0].numpy(), return_index=True)
        return _Seen(
            image=batch["index"][row].numpy(),
            group=batch.get("group", batch["index"])[row].numpy(),
            region=output["region_embedding"][counted],
            caption_id=ids[:, 0].numpy(),
            negative_id=ids[:, 1:].numpy(),
            negative_kind=batch["negative_kind"][counted].numpy(),
            pointing=pointing,
            pointing_chance=chance,
            text_id=text_id,
            text=vectors[ids >= 0][torch.from_numpy(first)],
        )

    def _pointed(
        self,
        batch: Mapping[str, Any],
        output: Mapping[str, torch.Tensor],
        counted: torch.Tensor,
        canvas: tuple[int, int],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What `point` takes, of the counted regions: each (n, P). A caption is true of all its regions in an image."""
        grid = self.network.grid
        to_stored = grid_to_stored(batch["canvas_from_stored"], canvas, grid)  # (B, 3, 3)
        x0, x1, y0, y1 = visible_patches(to_stored, batch["stored_size"], grid)
        shown = torch.from_numpy(((y1 > y0)[:, :, None] & (x1 > x0)[:, None, :]).reshape(len(counted), -1))  # (B, P)
        there = []
        for mine, boxes, captions in zip(counted, batch["regions"], batch["caption_id"], strict=True):
            distinct, number = torch.unique(captions[mine], return_inverse=True)
            mask = boxes_to_patch_mask(boxes[mine], number, len(distinct), grid, canvas)
            there.append(mask.flatten(1)[number])  # (r, P)
        row = counted.nonzero()[:, 0]
        caption = output["caption_embedding"][counted][:, :, None]  # (n, D, 1)
        similarity = (output["patch_embedding"][row] @ caption)[..., 0]  # (n, P)
        return similarity, torch.cat(there), shown[row]


def _put_all(table: FigureTable, key: str, values: Mapping[str, Floats], draws: Draws) -> None:
    """The means by name, "" being the network's, and of its difference to the words alone."""
    for name, mine in values.items():
        _put_mean(table, f"{key}{name}", mine, draws, _NO_NEGATIVE)
    if "/blind" in values:
        _put_mean(table, f"{key}/difference", values[""] - values["/blind"], draws, _NO_NEGATIVE, paired=True)


def _put_mean(table: FigureTable, key: str, values: Floats, draws: Draws, reason: str, paired: bool = False) -> None:
    """The mean of what is defined, with the replicates of it: a share, or a paired difference of two."""
    share = share_of(draws.unit[~np.isnan(values)])
    table.put(key, draws.mean(values), reason, Difference.of(share) if paired else share)


def _mean(values: Floats) -> float:
    return float(Draws.alone(len(values)).mean(values)[0])


def _rows(ids: Integers, distinct: Integers) -> Integers:
    """Places of numbers among the distinct ones, ascending; -1 stays."""
    return np.where(ids < 0, -1, np.searchsorted(distinct, np.maximum(ids, 0)))


def _concatenated(column: Sequence[Any]) -> Any:
    return torch.cat(list(column)) if isinstance(column[0], torch.Tensor) else np.concatenate(column)
