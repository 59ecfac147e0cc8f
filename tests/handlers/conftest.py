"""A folder with a MLflow database."""

import json
import shutil
from pathlib import Path

import pytest

from bundle.handlers.tracking import Tracking
from tests.handlers.tracked_engines import CONFIG


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables: once is enough."""
    path = tmp_path_factory.mktemp("mlflow") / "mlruns.db"
    Tracking(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def output_dir(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database, a configuration and a checkpoint; its name holds what URIs must quote."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "out put"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlruns.db")
    (folder / "config_20250102_030405.json").write_text(json.dumps(CONFIG))
    (folder / "model.pt").write_bytes(b"weights")
    return folder
