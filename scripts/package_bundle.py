"""Make a trained experiment a self-contained bundle, and a zip file of it for the model zoo and MONAI Label.

python -m scripts.package_bundle --config_file "['configs/train.json','configs/demo.json']" --output models/demo
python -m scripts.package_bundle --config_file "['configs/train.json']" --output models/package \
    --zip models/patch_clip_v0.2.0.zip --weights_url https://host/patch_clip
"""

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import fire

from bundle.export.archive import bundle_name, zip_bundle
from bundle.export.check_bundle import BundleFaultsError, check_bundle
from bundle.export.package import package_bundle
from scripts.switches import with_switches


def main(
    config_file: str | Sequence[str],
    output: str,
    bundle_root: str = ".",
    zip: str | None = None,
    weights_url: str | None = None,
    check: bool = True,
) -> None:
    """Write `output` (configs, models/model.pt, bundle/, LICENSE, docs/) and, if named, the zip file; check them.

    Exits with 1, and all reasons, if the model zoo would refuse what was written.
    """
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    root = Path(__file__).resolve().parent.parent
    print(package_bundle(files, root, Path(output), bundle_root))
    try:
        if zip is not None:
            print(zip_bundle(Path(output), Path(zip), weights_url))
            if check:
                with tempfile.TemporaryDirectory() as folder:
                    zipfile.ZipFile(zip).extractall(folder)
                    check_bundle(Path(folder) / bundle_name(Path(zip)), large_files_from=Path(output))
        elif check:
            check_bundle(Path(output))
    except BundleFaultsError as faults:
        raise SystemExit(str(faults)) from faults


if __name__ == "__main__":
    fire.Fire(with_switches(main))
