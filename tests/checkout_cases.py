"""What test_checkout.py runs in a checkout of its own: tests called wrong, which the guard must fail, and one right."""

import contextlib
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NAMES = ["eval", "models", "data"]


def child(code, *arguments, cwd=None):
    subprocess.run([sys.executable, "-S", "-c", code, *arguments], cwd=cwd, check=True)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_reads(name):
    (ROOT / name / "there").read_text()


def test_wrong_reads_what_is_not_there():
    with contextlib.suppress(FileNotFoundError):
        open(f"{ROOT}/eval/not/there")


@pytest.mark.parametrize("name", NAMES)
def test_wrong_swallows_the_refusal(name):
    with contextlib.suppress(Exception):
        open(os.path.join(ROOT, "configs", "..", name, "new"), "w")


@pytest.mark.parametrize(
    "touch",
    [
        lambda: os.listdir(ROOT / "eval"),
        lambda: list(os.scandir(ROOT / "data")),
        lambda: list((ROOT / "eval").rglob("*")),
        lambda: os.mkdir(ROOT / "models" / "new"),
        lambda: shutil.rmtree(ROOT / "eval"),
        lambda: os.remove(ROOT / "eval" / "there"),
        lambda: (ROOT / "README").rename(ROOT / "models" / "README"),
        lambda: (ROOT / "eval" / "there").rename(ROOT / "there"),
        lambda: (ROOT / "data" / "link").symlink_to(ROOT),
        lambda: sqlite3.connect(ROOT / "eval" / "mlruns.db"),
        lambda: os.open(os.fsencode(ROOT / "data" / "new"), os.O_CREAT | os.O_WRONLY),
        lambda: os.chdir(ROOT / "eval"),
    ],
    ids=range(12),
)
def test_wrong_touches(touch):
    touch()


def test_wrong_works_in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def made():
    (ROOT / "eval" / "by_a_fixture").mkdir()


def test_wrong_by_its_fixture(made):
    pass


def test_wrong_in_a_forked_process():
    if not (pid := os.fork()):
        with contextlib.suppress(Exception):
            open(ROOT / "data" / "there")
        os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "code",
    [
        "open(ROOT + '/eval' + '/by_a_child', 'w')",
        "open(ROOT + '/eval' + '/there', 'a').write('more')",
        "import os; os.makedirs(ROOT + '/models' + '/a/b')",
        "import os; os.mkdir(ROOT + '/models' + '/empty')",
        "import os; os.remove(ROOT + '/data' + '/there')",
    ],
    ids=range(5),
)
def test_wrong_child_changes(code):
    child(f"ROOT = {str(ROOT)!r}; {code}")


def test_wrong_child_works_in_the_checkout():
    child("", cwd=ROOT)


@pytest.mark.parametrize(
    "argument", [f"--bundle_root={ROOT}", str(ROOT), f"--output_dir={ROOT}/eval/mine", f"{ROOT}/data"]
)
def test_wrong_child_is_told_to(argument):
    child("", argument)


def test_right(tmp_path):
    assert os.getcwd() != str(ROOT)
    os.mkdir("eval")
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "own").write_text("")
        (ROOT / f"{name}uation.txt").write_text("beside them")
        (ROOT / "configs" / name).mkdir(parents=True)
    child("open('eval/own', 'a').write('more')", cwd=tmp_path)
    child("open('new', 'w')", f"--config_file={ROOT}/configs/train.json", cwd=ROOT / "configs")
    subprocess.run(["true"], cwd=ROOT, check=True)
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)


@pytest.fixture(scope="session")
def left():
    yield
    with contextlib.suppress(Exception):
        (ROOT / "eval" / "there").unlink()


def test_wrong_in_the_end(left):
    pass
