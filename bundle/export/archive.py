"""A packaged bundle as the zip file that the model zoo, `monai.bundle download` and MONAI Label read."""

import re
import zipfile
from pathlib import Path

import yaml

from bundle.atomic import atomic_path
from bundle.export.package import packaged_files
from bundle.fingerprint import file_sha256

# the zoo's limit for a file in a bundle
LARGEST_FILE = 25_000_000
LARGE_FILES = "large_files.yml"


def zip_bundle(folder: Path, file: Path, weights_url: str | None = None) -> Path:
    """Write a zip file with one top folder: the zip's name, without a version ("cxr_v0.1.0.zip" holds "cxr/").

    Files above 25 MB stay out; `large_files.yml` names each with its address and SHA-256, and
    `python -m monai.bundle download_large_files --bundle_path FOLDER` fetches them.

    Args:
        folder: what `package_bundle` wrote.
        file: the zip file to write.
        weights_url: folder address under which large files will lie, with their paths in the bundle
            ("https://host/cxr" for "https://host/cxr/models/model.pt").

    Returns:
        `file`.

    Raises:
        ValueError: there is a large file and no address.
    """
    files = packaged_files(folder)
    large = [path for path in files if path.stat().st_size > LARGEST_FILE]
    if large and weights_url is None:
        sizes = ", ".join(f"{path.relative_to(folder)} ({path.stat().st_size / 1e6:.0f} MB)" for path in large)
        raise ValueError(
            f"{sizes}: above the model zoo's 25 MB a file. Give --weights_url, the address of the folder that will "
            "hold it under the same path: the zip then names the address and the SHA-256 in large_files.yml."
        )
    top = bundle_name(file)
    with atomic_path(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            if path not in large:
                archive.write(path, f"{top}/{path.relative_to(folder).as_posix()}")
        if large:
            entries = [_entry(path, folder, str(weights_url)) for path in large]
            archive.writestr(f"{top}/{LARGE_FILES}", yaml.safe_dump({"large_files": entries}, sort_keys=False))
    return file


def bundle_name(file: Path) -> str:
    """The name of a bundle by its zip file's: "cxr_v0.1.0.zip" -> "cxr"."""
    return re.sub(r"_v\d+(\.\d+)*$", "", file.stem)


def _entry(path: Path, folder: Path, url: str) -> dict[str, str]:
    name = path.relative_to(folder).as_posix()
    return {"path": name, "url": f"{url.rstrip('/')}/{name}", "hash_val": file_sha256(path), "hash_type": "sha256"}
