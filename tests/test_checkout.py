"""The guard over the checkout's products, tried in another one: a test that touches them fails, and no other does."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT, Checkout, TouchedError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with products in it, and these tests."""
    root = tmp_path / "checkout"
    (root / "tests").mkdir(parents=True)
    for name in ("__init__", "conftest", "checkout", "debian"):
        (root / "tests" / f"{name}.py").write_bytes((ROOT / "tests" / f"{name}.py").read_bytes())
    (root / "tests" / "test_some.py").write_bytes((ROOT / "tests" / "checkout_cases.py").read_bytes())
    (root / "README").touch()
    for name in ("eval", "models", "data"):
        (root / name).mkdir()
        (root / name / "there").write_text("a product")
    return root


def test_every_test_that_touches_products_fails_and_no_other(tree: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-rA", "--color=no", "-p", "no:cacheprovider", str(tree / "tests")]
    done = subprocess.run(command, cwd=tree.parent, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()
    told = {
        kind: {line.split("::")[1].split(" - ")[0] for line in lines if line.startswith(f"{kind} ")}
        for kind in ("PASSED", "FAILED", "ERROR")
    }
    tests = told["PASSED"] | told["FAILED"] | told["ERROR"]
    assert len(tests) == 34, done.stdout + done.stderr
    assert told["FAILED"] | told["ERROR"] == tests - {"test_right"}
    assert "The checkout's products were touched: open of " in done.stdout


def test_words_of_a_process_say_where_it_works(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    for words in (["x", f"--bundle_root={tmp_path}"], ["x", "-o", f"{tmp_path}/models/a"]):
        with pytest.raises(TouchedError, match="told to work in the checkout"):
            checkout.hook("subprocess.Popen", ("x", words, None, None))
    checkout.hook("subprocess.Popen", ("x", ["x", f"{tmp_path}/configs"], None, None))
    assert checkout.told().count("told to work") == 2
    assert checkout.told() == ""
