"""An early-convolution stem in place of a vision tower's patch embedding, for training from scratch."""

import torch
from torch import nn


class ConvStem(nn.Module):
    """Strided 3x3 convolutions down to one vector a patch.

    A ViT's single patch-sized convolution learns nothing local in minutes from random weights; a few small ones do
    (Xiao et al., "Early Convolutions Help Transformers See Better", 2021). Each stage halves the side: a 3x3
    convolution of stride 2, then `depth` - 1 of stride 1, each with batch normalisation and ReLU; a 1x1 convolution
    ends in the tower's width. The product of the stages' strides is the patch size.

    Args:
        channels: channels of each stage; 2 ** len(channels) must be `patch_size`.
        width: hidden size of the tower.
        patch_size: side of a patch in the tower's pixels.
        in_channels: channels of the tower's input.
        depth: convolutions in each stage.

    Raises:
        ValueError: the stages do not multiply to the patch size.
    """

    def __init__(
        self, channels: list[int], width: int, patch_size: int, in_channels: int = 3, depth: int | list[int] = 2
    ) -> None:
        super().__init__()
        depths = [depth] * len(channels) if isinstance(depth, int) else list(depth)
        if 2 ** len(channels) != patch_size or len(depths) != len(channels):
            raise ValueError(
                f"ConvStem: {len(channels)} stages (channels {channels}, depth {depth}) shrink by "
                f"{2 ** len(channels)}, but the tower's patch_size is {patch_size}. Give log2(patch_size) stages."
            )
        layers: list[nn.Module] = []
        self.channels, self._ends = list(channels), [3 * sum(depths[: i + 1]) for i in range(len(depths))]
        for out, count in zip(channels, depths, strict=True):
            for i in range(count):
                layers += [
                    nn.Conv2d(in_channels, out, 3, stride=2 if i == 0 else 1, padding=1, bias=False),
                    nn.BatchNorm2d(out),
                    nn.ReLU(inplace=True),
                ]
                in_channels = out
        self.stages = nn.Sequential(*layers)
        self.project = nn.Conv2d(in_channels, width, 1)

    @property
    def weight(self) -> torch.Tensor:
        """The tower reads its patch embedding's dtype from `.weight`."""
        return self.project.weight

    def levels(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, S, S) -> what each stage gives, (B, channels[i], S / 2^(i + 1), S / 2^(i + 1))."""
        found = []
        for number, layer in enumerate(self.stages, start=1):
            pixels = layer(pixels)
            if number in self._ends:
                found.append(pixels)
        return found

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, width, S / patch_size, S / patch_size)."""
        return self.project(self.stages(pixels))
