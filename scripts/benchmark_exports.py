"""Images a second of a packaged bundle: PyTorch, plain and as inference.json runs it, TorchScript, ONNX Runtime.

python -m scripts.benchmark_exports --bundle models/demo --exports eval/export
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import fire
import torch

from bundle.export.onnx_file import run_onnx
from bundle.export.packaged import open_package
from bundle.export.torchscript_file import run_torchscript

REFERENCE = "PyTorch, float32"


def main(
    bundle: str, exports: str, batches: int | Sequence[int] = (1, 8), repeats: int = 15, threads: int | None = None
) -> None:
    """Print a markdown table: medians of `repeats` passes, all ways in turn in one process, and ratios to PyTorch's.

    Args:
        bundle: folder of a packaged bundle.
        exports: folder with its model.onnx and model.ts (`scripts.export_model`).
        batches: batch sizes, or one.
        repeats: timed passes of each.
        threads: of PyTorch and ONNX Runtime; None takes PyTorch's default for both.
    """
    batches = (batches,) if isinstance(batches, int) else tuple(batches)
    torch.set_num_threads(threads or torch.get_num_threads())
    canvas, ways = _ways(Path(bundle), Path(exports))
    header = "".join(f" batch {batch}: images/s | ratio |" for batch in batches)
    print(f"{torch.get_num_threads()} threads, {canvas} px, median of {repeats}\n")
    print(f"| what |{header}\n|---|" + "---|---|" * len(batches))
    seconds = {batch: _seconds(ways, torch.rand(batch, 1, canvas, canvas), repeats) for batch in batches}
    for name in ways:
        cells = [
            f" {batch / seconds[batch][name]:.1f} | {seconds[batch][REFERENCE] / seconds[batch][name]:.2f}x |"
            for batch in batches
        ]
        print(f"| {name} |{''.join(cells)}")


def _ways(bundle: Path, exports: Path) -> tuple[int, dict[str, Callable[[torch.Tensor], object]]]:
    """The canvas, and every way to look at a batch, by name; all give maps and scores."""
    package = open_package(bundle)
    placed = open_package(bundle).config
    precision, device = placed.get_parsed_content("precision"), torch.device("cpu")
    network = precision.place(open_package(bundle).network, device)

    def plain(image: torch.Tensor) -> object:
        with torch.inference_mode():
            return package.network(image, full=True)

    def as_configured(image: torch.Tensor) -> object:
        with torch.inference_mode(), precision.context(device):
            return network(precision.layout(image), full=True)

    number = "bfloat16" if precision.uses_bfloat16(device) else "float32"
    return int(package.config["image_size"]), {
        REFERENCE: plain,
        f"PyTorch as inference.json runs it ({number}, channels_last)": as_configured,
        "TorchScript, float32": run_torchscript(exports / "model.ts"),
        "ONNX Runtime, float32": run_onnx(exports / "model.onnx", torch.get_num_threads()),
    }


def _seconds(ways: dict[str, Callable[[torch.Tensor], object]], image: torch.Tensor, repeats: int) -> dict[str, float]:
    """Median time of a pass, in seconds; the ways take turns, so that a busy moment of the machine meets all."""
    for run in ways.values():
        for _ in range(3):  # TorchScript optimises itself in its first passes
            run(image)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            start = time.perf_counter()
            run(image)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


if __name__ == "__main__":
    fire.Fire(main)
