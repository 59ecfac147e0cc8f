"""Local normalisation: grey values relative to their neighbourhood, so that a machine's tone matters less."""

import torch
import torch.nn.functional as F
from torch import nn

from bundle.exposed import exposed_rectangle


class LocalNormalisation(nn.Module):
    """Every pixel against mean and spread of its neighbourhood; what pads the canvas stays 0 and counts for nothing.

        y = clip(1/2 + gain (x − μ) / (σ + floor · s + 1e-4), 0, 1)

    The canvas is divided into cells of c x c pixels. Of a cell, μ and σ are mean and standard deviation of the exposed
    pixels (`bundle.exposed`) of the cells up to 2·reach away along each axis, a cell at distance d weighted by the
    convolution of two boxes of 2·reach + 1 cells: max(0, 2·reach + 1 − d) along each axis. From the cells' centres they
    are interpolated bilinearly to the pixels, beyond the outermost kept. s² is the mean of σ² over the exposed pixels:
    it keeps flat neighbourhoods, whose noise would fill the range, quiet. No weights are learnt. An increasing linear
    change of grey, x ↦ a + b·x that is not cut, changes nothing but by the 1e-4.

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

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) float, 0..1 -> the same, float32."""
        image = image.float()
        inside = exposed_rectangle(image).to(image.dtype)
        height, width = image.shape[-2:]
        # number, sum and sum of squares: nothing outside adds to any of them
        moments = torch.cat([inside, image, image.square()], 1)
        moments = F.pad(moments, (0, -width % self.cell, 0, -height % self.cell))
        cells = F.avg_pool2d(moments, self.cell)  # (B, 3, H / c, W / c)
        side = 2 * self.reach + 1
        near = F.avg_pool2d(F.avg_pool2d(F.pad(cells, [2 * self.reach] * 4), side, 1), side, 1)
        number, total, squares = near.split(1, 1)
        number = number.clamp(min=1e-6)
        mean = total / number
        variance = (squares / number - mean.square()).clamp(min=0)
        count = cells[:, :1]
        overall = (count * variance).sum((2, 3), keepdim=True) / count.sum((2, 3), keepdim=True).clamp(min=1e-6)
        spread = variance.sqrt() + self.floor * overall.sqrt() + 1e-4
        local = F.interpolate(
            torch.cat([mean, spread], 1), scale_factor=float(self.cell), mode="bilinear", align_corners=False
        )
        mean, spread = local[..., :height, :width].split(1, 1)
        return (0.5 + self.gain * (image - mean) / spread).clamp(0, 1) * inside

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
