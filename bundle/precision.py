"""Number format and memory layout of the network, by configuration, on the CPU as on CUDA."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

Autocast = Literal["auto", "bfloat16", "float32"]


class Precision:
    """bf16 autocast and channels_last.

    MONAI's `amp` autocasts "cuda" in float16 with a gradient scaler; bf16 needs no scaler and works on the CPU too.

    Args:
        autocast: "bfloat16"; "float32" for none; "auto" for bfloat16 where the hardware computes in it (without such
            hardware a CPU, or a card before Ampere, emulates it, many times slower).
        channels_last: lay images out as (B, H, W, C) in memory, which convolutions on the CPU and tensor cores prefer.

    Raises:
        ValueError: an unknown `autocast`.
    """

    def __init__(self, autocast: Autocast = "auto", channels_last: bool = True) -> None:
        if autocast not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"precision.autocast is '{autocast}'; give 'auto', 'bfloat16' or 'float32'.")
        self.autocast, self.channels_last = autocast, channels_last

    def uses_bfloat16(self, device: torch.device) -> bool:
        """Whether this device will compute in bf16."""
        if self.autocast == "auto":
            return _cuda_has_bfloat16() if device.type == "cuda" else _cpu_has_bfloat16()
        return self.autocast == "bfloat16"

    def context(self, device: torch.device) -> AbstractContextManager:
        """The context to compute the forward pass and the loss in."""
        if self.uses_bfloat16(device):
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()

    def place(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network on its device, in the wanted layout."""
        layout = torch.channels_last if self.channels_last else torch.preserve_format
        return network.to(device).to(memory_format=layout)  # type: ignore[call-overload]

    def layout(self, image: torch.Tensor) -> torch.Tensor:
        """An image batch (B, C, H, W) in the wanted layout."""
        return image.contiguous(memory_format=torch.channels_last) if self.channels_last else image


def _cuda_has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))  # cards before Ampere emulate it


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
