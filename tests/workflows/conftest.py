"""Runs of the bundle's configs on tiny data, as a user would start them."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.preloaded import Preloaded
from tests.tiny import write_tiny_data

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "tiny.json"
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
PRELOADED = Preloaded(ENVIRONMENT)


SECRETS = (b"Secret^Name", b"SECRET-ID", b"SecretReport", b"patient-1")  # of the tiny data


def planted_in(*folders: Path) -> list[tuple[str, bytes]]:
    """Where a patient of the tiny data stands in the names or bytes of any file below these folders."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    found = []
    for path in files:
        content = path.read_bytes()
        content += str(path).encode() + (gzip.decompress(content) if path.suffix == ".gz" else b"")
        found += [(str(path), secret) for secret in SECRETS if secret in content]
    return found


class Place:
    """A folder with tiny data, checkpoints and results, and the command that runs a workflow in it.

    Args:
        folder: made if missing.
        checkout: whose configs run.
    """

    def __init__(self, folder: Path, checkout: Path = ROOT) -> None:
        self.folder, self.checkout = folder, checkout
        self.data, self.models, self.eval = folder / "data", folder / "models", folder / "eval"
        write_tiny_data(self.data)

    def arguments(self, run_id: str, *configs: str, **overrides: object) -> list[str]:
        """The command's arguments; an override of None leaves a key as the configs have it."""
        files = [str(self.checkout / "configs" / f"{name}.json") for name in configs[:1]] + [str(TINY)]
        files += [str(self.checkout / "configs" / f"{name}.json") for name in configs[1:]]
        where = {"bundle_root": self.folder, "dataset_dir": self.data, "output_dir": self.eval, "ckpt_dir": self.models}
        settings = [f"--{key}={value}" for key, value in {**where, **overrides}.items() if value is not None]
        return ["-m", "monai.bundle", "run", run_id, f"--config_file={files}", *settings]

    def run(self, run_id: str, *configs: str, cwd: Path | None = None, fresh: bool = False, **overrides: object) -> str:
        """Run a workflow in a process of its own; returns what it printed. A `fresh` one imports all of it anew."""
        return self.execute([sys.executable, *self.arguments(run_id, *configs, **overrides)], cwd, fresh)

    def script(self, name: str, *arguments: object) -> str:
        """Run one of scripts/, as a user does in a checkout; returns what it printed."""
        return self.execute([sys.executable, "-m", f"scripts.{name}", *map(str, arguments)], self.bare_checkout())

    def bare_checkout(self) -> Path:
        """A checkout that has no products."""
        checkout = self.folder / "checkout"
        if not checkout.is_dir():
            checkout.mkdir()
            for part in ("bundle", "configs", "scripts"):
                (checkout / part).symlink_to(ROOT / part)
        return checkout

    def execute(self, command: list[str], cwd: Path | None = None, fresh: bool = False) -> str:
        """Run a command; returns what it printed."""
        cwd = cwd or self.folder
        if not fresh and command[:2] == [sys.executable, "-m"] and command[2].startswith(("monai.", "scripts.")):
            done = PRELOADED.run(command[2:], cwd, 600)
        else:
            done = subprocess.run(
                command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
            )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout + done.stderr

    def metrics(self, folder: Path | None = None) -> dict:
        return json.loads(((folder or self.eval) / "metrics.json").read_text())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A place in which pretraining and training have run, from another folder than the bundle's, with tracking."""
    place = Place(tmp_path_factory.mktemp("trained"))
    place.run("training", "pretrain")
    place.output = place.run(
        "training",
        "train",
        tracking=ROOT / "configs" / "tracking_mlflow.json",
        init_checkpoint=place.models / "pretrain" / "model.pt",
    )
    return place
