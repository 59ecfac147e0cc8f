"""MONAI dictionary transforms around the array functions beside this file; no arithmetic of their own.

The keys that they read and write are those of `bundle.data.datalist.datalist_section` plus

- `canvas_from_stored`: (3, 3) float64, stored pixels, upright, to canvas pixels;
- `stored_size`: (2,) int64, (H, W);
- `pixel_mm`: (2,) float64, distance of these pixels in mm, between rows and between columns, NaN where not known;
- `patch_mask`: (K, Gh, Gw) bool;
- `input_ids`, `attention_mask`: (L,) int64, the report.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.box_utils import clip_boxes_to_image
from monai.transforms import MapTransform
from monai.transforms.traits import RandomizableTrait

from bundle.data.boxed_sampler import keeps_boxes
from bundle.data.loading import BOX_ROWS
from bundle.data.report_text import tokenize_reports
from bundle.grid import boxes_to_patch_mask, transform_boxes
from bundle.transforms.augment import augmentation_of, drawn, generator_for, is_off, moves
from bundle.transforms.canvas import fit_to_canvas

Sample = dict[Hashable, Any]


class FitToCanvasd(MapTransform):
    """Resize and pad to the network's input, keeping the body's proportions; adds `canvas_from_stored`.

    Args:
        keys: the image; where its pixels are not square, its metadata say so (`pixel_aspect`).
        size: side of the square canvas in pixels.
    """

    def __init__(self, keys: KeysCollection = "image", size: int = 900) -> None:
        super().__init__(keys)
        self.size = (size, size)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            image = d[key]
            aspect = image.meta.get("pixel_aspect", 1.0) if isinstance(image, MetaTensor) else 1.0
            canvas, affine = fit_to_canvas(torch.as_tensor(image).as_subclass(torch.Tensor), self.size, aspect)
            # of the metadata only the file's name goes on: the rest differs from file to file and cannot be stacked
            name = image.meta["filename_or_obj"] if isinstance(image, MetaTensor) else None
            d[key] = canvas if name is None else MetaTensor(canvas, meta={"filename_or_obj": name})
            d["canvas_from_stored"] = affine
        return d


class AugmentRadiographd(MapTransform, RandomizableTrait):
    """Draw what `RandomAugmentation` does to the canvas, `augmentation` (9,), and move what is drawn from its boxes.

    `canvas_from_stored` is that of the moved canvas; the pixels are moved and re-exposed with the whole batch, on the
    device, in front of the network. Where all is off, nothing changes.

    What is drawn depends on (seed, epoch, `index` of the sample) alone. The epoch lies in shared memory, where
    `set_epoch` reaches the loader's worker processes.

    Args:
        keys: the image.
        seed: of the experiment.
        ranges: fields of `bundle.transforms.augment.Augmentation`.

    Raises:
        ValueError: `flip`, of a sample with texts: they would go on saying left of what is now on the right.
    """

    TEXTS = ("report_id", "summary_id", "caption_id", "question_id", "input_ids")

    def __init__(
        self, keys: KeysCollection = "image", seed: int = 0, ranges: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(keys)
        self.seed, self.ranges, self.off = seed, augmentation_of(ranges), is_off(ranges)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from now on."""
        self._epoch.fill_(epoch)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        if self.ranges.flip and (texts := [name for name in self.TEXTS if name in d]):
            raise ValueError(
                f"augmentation.flip is {self.ranges.flip:g}, but a mirrored image makes left and right in its texts "
                f"({', '.join(texts)}) false: set it to 0."
            )
        for key in self.keys:
            d[key] = torch.as_tensor(d[key]).as_subclass(torch.Tensor)
            if not self.off:
                d["augmentation"] = drawn(generator_for(self.seed, int(self._epoch), int(d["index"])))
                size = (d[key].shape[-2], d[key].shape[-1])
                d["canvas_from_stored"] = moves(d["augmentation"], self.ranges, size) @ d["canvas_from_stored"]
        return d


class BoxesToPatchMaskd(MapTransform):
    """`boxes` (stored pixels) and `canvas_from_stored` -> `patch_mask`, by the rule of `boxes_to_patch_mask`.

    Args:
        keys: the boxes.
        num_findings: K.
        grid: side of the square grid, in patches.
        canvas: side of the square canvas, in pixels.
        min_patch_fraction: share of a patch that must lie in the box.
        min_box_fraction: share of the box that a patch must hold.
    """

    def __init__(
        self,
        keys: KeysCollection = "boxes",
        num_findings: int = 8,
        grid: int = 16,
        canvas: int = 900,
        min_patch_fraction: float = 0.5,
        min_box_fraction: float = 0.5,
    ) -> None:
        super().__init__(keys)
        self.num_findings, self.grid, self.canvas = num_findings, (grid, grid), (canvas, canvas)
        self.fractions = {"min_patch_fraction": min_patch_fraction, "min_box_fraction": min_box_fraction}

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            boxes = transform_boxes(torch.as_tensor(d[key]), d["canvas_from_stored"])
            finding = torch.as_tensor(d["box_finding"])
            d["patch_mask"] = boxes_to_patch_mask(
                boxes, finding, self.num_findings, self.grid, self.canvas, **self.fractions
            )
        return d


class BoxesToCanvasd(MapTransform):
    """`boxes` from stored to canvas pixels, by `canvas_from_stored`, cut to the canvas.

    Boxes of which less than one pixel is left on either axis (augmentation moved them out) are dropped, and with them
    their rows of `BOX_ROWS`.

    Args:
        keys: the boxes, (N, 4).
        canvas: side of the square canvas, in pixels.
    """

    def __init__(self, keys: KeysCollection = "boxes", canvas: int = 900) -> None:
        super().__init__(keys)
        self.canvas = [canvas, canvas]

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            boxes = transform_boxes(torch.as_tensor(d[key]), d["canvas_from_stored"])
            d[key], kept = clip_boxes_to_image(boxes, self.canvas)
            d |= {row: torch.as_tensor(d[row])[kept] for row in BOX_ROWS if row in d}
        return d


class KeepBoxesd(MapTransform):
    """Forget the boxes of all but a share of the images, for label efficiency; labels, images and reports stay.

    Which images keep theirs is `bundle.data.boxed_sampler.keeps_boxes` of their `index`. What belongs to the boxes
    (`BOX_ROWS`) goes with them. A positive finding without its boxes is no longer `boxed`; a finding labelled 0 has
    none to forget.

    Args:
        keys: the boxes.
        fraction: share of images that keep theirs, 0..1.
        seed: of the choice.

    Raises:
        ValueError: a fraction outside 0..1.
    """

    def __init__(self, keys: KeysCollection = "boxes", fraction: float = 1.0, seed: int = 0) -> None:
        super().__init__(keys)
        if not 0 <= fraction <= 1:
            raise ValueError(f"KeepBoxesd: fraction must lie in 0..1, got {fraction}.")
        self.fraction, self.seed = fraction, seed

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        if not keeps_boxes(self.seed, int(d["index"]), self.fraction):
            for key in (*self.keys, *(key for key in BOX_ROWS if key in d)):
                d[key] = d[key][:0]
            d["boxed"] = torch.as_tensor(d["boxed"]) & (torch.as_tensor(d["label"]) == 0)
        return d


class TokenizeReportd(MapTransform):
    """A report -> `input_ids` and `attention_mask`, cut by whole sentences, findings first.

    Args:
        keys: the report.
        tokenizer: a transformers tokenizer.
        context_length: L.
    """

    def __init__(self, keys: KeysCollection = "report", tokenizer: Any = None, context_length: int = 77) -> None:
        super().__init__(keys)
        self.tokenizer, self.context_length = tokenizer, context_length

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            tokens = tokenize_reports([d[key]], self.tokenizer, self.context_length)
            d["input_ids"], d["attention_mask"] = tokens["input_ids"][0], tokens["attention_mask"][0]
        return d


class SelectSampled(MapTransform):
    """Keep these keys and drop the rest (reports and patient data go no further than they are needed).

    Args:
        keys: what stays, where it is there.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys, allow_missing_keys=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        return {key: data[key] for key in self.key_iterator(dict(data))}
