"""Photometric domain randomisation: a batch of radiographs as if other machines had processed them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F

from bundle.comments import arguments_in
from bundle.exposed import exposed_sides
from bundle.transforms.augment import generator_for

Range = tuple[float, float]
BOUNDS = {"black": (-float("inf"), float("inf"), ""), "frame": (0.0, 0.4, ", 0 to 0.4")}  # the rest: above 0
STREAM = 1  # beside what augmentation draws from the same (seed, epoch, image)


@dataclass(frozen=True)
class Photometry:
    """Ranges of the random changes; the defaults of shares, gamma and noise leave every image as it is.

    Attributes:
        latitude_share: share of images whose bands get gains of their own, as multi-band processing gives them.
        fine: gain of waves shorter than about 8 px of the canvas, log-uniform like the next two.
        middle: gain of those up to about 32 px.
        coarse: gain of those up to about 96 px.
        base: gain of longer ones, about the image's mean; uniform.
        gamma: exponent of the tone curve, log-uniform.
        tone_share: share of images whose black and white are moved.
        black: grey that black becomes; below 0 it is cut off.
        contrast: white minus black; what lies above 1 is cut off.
        noise: largest standard deviation of added Gaussian noise; each image's is uniform below it.
        frame_share: share of images with a frame of one grey over their rim, as films and viewers leave it.
        frame: width of the frame, of each side its own, as a share of the canvas; it may cover lesions.
    """

    latitude_share: float = 0.0
    fine: Range = (0.67, 2.5)
    middle: Range = (0.6, 1.8)
    coarse: Range = (0.4, 1.2)
    base: Range = (0.3, 1.1)
    gamma: Range = (1.0, 1.0)
    tone_share: float = 0.0
    black: Range = (-0.15, 0.5)
    contrast: Range = (0.35, 0.9)
    noise: float = 0.0
    frame_share: float = 0.0
    frame: Range = (0.0, 0.06)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float):
                limit = "0 or more" if field.name == "noise" else "0 to 1"
                wrong = not 0 <= value <= (float("inf") if field.name == "noise" else 1)
            else:
                object.__setattr__(self, field.name, tuple(value))
                least, most, said = BOUNDS.get(field.name, (1e-3, float("inf"), ", above 0"))
                limit = f"two numbers, the lower first{said}"
                wrong = len(value) != 2 or not least <= value[0] <= value[1] <= most
            if wrong:
                raise ValueError(f"photometric: {field.name} is {value}; give {limit}.")

    @property
    def off(self) -> bool:
        """Whether every image stays as it is."""
        shares = (self.latitude_share, self.tone_share, self.noise, self.frame_share)
        return not any(shares) and self.gamma == (1.0, 1.0)


class RandomPhotometry:
    """Changes the grey values of a batch, on its device, in front of the network in training.

    With x an image, x_n its means over n x n pixels brought back to its size, and m its mean, in this order:

    1. latitude: y = m + base (x_32 − m) + coarse (x_16 − x_32) + middle (x_4 − x_16) + fine (x − x_4);
    2. tone curve: y ↦ y^gamma, of y in 0..1;
    3. black and white: y ↦ black + contrast · y;
    4. noise, and a cut to 0..1;
    5. a frame: the rows and columns of the exposed rectangle that lie wholly within the width of its side get one grey,
       uniform in 0..1.

    What pads the canvas stays 0 (`bundle.exposed`). What is drawn depends on (seed, epoch, image's index) alone,
    whatever the batch and the rank, and after a resume; of the noise, on the device too.

    Args:
        seed: of the experiment.
        ranges: fields of `Photometry`.
    """

    def __init__(self, seed: int = 0, ranges: Mapping[str, Any] | None = None) -> None:
        self.seed, self.ranges = seed, Photometry(**arguments_in("photometric", ranges, Photometry))

    @torch.no_grad()
    def __call__(self, image: torch.Tensor, index: torch.Tensor, epoch: int) -> torch.Tensor:
        """Change a batch.

        Args:
            image: (B, 1, H, W) float, 0..1, the canvas.
            index: (B,) int64, the images' numbers in their section.
            epoch: of the training.

        Returns:
            (B, 1, H, W), 0..1; `image` itself where all is off.
        """
        ranges = self.ranges
        if ranges.off:
            return image
        generators = [generator_for(self.seed, epoch, number, STREAM) for number in index.tolist()]
        # all drawn always: switching one off keeps the rest
        u = torch.stack([torch.rand(10, generator=generator) for generator in generators])
        latitude = u[:, 0]
        fine, middle, coarse, base, gamma, tone, black, contrast, noise = u[:, 1:].to(image).T[..., None, None, None]
        rows, columns = (side.to(image.dtype) for side in exposed_sides(image))
        out = image.clone()
        if len(which := _places(latitude < ranges.latitude_share, image.device)):
            gains = (
                _log_uniform(fine, ranges.fine),
                _log_uniform(middle, ranges.middle),
                _log_uniform(coarse, ranges.coarse),
                _uniform(base, ranges.base),
            )
            out[which] = with_latitude(*(each[which] for each in (image, rows, columns, *gains)))
        # in place from here: passes over memory are its cost
        if ranges.gamma != (1.0, 1.0):
            out.clamp_(1e-4, 1).log2_().mul_(_log_uniform(gamma, ranges.gamma)).exp2_()  # half of pow's time
        if ranges.tone_share:
            chosen = tone < ranges.tone_share
            out.clamp_(0, 1).mul_(torch.where(chosen, _uniform(contrast, ranges.contrast), 1))
            out.add_(torch.where(chosen, _uniform(black, ranges.black), 0))
        if ranges.noise:
            out.addcmul_(ranges.noise * noise, self._noise(image, [each.initial_seed() for each in generators]))
        out.clamp_(0, 1).mul_(rows).mul_(columns)
        if ranges.frame_share:
            u = torch.stack([torch.rand(6, generator=generator) for generator in generators])
            if len(which := _places(u[:, 0] < ranges.frame_share, image.device)):
                grey, *sides = u[:, 1:].to(image).T[..., None, None, None]
                widths = [_uniform(side, ranges.frame)[which] for side in sides]
                out[which] = with_frame(out[which], rows[which], columns[which], grey[which], widths)
        return out

    def _noise(self, image: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        """Standard normal values like the batch, drawn on its device."""
        drawn = [torch.Generator(image.device).manual_seed(seed) for seed in seeds]
        return torch.stack([torch.randn(image.shape[1:], generator=g, device=image.device) for g in drawn])


def with_latitude(
    image: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    fine: torch.Tensor,
    middle: torch.Tensor,
    coarse: torch.Tensor,
    base: torch.Tensor,
) -> torch.Tensor:
    """Step 1 of `RandomPhotometry`; the means over blocks are brought back from level to level, bilinearly.

    Args:
        image: (B, 1, H, W).
        rows: (B, 1, H, 1), 1 where a row crosses the exposed rectangle, else 0; outside of it the image's mean inside
            stands in, so that its edge is no detail.
        columns: (B, 1, 1, W), likewise.
        fine: (B, 1, 1, 1) gain, like the rest.
        middle: see `Photometry`, like the rest.
        coarse: see there.
        base: see there.

    Returns:
        (B, 1, H, W), not cut to 0..1.
    """
    share = rows.mean(2, keepdim=True) * columns.mean(3, keepdim=True)
    mean = image.mean((1, 2, 3), keepdim=True) / share.clamp(1e-6)  # what pads it is 0
    filled = torch.addcmul(image, -mean * rows, columns).add_(mean)
    four = F.avg_pool2d(filled, 4, ceil_mode=True)
    sixteen = F.avg_pool2d(four, 4, ceil_mode=True)
    thirty_two = F.avg_pool2d(sixteen, 2, ceil_mode=True)
    # the sum of gains times bands, by levels: each level's upsampling is shared by all that is coarser
    out = (base - coarse) * thirty_two + (1 - base) * mean
    out = (coarse - middle) * sixteen + _to(out, sixteen)
    out = (middle - fine) * four + _to(out, four)
    return _to(out, filled).addcmul_(fine, filled)


def with_frame(
    image: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    grey: torch.Tensor,
    widths: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Step 5 of `RandomPhotometry`.

    Args:
        image: (B, 1, H, W), 0 outside its exposed rectangle.
        rows: (B, 1, H, 1), 1 where a row crosses the exposed rectangle, else 0.
        columns: (B, 1, 1, W), likewise.
        grey: (B, 1, 1, 1), of the frame.
        widths: above, below, left and right, each (B, 1, 1, 1), shares of the canvas's side.

    Returns:
        (B, 1, H, W).
    """

    def within(inside: torch.Tensor, dim: int, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        so_far, size = inside.cumsum(dim), inside.shape[dim]
        left_over = inside.sum(dim, keepdim=True) - so_far + inside
        return (so_far > first * size) & (left_over > last * size)

    picture = within(rows, 2, *widths[:2]) & within(columns, 3, *widths[2:])
    return torch.where(picture, image, grey * rows * columns)


def _places(chosen: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Which of a batch are chosen, (B,) bool on the CPU: to count them on the device would wait for it."""
    return chosen.nonzero().flatten().to(device, non_blocking=True)


def _to(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(values, like.shape[-2:], mode="bilinear", align_corners=False)


def _uniform(u: torch.Tensor, limits: Range) -> torch.Tensor:
    return limits[0] + (limits[1] - limits[0]) * u


def _log_uniform(u: torch.Tensor, limits: Range) -> torch.Tensor:
    return limits[0] * (limits[1] / limits[0]) ** u
