"""A packaged bundle as an ONNX file for onnxruntime."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from bundle.export.agreement import Runner, largest_differences
from bundle.export.exportable import INPUT, OUTPUTS, tracing

# protobuf cannot write 2 GiB into one file: larger weights lie beside it
LARGEST_IN_ONE_FILE = 1_900_000_000
WEIGHTS = ".data"


def export_onnx(network: nn.Module, canvas: int, facts: Mapping[str, str], path: Path) -> dict[str, float]:
    """Write `path`, with the facts as `metadata_props`; the batch axis stays free.

    Args:
        network: `Exportable`, in eval mode, float32.
        canvas: side in pixels.
        facts: of `export_facts`.
        path: the file. Weights above 1.9 GB go to a second one beside it, its name with `.data` at the end; the two
            stay together. Neither is there while they replace older ones.

    Returns:
        The largest absolute difference of each output from the network's (see `largest_differences`).

    Raises:
        DisagreementError: onnxruntime's results differ; nothing is written.
    """
    # the first warns of torchvision's operators, which nothing here needs; the others tell of every step
    exporters = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [exporter.level for exporter in exporters]
    for exporter in exporters:
        exporter.setLevel(logging.ERROR)
    try:
        with tracing():
            program = torch.onnx.export(
                network,
                (torch.zeros(2, 1, canvas, canvas),),  # 2: a batch of 1 would be taken for a constant
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    finally:
        for exporter, level in zip(exporters, levels, strict=True):
            exporter.setLevel(level)
    assert program is not None  # it is None only where a file was asked for
    program.model.metadata_props.update(facts)
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
    path.parent.mkdir(parents=True, exist_ok=True)
    # in a folder of its own and not under another name: the file names its second file
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        written = Path(folder) / path.name
        program.save(written, external_data=size > LARGEST_IN_ONE_FILE)
        differences = largest_differences(network, run_onnx(written), canvas)
        _put(written, path)
    return differences


def _put(written: Path, path: Path) -> None:
    """Rename a file, and its weights if they lie beside it, to `path`, so that it never meets another's weights."""
    new, weights = (file.with_name(file.name + WEIGHTS) for file in (written, path))
    if new.exists():
        path.unlink(missing_ok=True)  # the old file would read the new weights
        new.replace(weights)
        written.replace(path)
    else:
        written.replace(path)
        weights.unlink(missing_ok=True)


def run_onnx(path: Path, threads: int | None = None) -> Runner:
    """The file in onnxruntime on the CPU, as a function of an image batch (B, 1, Hc, Wc).

    Args:
        path: the .onnx file.
        threads: onnxruntime's; None leaves it the choice.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(image: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(output) for output in session.run(list(OUTPUTS), {INPUT: image.numpy()})]

    return run
