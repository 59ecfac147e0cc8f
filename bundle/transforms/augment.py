"""Augmentation of a radiograph on its canvas, drawn from (seed, epoch, image) and nothing else."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import torch
import torch.nn.functional as F

from bundle.comments import without_comments
from bundle.exposed import exposed_rectangle


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; 0 switches a change off.

    Attributes:
        rotate: largest turn, degrees, either way.
        scale: largest relative change of size: a factor in [1 - scale, 1 + scale].
        translate: largest shift, as a fraction of the canvas.
        flip: probability of a left-right mirror image. 0 by default: the heart's side and a side marker carry meaning.
        contrast: factor in [1 - contrast, 1 + contrast] about the image's mean.
        gamma: exponent exp(u), u in [-gamma, gamma].
        noise: largest standard deviation of added Gaussian noise, on the 0..1 scale.
    """

    rotate: float = 5.0
    scale: float = 0.08
    translate: float = 0.03
    flip: float = 0.0
    contrast: float = 0.15
    gamma: float = 0.2
    noise: float = 0.02


def is_off(ranges: Mapping[str, float] | None) -> bool:
    """Whether ranges, fields of `Augmentation` in a configuration, leave every image as it is."""
    return not any(astuple(Augmentation(**without_comments(ranges))))


def generator_for(seed: int, epoch: int, index: int, stream: int = 0) -> torch.Generator:
    """The random numbers of one image in one epoch, for one purpose: the same whoever draws them, also resumed."""
    # SplitMix64's multipliers spread neighbouring (seed, epoch, index) over the generator's seeds; Pelle Evensen's
    # does the same for streams
    mixed = seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + index * 0x94D049BB133111EB
    return torch.Generator().manual_seed((mixed + stream * 0x9FB21C651E98DF25) % 2**63)


def augment(
    canvas: torch.Tensor, affine: torch.Tensor, ranges: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move, then re-expose, a radiograph.

    Args:
        canvas: (1, Hc, Wc) float, 0..1.
        affine: (3, 3), stored to canvas.
        ranges: the ranges to draw from.
        generator: source of every random number.

    Returns:
        The changed canvas, clamped to 0..1, what pads it 0 as before, and the affine from stored pixels to it, with
        which boxes move along. Both are those given where all is off.
    """
    if not any(astuple(ranges)):
        return canvas, affine
    u = (
        torch.rand(9, generator=generator, dtype=torch.float64) * 2 - 1
    )  # all drawn always: switching one off keeps the rest
    h, w = canvas.shape[-2:]
    angle, zoom = math.radians(ranges.rotate * u[0]), 1 + ranges.scale * float(u[1])
    shift_x, shift_y = ranges.translate * w * float(u[2]), ranges.translate * h * float(u[3])
    mirror = -1.0 if (u[4] + 1) / 2 < ranges.flip else 1.0
    inside = exposed_rectangle(canvas)
    if ranges.rotate or ranges.scale or ranges.translate or ranges.flip:
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        linear = torch.tensor([[mirror * cos, -sin], [mirror * sin, cos]], dtype=torch.float64)
        centre = torch.tensor([w / 2, h / 2], dtype=torch.float64)
        move = torch.eye(3, dtype=torch.float64)
        move[:2, :2] = linear
        move[:2, 2] = centre - linear @ centre + torch.tensor([shift_x, shift_y], dtype=torch.float64)
        canvas, inside = warp(canvas, move), warp(inside.to(canvas), move) > 0
        affine = move @ affine
    if ranges.gamma:
        canvas = canvas.clamp(min=1e-6) ** math.exp(ranges.gamma * float(u[5]))
    if ranges.contrast:
        mean = canvas.mean()
        canvas = mean + (1 + ranges.contrast * float(u[6])) * (canvas - mean)
    if ranges.noise:
        sigma = ranges.noise * (float(u[7]) + 1) / 2
        canvas = canvas + sigma * torch.randn(canvas.shape, generator=generator)
    return canvas.clamp_(0, 1).mul_(inside), affine  # it is a new one: some change made it


def warp(canvas: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """Resample so that what was at p is at move(p); outside is 0, as in the padding."""
    h, w = canvas.shape[-2:]
    # grid_sample wants, for each new pixel, the old place in units of half the canvas about its centre
    unit = torch.tensor([[w / 2, 0, w / 2], [0, h / 2, h / 2], [0, 0, 1]], dtype=torch.float64)
    theta = torch.linalg.inv(unit) @ torch.linalg.inv(move) @ unit
    where = F.affine_grid(theta[None, :2].to(canvas.dtype), [1, 1, h, w], align_corners=False)
    return F.grid_sample(canvas[None], where, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
