"""Batch normalisation of large images with few channels, quicker on the CPU."""

from typing import Any

import torch
from torch import nn

MOST_CHANNELS = 16  # the demo's 3 and 8 were measured, the 64 of a ViT-L's downscaler were not


class PlanarBatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, computed plane by plane where channels-last images train on the CPU.

    There PyTorch's kernel for channels-last memory takes longer for a handful of channels, forwards and backwards, than
    the kernel for planes and two copies. The result is laid out as the images came.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same."""
        last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
        if not (self.training and last and images.device.type == "cpu" and self.num_features <= MOST_CHANNELS):
            return super().forward(images)
        planes = super().forward(_Laid.apply(images, torch.contiguous_format, torch.channels_last))
        return _Laid.apply(planes, torch.channels_last, torch.contiguous_format)


class _Laid(torch.autograd.Function):
    """Images in another layout of memory, and their gradient in the one they came in."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, there: torch.memory_format, back: torch.memory_format) -> torch.Tensor:
        ctx.back = back
        return images.contiguous(memory_format=there)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradients[0].contiguous(memory_format=ctx.back), None, None
