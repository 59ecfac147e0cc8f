"""Make a trained experiment a self-contained bundle.

python -m scripts.package_bundle --config_file "['configs/train.json','configs/demo.json']" --output models/demo
"""

from collections.abc import Sequence
from pathlib import Path

import fire

from bundle.export.package import package_bundle


def main(config_file: str | Sequence[str], output: str, bundle_root: str = ".") -> None:
    """Write `output`: configs, models/model.pt, bundle/, LICENSE, docs/README.md."""
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    root = Path(__file__).resolve().parent.parent
    print(package_bundle(files, root, Path(output), bundle_root))


if __name__ == "__main__":
    fire.Fire(main)
