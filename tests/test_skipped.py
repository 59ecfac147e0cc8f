"""The end of a run says what was skipped for want of which program of Debian's, and how to have it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.checkout import ROOT
from tests.debian import INSTALL, PACKAGES, left_out, path_of

TESTS = """
import pytest
from tests.debian import path_of

def test_there():
    path_of("sh")

@pytest.mark.parametrize("name", ["dciodvfy", "dcmj2pnm"])
def test_away(name):
    path_of(name)

def test_of_something_else():
    pytest.skip("no such thing")
"""


def test_programs_are_named_with_their_tests_and_one_line_to_have_them() -> None:
    reason = "Skipped: needs {}, of Debian's {}"
    skipped = [("a", reason.format("storescp", "dcmtk")), ("b", "no such thing")]
    skipped += [("c", reason.format("Orthanc", "orthanc orthanc-dicomweb")), ("d", reason.format("storescp", "dcmtk"))]
    assert left_out(skipped) == [
        *["1 skipped for want of Orthanc:", "    c", "2 skipped for want of storescp:", "    a", "    d"],
        f"To run them too: {INSTALL} dcmtk orthanc orthanc-dicomweb",
    ]
    assert left_out(skipped[1:2]) == []


def test_continuous_integration_installs_all_of_them() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    packages = re.search(r"^packages=\((.*)\)$", lines, re.MULTILINE)
    programs = re.search(r"^programs=\((.*)\)$", lines, re.MULTILINE)
    assert packages is not None
    assert programs is not None
    assert sorted(packages[1].split()) == sorted({one for several in PACKAGES.values() for one in several.split()})
    assert {PACKAGES[name] for name in programs[1].split()} == set(PACKAGES.values())


def test_the_last_lines_of_a_run_say_so_before_its_sum(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("__init__", "conftest", "checkout", "debian"):
        (tmp_path / "tests" / f"{name}.py").write_bytes((ROOT / "tests" / f"{name}.py").read_bytes())
    (tmp_path / "tests" / "test_some.py").write_text(TESTS)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(path_of("sh"))
    command = [sys.executable, "-m", "pytest", "-ra", "--color=no", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "PATH": str(tmp_path / "bin")}
    done = subprocess.run(
        command, cwd=tmp_path / "bin", env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, one, a, two, b, last, total = done.stdout.strip().splitlines()
    assert (one, two) == ("1 skipped for want of dciodvfy:", "1 skipped for want of dcmj2pnm:")
    assert (a.split("::")[1], b.split("::")[1]) == ("test_away[dciodvfy]", "test_away[dcmj2pnm]")
    assert last == f"To run them too: {INSTALL} dcmtk dicom3tools"
    assert re.fullmatch(r"=+ 1 passed, 3 skipped in .*s =+", total)
