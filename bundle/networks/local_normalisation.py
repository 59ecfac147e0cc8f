"""Local normalisation: grey values relative to their neighbourhood, so that a machine's tone matters less."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bundle.comments import arguments_in
from bundle.exposed import exposed_sides


class LocalNormalisation(nn.Module):
    """Every pixel against mean and spread of its neighbourhood; what pads the canvas stays 0 and counts for nothing.

        y = clip(a x + b, 0, 1),  a = gain / (σ + floor · s + 1e-4),  b = 1/2 − a μ

    The canvas is divided into cells of c x c pixels. Of a cell, μ and σ are mean and standard deviation of the exposed
    pixels (`bundle.exposed`) of the cells up to 2·reach away along each axis, a cell at distance d weighted by the
    convolution of two boxes of 2·reach + 1 cells: max(0, 2·reach + 1 − d) along each axis. s² is the mean of σ² over
    the exposed pixels: it keeps flat neighbourhoods, whose noise would fill the range, quiet. From the cells' centres a
    and b are interpolated bilinearly to the pixels, kept beyond the outermost. No weights are learnt. An increasing
    linear change of grey, x ↦ p + q x that is not cut, changes nothing but by the 1e-4.

    It belongs to the weights that were trained with it: they carry its settings, and others are refused.

    Source: local contrast normalisation, Jarrett et al., "What is the best multi-stage architecture for object
    recognition?", ICCV 2009, with cells in place of a Gaussian.

    Args:
        cell: c, pixels of the canvas.
        reach: in cells.
        floor: share of the image's own spread that is added to the neighbourhood's.
        gain: standard deviation of y where the neighbourhood's spread is not small.

    Raises:
        ValueError: a setting below its least.
    """

    def __init__(self, cell: int = 8, reach: int = 4, floor: float = 0.3, gain: float = 0.16) -> None:
        super().__init__()
        for name, value, least in (("cell", cell, 1), ("reach", reach, 0), ("floor", floor, 0), ("gain", gain, 0)):
            if value < least:
                raise ValueError(f"local_normalisation: {name} is {value}; give {least} or more.")
        self.cell, self.reach, self.floor, self.gain = cell, reach, floor, gain

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> "LocalNormalisation | None":
        """From a section of a configuration, which may hold a `_desc_`; None for None: without it."""
        return None if settings is None else cls(**arguments_in("local_normalisation", settings, cls))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) float, 0..1 -> the same, float32; computed in it whatever the caller's autocast.

        In bfloat16 squares / number − μ² keeps nothing of a small spread on a bright ground.
        """
        with torch.autocast(image.device.type, enabled=False):
            return self._normalised(image)

    def _normalised(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        image = image.float()
        whole = F.pad(image, (0, -width % self.cell, 0, -height % self.cell))
        rows, columns = (side.to(image.dtype) for side in exposed_sides(whole))
        # share of exposed pixels, sum and sum of squares over c²: nothing outside adds to any of them
        count = F.avg_pool2d(rows, (self.cell, 1)) * F.avg_pool2d(columns, (1, self.cell))
        cells = torch.cat([count, F.avg_pool2d(whole, self.cell), F.avg_pool2d(whole.square(), self.cell)], 1)
        down, across = (self._weights(size, image.device) for size in cells.shape[-2:])
        number, total, squares = (down @ cells @ across).split(1, 1)
        number = number.clamp(min=1e-6)
        mean = total / number
        variance = (squares / number - mean.square()).clamp(min=0)
        overall = (count * variance).sum((2, 3), keepdim=True) / count.sum((2, 3), keepdim=True).clamp(min=1e-6)
        slope = self.gain / (variance.sqrt() + self.floor * overall.sqrt() + 1e-4)
        line = torch.cat([slope, 0.5 - slope * mean], 1).contiguous()  # of channels_last the CPU interpolates slowly
        line = F.interpolate(line, scale_factor=float(self.cell), mode="bilinear", align_corners=False)
        slope, offset = line[..., :height, :width].split(1, 1)
        out = torch.addcmul(offset, slope, image).clamp_(0, 1)  # in place from here: passes over memory are its cost
        return out.mul_(rows[..., :height, :]).mul_(columns[..., :width])

    def _weights(self, size: int, device: torch.device) -> torch.Tensor:
        """(size, size): of one cell in another's neighbourhood, along an axis."""
        place = torch.arange(size, dtype=torch.float32, device=device)
        side = 2 * self.reach + 1
        return (side - (place[:, None] - place).abs()).clamp(min=0) / side**2

    def get_extra_state(self) -> torch.Tensor:
        """The settings go with the weights."""
        return torch.tensor([self.cell, self.reach, self.floor, self.gain], dtype=torch.float64)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Refuse weights that were trained with other settings."""
        if not torch.equal(state.cpu(), own := self.get_extra_state()):
            raise ValueError(
                f"These weights were trained with local_normalisation cell, reach, floor, gain = {state.tolist()}, but "
                f"the configuration says {own.tolist()}. Give theirs."
            )
