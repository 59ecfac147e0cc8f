"""Copy the real chest radiograph of pydicom-data, uncompressed and lossless JPEG 2000.

python -m scripts.copy_rg1 --output FOLDER
"""

import importlib.util
import shutil
import sys
from pathlib import Path

import fire

FILES = ("RG1_UNCR.dcm", "RG1_J2KR.dcm")


def main(output: str) -> None:
    """Copy both files into `output`."""
    spec = importlib.util.find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("pydicom-data is not installed: pip install --no-deps pydicom-data==1.0.0")
    Path(output).mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(Path(spec.submodule_search_locations[0]) / "data" / name, Path(output) / name)
        print(Path(output) / name)


if __name__ == "__main__":
    fire.Fire(main)
