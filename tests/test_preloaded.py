"""A preloaded command is what `python -m` is: arguments, folder, output, exit, and nothing of the command before it."""

import subprocess
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.workflows.conftest import PRELOADED

COMMAND = """
import os, sys, warnings
import monai

seen = "seen" in vars(monai)
monai.seen = True
warnings.warn("never shown")
known = seen, "bundle" in sys.modules, os.environ["OMP_NUM_THREADS"], sys.stdin.read()
print(__name__, sys.argv[1:], os.getcwd(), *known)
print("to stderr", file=sys.stderr)
if sys.argv[1] == "raises":
    raise ValueError("told in a traceback")
sys.exit({"number": 3, "words": "the last words"}.get(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "command.py").write_text(COMMAND)
    return tmp_path


@pytest.mark.parametrize("ending", ["well", "number", "words", "raises"])
def test_it_is_what_a_process_of_its_own_is(folder: Path, ending: str) -> None:
    done = PRELOADED.run(["command", ending, "two words"], folder, 60)
    assert done.stdout.split("\n")[0] == f"__main__ {[ending, 'two words']} {folder} False False 1 "
    assert done.returncode == {"well": 0, "number": 3, "words": 1, "raises": 1}[ending]
    told = done.stderr.strip().splitlines()
    assert told[0] == "to stderr"
    assert told[-1] == {"words": "the last words", "raises": "ValueError: told in a traceback"}.get(ending, "to stderr")


def test_it_may_not_touch_the_checkouts_products(folder: Path) -> None:
    (folder / "command.py").write_text(f"open({str(ROOT)!r} + '/eval/x', 'w')")
    done = PRELOADED.run(["command"], folder, 60)
    assert done.returncode == 1
    assert "No test may touch eval, models, data of the checkout" in done.stderr


def test_one_that_takes_too_long_is_ended_and_the_next_runs(folder: Path) -> None:
    (folder / "command.py").write_text("import time; time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired):
        PRELOADED.run(["command"], folder, 0.5)
    (folder / "command.py").write_text("print('again')")
    assert PRELOADED.run(["command"], folder, 120).stdout == "again\n"
