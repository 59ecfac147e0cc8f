"""A packaged bundle as a traced TorchScript file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from bundle.atomic import atomic_path
from bundle.export.agreement import Runner, largest_differences
from bundle.export.exportable import tracing


def export_torchscript(network: nn.Module, canvas: int, facts: Mapping[str, str], path: Path) -> dict[str, float]:
    """Write `path`, a trace of the network, with the facts in `_extra_files`, one file a fact; the batch size is free.

    Args:
        network: `Exportable`, in eval mode, float32.
        canvas: side in pixels.
        facts: of `export_facts`.
        path: the file.

    Returns:
        The largest absolute difference of each output from the network's (see `largest_differences`).

    Raises:
        DisagreementError: the trace's results differ; nothing is written.
    """
    with tracing():
        trace = torch.jit.trace(network, torch.zeros(2, 1, canvas, canvas), check_trace=False)
    with atomic_path(path) as temporary:
        torch.jit.save(trace, temporary, _extra_files=dict(facts))
        differences = largest_differences(network, run_torchscript(temporary), canvas)
    return differences


def run_torchscript(path: Path) -> Runner:
    """The file on the CPU, as a function of an image batch (B, 1, Hc, Wc)."""
    script = torch.jit.load(path, map_location="cpu")

    def run(image: torch.Tensor) -> list[torch.Tensor]:
        with torch.inference_mode():
            return list(script(image))

    return run


def torchscript_facts(path: Path, names: list[str]) -> dict[str, str]:
    """The facts of a TorchScript file, by their names."""
    found = dict.fromkeys(names, "")
    torch.jit.load(path, map_location="cpu", _extra_files=found)
    return {name: text.decode() if isinstance(text, bytes) else text for name, text in found.items()}
