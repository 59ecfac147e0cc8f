"""Patch-CLIP's downscaler: learns to shrink a large radiograph to CLIP's resolution."""

import torch
from torch import nn


class Downscaler(nn.Module):
    """Two strided convolutions with batch normalisation and ReLU, 1 -> hidden -> 3 channels.

    conv 5x5, stride 2, padding 1 -> BN -> ReLU -> conv 5x5, stride 2, padding 1 -> BN -> ReLU.
    A side of n pixels becomes floor((n - 3) / 2) + 1 after each: 900 -> 449 -> 224, the paper's sizes.

    Source: Patch-CLIP, Scientific Reports 16, 14688 (2026), the downscaling layers.

    Args:
        in_size: side of the canvas in pixels.
        out_size: side that the vision tower expects; must be what the two convolutions make of `in_size`.
        hidden_channels: channels between them (the paper: 64).

    Raises:
        ValueError: `in_size` does not lead to `out_size`.
    """

    KERNEL, STRIDE, PADDING = 5, 2, 1

    def __init__(self, in_size: int = 900, out_size: int = 224, hidden_channels: int = 64) -> None:
        super().__init__()
        reached = self.output_size(self.output_size(in_size))
        if reached != out_size:
            fitting = [n for n in range(4 * out_size - 8, 4 * out_size + 16) if self.fits(n, out_size)]
            raise ValueError(
                f"Downscaler: in_size {in_size} leads to {reached}, but out_size is {out_size}. "
                f"For out_size {out_size} give in_size one of {fitting}, or set out_size to {reached}."
            )
        self.in_size, self.out_size, self.hidden_channels = in_size, out_size, hidden_channels
        self.layers = nn.Sequential(
            self._convolution(1, hidden_channels),
            nn.BatchNorm2d(hidden_channels),
            nn.ReLU(inplace=True),
            self._convolution(hidden_channels, 3),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
        )

    @classmethod
    def _convolution(cls, channels: int, out: int) -> nn.Conv2d:
        return nn.Conv2d(channels, out, cls.KERNEL, cls.STRIDE, cls.PADDING, bias=False)

    @classmethod
    def output_size(cls, size: int) -> int:
        """Side after one convolution."""
        return (size + 2 * cls.PADDING - cls.KERNEL) // cls.STRIDE + 1

    @classmethod
    def fits(cls, in_size: int, out_size: int) -> bool:
        """Whether the two convolutions turn `in_size` into `out_size`."""
        return cls.output_size(cls.output_size(in_size)) == out_size

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, in_size, in_size) -> (B, 3, out_size, out_size)."""
        return self.finish(self.begin(image))

    def begin(self, image: torch.Tensor) -> torch.Tensor:
        """The first half: (B, 1, in_size, in_size) -> (B, hidden_channels, n, n), n = `output_size`(in_size)."""
        return self.layers[:3](image)

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """The second half: what `begin` gives -> (B, 3, out_size, out_size)."""
        return self.layers[3:](hidden)
