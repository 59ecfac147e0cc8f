"""Augmentation of radiographs on their canvases, drawn from (seed, epoch, image) and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import torch
import torch.nn.functional as F

from bundle.comments import arguments_in
from bundle.exposed import exposed_rectangle

NOISE = 3  # the stream of its generator, beside RandomPhotometry's and OtherMachined's


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

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= 1:
            raise ValueError(f"augmentation: scale is {self.scale}; give 0 to 1, as .08 for a factor of .92 to 1.08.")


def augmentation_of(ranges: Mapping[str, float] | None) -> Augmentation:
    """Of the section `augmentation` of a configuration; ValueError for a key that is none of its fields."""
    return Augmentation(**arguments_in("augmentation", ranges, Augmentation))


def is_off(ranges: Mapping[str, float] | None) -> bool:
    """Whether ranges, fields of `Augmentation` in a configuration, leave every image as it is."""
    return not any(astuple(augmentation_of(ranges)))


def generator_for(seed: int, epoch: int, index: int, stream: int = 0) -> torch.Generator:
    """The random numbers of one image in one epoch, for one purpose: the same whoever draws them, also resumed."""
    # SplitMix64's multipliers spread neighbouring (seed, epoch, index) over the generator's seeds; Pelle Evensen's
    # does the same for streams
    mixed = seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + index * 0x94D049BB133111EB
    return torch.Generator().manual_seed((mixed + stream * 0x9FB21C651E98DF25) % 2**63)


def drawn(generator: torch.Generator) -> torch.Tensor:
    """What a radiograph's augmentation is made of: (9,) float64 in -1..1, all always: one off keeps the rest."""
    return torch.rand(9, generator=generator, dtype=torch.float64) * 2 - 1


def moves(u: torch.Tensor, ranges: Augmentation, size: tuple[int, int]) -> torch.Tensor:
    """The move of canvas pixels that augmentation makes: turn and zoom about the centre, mirror, shift.

    Where nothing turns or mirrors, the canvas's corner moves by whole pixels (off by half of one at most): see
    `zoom_and_shift`.

    Args:
        u: (..., 9), of `drawn`.
        ranges: the ranges to draw from.
        size: (Hc, Wc) of the canvas.

    Returns:
        (..., 3, 3) float64, acting on (x, y, 1); with it boxes move along.
    """
    h, w = size
    angle, zoom = torch.deg2rad(ranges.rotate * u[..., 0]), 1 + ranges.scale * u[..., 1]
    mirror = torch.where((u[..., 4] + 1) / 2 < ranges.flip, -1.0, 1.0)
    cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
    linear = torch.stack([torch.stack([mirror * cos, -sin], -1), torch.stack([mirror * sin, cos], -1)], -2)
    centre = torch.tensor([w / 2, h / 2], dtype=torch.float64)
    shift = torch.stack([ranges.translate * w * u[..., 2], ranges.translate * h * u[..., 3]], -1)
    move = torch.eye(3, dtype=torch.float64).repeat(*u.shape[:-1], 1, 1)
    move[..., :2, :2], move[..., :2, 2] = linear, centre - linear @ centre + shift
    if _only_zooms_and_shifts(ranges):
        move[..., :2, 2] = move[..., :2, 2].round()
    return move


class RandomAugmentation:
    """Moves, then re-exposes, a batch of radiographs, on its device; where all is off it costs nothing.

    With x a moved image (`moves`) and m the mean of x^exp(gamma u5): m + (1 + contrast u6) (x^exp(gamma u5) - m), with
    noise (u7 + 1)/2 N(0, 1), cut to 0..1. What pads the canvas stays 0. `AugmentRadiographd` draws u in the loader and
    moves the boxes.

    Args:
        seed: of the experiment, for the noise, which is drawn from (seed, epoch, image) on the device.
        ranges: fields of `Augmentation`.
    """

    def __init__(self, seed: int = 0, ranges: Mapping[str, float] | None = None) -> None:
        self.seed, self.ranges = seed, augmentation_of(ranges)
        self.off = is_off(ranges)

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, torch.Tensor], epoch: int) -> torch.Tensor:
        """The images of a batch, augmented.

        Args:
            batch: `image` (B, 1, Hc, Wc), 0..1; `augmentation` (B, 9), of `drawn`; `index` (B,).
            epoch: of the training.

        Returns:
            (B, 1, Hc, Wc), 0..1; `image` itself where all is off.

        Raises:
            ValueError: the batch has no `augmentation`: its boxes would move, its images would not.
        """
        image, ranges = batch["image"], self.ranges
        if self.off:
            return image
        if "augmentation" not in batch:
            raise ValueError(
                "augmentation is on, but the samples have lost what was drawn for them: let SelectSampled (`sampled`) "
                'keep "augmentation", or set all of augmentation to 0.'
            )
        generators = [generator_for(self.seed, epoch, number, NOISE) for number in batch["index"].tolist()]
        # autocast would make the places of pixels bfloat16
        with torch.autocast(image.device.type, enabled=False):
            return augment(image, batch["augmentation"], ranges, generators)


def augment(
    image: torch.Tensor, u: torch.Tensor, ranges: Augmentation, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """`RandomAugmentation` of images (B, 1, Hc, Wc), by u (B, 9); each image's noise has the seed of its generator."""
    u = u.double().cpu()
    move = moves(u, ranges, (image.shape[-2], image.shape[-1]))
    moved = zoom_and_shift if _only_zooms_and_shifts(ranges) else warp
    if not (ranges.gamma or ranges.contrast or ranges.noise):
        return moved(image, move)
    image, inside = moved(torch.cat([image, exposed_rectangle(image).to(image)], 1), move).split(1, 1)
    inside = inside > 0
    u = u.to(image)
    if ranges.gamma:
        image = image.clamp(min=1e-6) ** torch.exp(ranges.gamma * _each(u[:, 5]))
    if ranges.contrast:
        mean = image.mean((1, 2, 3), keepdim=True)
        image = mean + (1 + ranges.contrast * _each(u[:, 6])) * (image - mean)
    if ranges.noise:
        on_device = [torch.Generator(image.device).manual_seed(each.initial_seed()) for each in generators]
        noise = torch.stack([torch.randn(image.shape[1:], generator=g, device=image.device) for g in on_device])
        image = image + ranges.noise * (_each(u[:, 7]) + 1) / 2 * noise
    return image.clamp_(0, 1).mul_(inside)  # it is a new one


def warp(canvas: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """Resample so that what was at p is at move(p); outside is 0, as in the padding.

    Args:
        canvas: (C, H, W), or a batch (B, C, H, W).
        move: (3, 3), or (B, 3, 3).
    """
    if move.ndim == 2:
        return warp(canvas[None], move[None])[0]
    h, w = canvas.shape[-2:]
    # grid_sample wants, for each new pixel, the old place in units of half the canvas about its centre
    unit = torch.tensor([[w / 2, 0, w / 2], [0, h / 2, h / 2], [0, 0, 1]], dtype=torch.float64)
    theta = (torch.linalg.inv(unit) @ torch.linalg.inv(move) @ unit)[:, :2].to(canvas)
    where = F.affine_grid(theta, [len(canvas), 1, h, w], align_corners=False)
    return F.grid_sample(canvas, where, mode="bilinear", padding_mode="zeros", align_corners=False)


def zoom_and_shift(canvas: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """`warp` by moves that only zoom, both axes alike, and shift by whole pixels; on the CPU in a seventh of its time.

    Not quite the same at the rim, which does not fade: the last part of a pixel is left off, and a zoom that adds less
    than a pixel to the canvas's side is none.

    Args:
        canvas: a batch (B, C, H, W).
        move: (B, 3, 3).
    """
    return torch.stack([_zoomed_and_shifted(*each) for each in zip(canvas, move, strict=True)])


def _zoomed_and_shifted(canvas: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    zoom, (x, y), (h, w) = float(move[0, 0]), move[:2, 2].long().tolist(), canvas.shape[-2:]
    out = torch.zeros_like(canvas)
    if zoom * min(h, w) < 1:
        return out
    zoomed = F.interpolate(canvas[None], scale_factor=zoom, mode="bilinear", recompute_scale_factor=False)[0]
    height, width = zoomed.shape[-2:]
    top, bottom, left, right = max(y, 0), min(y + height, h), max(x, 0), min(x + width, w)
    if top < bottom and left < right:
        out[:, top:bottom, left:right] = zoomed[:, top - y : bottom - y, left - x : right - x]
    return out


def _only_zooms_and_shifts(ranges: Augmentation) -> bool:
    return not (ranges.rotate or ranges.flip)


def _each(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
