"""A test section as if another machine had made it: changes that training, but for the zoom, has otherwise or not."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage
from skimage.exposure import adjust_sigmoid, equalize_hist

from bundle.comments import arguments_in
from bundle.exposed import exposed_rectangle
from bundle.grid import transform_boxes
from bundle.transforms.augment import generator_for, warp

Sample = dict[Hashable, Any]
Range = tuple[float, float]
STREAM = 2  # beside augmentation's and RandomPhotometry's


@dataclass(frozen=True)
class OtherMachine:
    """Ranges of the changes, each drawn uniformly.

    Attributes:
        field: factor on the size of everything on the canvas, about its centre.
        borders: greys of which one fills what a smaller picture leaves of its place.
        blur: standard deviation of a Gaussian, px of the canvas.
        fine: gain of what a Gaussian of `widths[0]` takes away.
        middle: gain of what lies between the two Gaussians.
        base: gain of what a Gaussian of `widths[1]` leaves, about its mean.
        widths: standard deviations of the two, as shares of the canvas's side.
        equalised: share of the picture with equalised histogram in the mixture with the picture itself.
        steepness: of the S-curve 1 / (1 + exp(steepness (centre − grey))).
        centre: its middle grey.
        noise: standard deviation of Gaussian noise.
    """

    field: Range = (0.8, 1.2)
    borders: tuple[float, ...] = (0.0, 0.5, 1.0)
    blur: Range = (0.0, 1.0)
    fine: Range = (0.8, 2.0)
    middle: Range = (0.8, 1.8)
    base: Range = (0.4, 0.9)
    widths: Range = (0.007, 0.05)
    equalised: Range = (0.0, 0.6)
    steepness: Range = (3.0, 7.0)
    centre: Range = (0.35, 0.65)
    noise: Range = (0.0, 0.03)


class OtherMachined(MapTransform):
    """Change a canvas as another machine might have made it; `canvas_from_stored` follows, so boxes move along.

    In this order: field and border, blur, latitude by two Gaussians, histogram and S-curve, noise, cut to 0..1. What
    pads the canvas stays 0. The field is never so large that a lesion leaves it: the figures are of the same lesions as
    without this. What is drawn depends on (seed, `index` of the sample) alone.

    Args:
        keys: the image on its canvas; its sample has `index`, `canvas_from_stored`, and `boxes` where they are known.
        seed: of the choice.
        ranges: fields of `OtherMachine`.
    """

    def __init__(self, keys: KeysCollection = "image", seed: int = 0, ranges: Mapping[str, Any] | None = None) -> None:
        super().__init__(keys)
        self.seed, self.ranges = seed, OtherMachine(**arguments_in("other_machine", ranges, OtherMachine))

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            generator = generator_for(self.seed, 0, int(d["index"]), STREAM)
            boxes = transform_boxes(torch.as_tensor(d.get("boxes", np.zeros((0, 4)))), d["canvas_from_stored"])
            image, move = by_another_machine(d[key].as_subclass(torch.Tensor), boxes, self.ranges, generator)
            d[key] = MetaTensor(image, meta=d[key].meta) if isinstance(d[key], MetaTensor) else image
            d["canvas_from_stored"] = move @ d["canvas_from_stored"]
        return d


def by_another_machine(
    canvas: torch.Tensor, boxes: torch.Tensor, ranges: OtherMachine, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """One radiograph as another machine might have made it.

    Args:
        canvas: (1, Hc, Wc) float, 0..1.
        boxes: (N, 4) of its lesions, canvas pixels.
        ranges: to draw from.
        generator: source of every random number.

    Returns:
        The changed canvas, and the (3, 3) affine by which its places moved.
    """
    u = iter(torch.rand(10, generator=generator, dtype=torch.float64).tolist())

    def draw(limits: Range) -> float:
        return limits[0] + (limits[1] - limits[0]) * next(u)

    height, width = canvas.shape[-2:]
    zoom = min(draw(ranges.field), _largest_field(boxes, height, width))
    border = ranges.borders[min(int(next(u) * len(ranges.borders)), len(ranges.borders) - 1)]
    inside = exposed_rectangle(canvas)
    move = torch.tensor(
        [[zoom, 0, (1 - zoom) * width / 2], [0, zoom, (1 - zoom) * height / 2], [0, 0, 1]], dtype=torch.float64
    )
    shown = warp(inside.to(canvas), move) > 0.5
    moved = torch.where(shown, warp(canvas, move), border)[0].numpy()
    # a larger picture takes the padding's place; a smaller one leaves a border where it was
    field = (inside | shown)[0].numpy()
    side = max(height, width)
    out = ndimage.gaussian_filter(moved, draw(ranges.blur), mode="nearest")
    narrow, wide = (ndimage.gaussian_filter(out, share * side, mode="nearest") for share in ranges.widths)
    mean = wide[field].mean() if field.any() else 0.0
    gains = [draw(limits) for limits in (ranges.fine, ranges.middle, ranges.base)]
    out = np.clip(mean + gains[0] * (out - narrow) + gains[1] * (narrow - wide) + gains[2] * (wide - mean), 0, 1)
    share = draw(ranges.equalised)
    if field.any():
        out = (1 - share) * out + share * equalize_hist(out, mask=field)
    steepness, centre = draw(ranges.steepness), draw(ranges.centre)
    out = torch.from_numpy(adjust_sigmoid(out, cutoff=centre, gain=steepness).astype(np.float32))[None]
    out = out + draw(ranges.noise) * torch.randn(out.shape, generator=generator)
    return out.clamp(0, 1) * torch.from_numpy(field), move


def _largest_field(boxes: torch.Tensor, height: int, width: int) -> float:
    """The factor about the centre at which the first box reaches the canvas's edge."""
    centre = torch.tensor([width / 2, height / 2] * 2, dtype=torch.float64)
    reach = ((boxes.double() - centre).abs() / centre).amax() if len(boxes) else torch.zeros(())
    return 1 / max(float(reach), 1e-6)
