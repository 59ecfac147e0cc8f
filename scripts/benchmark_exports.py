"""Images a second of a packaged bundle: PyTorch, plain and as inference.json runs it, TorchScript, ONNX Runtime.

python -m scripts.benchmark exports --bundle models/demo --exports eval/export
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from bundle.export.onnx_file import run_onnx
from bundle.export.packaged import open_package
from bundle.export.torchscript_file import run_torchscript
from scripts.benchmark_rows import Row, benchmark, slug, turns

REFERENCE = "PyTorch, float32"


@benchmark("exports.images", needs="the demo's package and exports of it (docs/exports.md)")
def exports_images(
    bundle: str = "models/demo",
    exports: str = "eval/export",
    batches: int | Sequence[int] = (1, 8),
    repeats: int = 15,
    threads: int | None = None,
) -> list[Row]:
    """Medians of `repeats` passes, all ways in turn in one process, against PyTorch in float32.

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
    rows, of = [], f"{canvas} px, {torch.get_num_threads()} threads"
    for batch in batches:
        image = torch.rand(batch, 1, canvas, canvas)
        # TorchScript optimises itself in its first passes
        seconds = turns({name: partial(run, image) for name, run in ways.items()}, repeats, warm=3)
        rates = {name: batch / each for name, each in seconds.items()}
        for name, rate in rates.items():
            both, against = ((rate,), "") if name == REFERENCE else ((rate, rates[REFERENCE]), f", against {REFERENCE}")
            place = f"exports.images.{slug(name.partition(' (')[0])}.batch_{batch}"
            rows.append(Row(place, f"{name}, batches of {batch}, {of}{against}", both, "images/s", "as many"))
    return rows


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
