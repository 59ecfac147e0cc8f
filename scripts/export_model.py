"""Export a packaged bundle as ONNX and TorchScript; docs/exports.md shows how to use the files.

python -m scripts.export_model --bundle models/demo --output eval/export
python -m scripts.export_model --bundle models/demo --output eval/export --format onnx
python -m scripts.export_model --bundle models/demo --output eval/export --format onnx --runner true
"""

from pathlib import Path

import fire

from bundle.export.export import FORMATS, export_package
from bundle.export.runner import ENTRY, write_runner
from scripts.switches import with_switches

ROOT = Path(__file__).resolve().parents[1]


def main(bundle: str, output: str, format: str = "both", runner: bool = False) -> None:
    """Write model.onnx and model.ts into `output`; say how far their results are from PyTorch's.

    With `runner` also what `python -m bundle.onnx_run` takes there: its modules and its requirements.
    """
    formats = tuple(FORMATS) if format == "both" else (format,)
    for path, differences in export_package(bundle, output, formats).items():
        figures = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; largest difference from PyTorch: {figures}")
    if runner:
        print(f"{output}: {len(write_runner(ROOT, Path(output)))} files of the runner, {ENTRY}")


if __name__ == "__main__":
    fire.Fire(with_switches(main))
