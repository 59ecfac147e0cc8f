"""Debian's programs that some tests look with: without one its tests are skipped, and the end of a run says which."""

import re
import shutil
from collections.abc import Iterable

import pytest

DCMTK = ("dcmj2pnm", "dcmp2pgm", "dcmpschk", "dsrdump", "echoscu", "storescp", "storescu")
PACKAGES = {
    "chromium": "chromium",
    **dict.fromkeys(("dciodvfy", "dcentvfy"), "dicom3tools"),
    **dict.fromkeys(DCMTK, "dcmtk"),
    "Orthanc": "orthanc orthanc-dicomweb",
    "systemd-analyze": "systemd",
}
INSTALL = "apt-get install -y --no-install-recommends"
_REASON = re.compile(r"needs (\S+), of Debian's (.+)")


def path_of(name: str) -> str:
    """The path of a program; without it, the test is skipped."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}, of Debian's {PACKAGES[name]}")
    return path


def left_out(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """Lines about the tests that were skipped for want of a program, and how to have these; none if there are none.

    Args:
        skipped: id and reason of each skipped test.
    """
    wanted: dict[tuple[str, str], list[str]] = {}
    for test, reason in skipped:
        if match := _REASON.search(reason):
            wanted.setdefault((match[1], match[2]), []).append(test)
    lines = []
    for (name, _), tests in sorted(wanted.items()):
        lines.append(f"{len(tests)} skipped for want of {name}:")
        lines += [f"    {test}" for test in tests]
    if lines:
        packages = sorted({package for _, several in wanted for package in several.split()})
        lines.append(f"To run them too: {INSTALL} {' '.join(packages)}")
    return lines
