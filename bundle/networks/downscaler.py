"""Patch-CLIP's downscaler: learns to shrink a large radiograph to CLIP's resolution."""

from collections.abc import Sequence

import torch
from torch import nn

from bundle.networks.planar_batch_norm import PlanarBatchNorm


class Downscaler(nn.Module):
    """Two strided convolutions with batch normalisation and ReLU, 1 -> hidden -> 3 channels.

    conv 5x5, stride s1, padding 1 -> BN -> ReLU -> conv 5x5, stride s2, padding 1 -> BN -> ReLU.
    A side of n pixels becomes floor((n - 3) / s) + 1 after each: 900 -> 449 -> 224 with the paper's strides, 2 and 2;
    900 -> 898 -> 448 with 1 and 2, of which a ViT-L/14 makes 32x32 patches, at four times the work in between.

    Source: Patch-CLIP, Scientific Reports 16, 14688 (2026), the downscaling layers.

    Args:
        in_size: side of the canvas in pixels.
        out_size: side that the vision tower expects; must be what the two convolutions make of `in_size`.
        hidden_channels: channels between them (the paper: 64).
        strides: of the two convolutions, whole numbers from 1 on.

    Attributes:
        hidden_size: side between the two convolutions.

    Raises:
        ValueError: `in_size` does not lead to `out_size`; the message says which sizes and strides would. Strides that
            are none.
    """

    KERNEL, PADDING = 5, 1

    def __init__(
        self, in_size: int = 900, out_size: int = 224, hidden_channels: int = 64, strides: Sequence[int] = (2, 2)
    ) -> None:
        super().__init__()
        if len(strides) != 2 or not all(type(stride) is int and stride >= 1 for stride in strides):
            raise ValueError(f"Downscaler: strides is {strides!r}; give two whole numbers from 1 on, such as [2, 2].")
        reached = self.output_size(in_size, strides)
        if reached != out_size:
            raise ValueError(
                f"Downscaler: with the strides {list(strides)} in_size {in_size} leads to {reached}, but out_size is "
                f"{out_size}. {_fitting(in_size, out_size, strides)}"
            )
        self.in_size, self.out_size, self.hidden_channels = in_size, out_size, hidden_channels
        self.strides, self.hidden_size = tuple(strides), self.output_size(in_size, strides[:1])
        self.layers = nn.Sequential(
            self._convolution(1, hidden_channels, strides[0]),
            PlanarBatchNorm(hidden_channels),
            nn.ReLU(inplace=True),
            self._convolution(hidden_channels, 3, strides[1]),
            PlanarBatchNorm(3),
            nn.ReLU(inplace=True),
        )

    @classmethod
    def _convolution(cls, channels: int, out: int, stride: int) -> nn.Conv2d:
        return nn.Conv2d(channels, out, cls.KERNEL, stride, cls.PADDING, bias=False)

    @classmethod
    def output_size(cls, size: int, strides: Sequence[int]) -> int:
        """Side after convolutions of these strides."""
        for stride in strides:
            size = (size + 2 * cls.PADDING - cls.KERNEL) // stride + 1
        return size

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, in_size, in_size) -> (B, 3, out_size, out_size)."""
        return self.finish(self.begin(image))

    def begin(self, image: torch.Tensor) -> torch.Tensor:
        """The first half: (B, 1, in_size, in_size) -> (B, hidden_channels, n, n), n = `hidden_size`."""
        return self.layers[:3](image)

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """The second half: what `begin` gives -> (B, 3, out_size, out_size)."""
        return self.layers[3:](hidden)


def _fitting(in_size: int, out_size: int, strides: Sequence[int]) -> str:
    """What would fit, in words."""
    first, second = strides
    smallest = first * (second * (out_size - 1) + 2) + 3
    sizes = list(range(smallest, smallest + first * second))
    others = [
        [one, other]
        for one in (1, 2, 3, 4)
        for other in (1, 2, 3, 4)
        if Downscaler.output_size(in_size, (one, other)) == out_size
    ]
    said = f"For out_size {out_size} give in_size one of {sizes}"
    said += f", or the strides {' or '.join(map(str, others))}" if others else ""
    return f"{said}, or set out_size to {Downscaler.output_size(in_size, strides)}."
