"""Export a packaged bundle as ONNX and TorchScript; docs/exports.md shows how to use the files.

python -m scripts.export_model --bundle models/demo --output eval/export
python -m scripts.export_model --bundle models/demo --output eval/export --format onnx
"""

import fire

from bundle.export.export import FORMATS, export_package


def main(bundle: str, output: str, format: str = "both") -> None:
    """Write model.onnx and model.ts into `output`; say how far their results are from PyTorch's."""
    formats = tuple(FORMATS) if format == "both" else (format,)
    for path, differences in export_package(bundle, output, formats).items():
        figures = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; largest difference from PyTorch: {figures}")


if __name__ == "__main__":
    fire.Fire(main)
