"""A packaged bundle as files that other runtimes read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from bundle.export.exportable import Exportable
from bundle.export.facts import export_facts
from bundle.export.onnx_file import export_onnx
from bundle.export.packaged import open_package
from bundle.export.torchscript_file import export_torchscript

Export = Callable[[nn.Module, int, Mapping[str, str], Path], dict[str, float]]
FORMATS: dict[str, tuple[str, Export]] = {
    "onnx": ("model.onnx", export_onnx),
    "torchscript": ("model.ts", export_torchscript),
}


def export_package(
    folder: str | Path, output: str | Path, formats: Sequence[str] = tuple(FORMATS)
) -> dict[Path, dict[str, float]]:
    """Export a packaged bundle's network: image (B, 1, Hc, Wc) -> `pred`, `image_score`, `scores` (`Exportable`).

    Args:
        folder: what `package_bundle` wrote.
        output: folder for model.onnx and model.ts.
        formats: names in `FORMATS`.

    Returns:
        For each file written, the largest absolute difference of each output from the network's, in float32.

    Raises:
        FileNotFoundError: no packaged bundle lies in `folder`.
        ValueError: an unknown format, weights that do not fit, or an export that differs from the network.
        TypeError: a network that cannot be exported.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"format is {unknown}; give one of {[*FORMATS, 'both']}.")
    package = open_package(folder)
    facts, network = export_facts(package), Exportable(package.network)
    written = {}
    for name in formats:
        file, export = FORMATS[name]
        path = Path(output) / file
        written[path] = export(network, int(package.config["image_size"]), facts, path)
    return written
