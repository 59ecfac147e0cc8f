"""What software made a result."""

import platform
from importlib import metadata

_PACKAGES = ("monai", "torch", "pytorch-ignite", "transformers", "numpy", "scikit-learn", "pydicom", "nibabel", "itk")


def versions() -> dict[str, str]:
    """Version of Python and of every package that results depend on; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
