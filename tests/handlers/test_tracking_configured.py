"""Tracking by `--tracking` settings, and as a real MLflow server shows it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from bundle.handlers.tracking import new_run_name
from tests.handlers.tracked_engines import (
    ROOT,
    Details,
    artifacts,
    evaluator,
    runs,
    tracking,
    uri,
)

CONFIGS = {
    "metadata.json": {"version": "0.1.0"},
    "train.json": {
        "imports": ["$import tests.handlers.tracked_engines as tracked_engines"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "ckpt_path": "$@output_dir + '/model.pt'",
        "max_epochs": 2,
        "train": {
            "handlers": [],
            "trainer": "$tracked_engines.trainer(*@train#handlers, validator=@validate#evaluator)",
        },
        "validate": {
            "handlers": [],
            "evaluator": "$tracked_engines.evaluator(tracked_engines.Details(), *@validate#handlers)",
        },
        "training": [{"_target_": "bundle.guard.refuse_unknown_overrides"}, "$@train#trainer.run()"],
        "evaluating": [{"_target_": "bundle.guard.refuse_unknown_overrides"}, "$@validate#evaluator.run()"],
    },
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    for name, content in CONFIGS.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def run_by_configuration(configs: Path, run_id: str, **override: Any) -> None:
    tracked = str(ROOT / "configs" / "tracking_mlflow.json")
    workflow = ConfigWorkflow(
        str(configs / "train.json"), logging_file=False, run_id=run_id, tracking=tracked, **override
    )
    workflow.initialize()
    workflow.run()


@pytest.mark.parametrize("plain", [True, False])
def test_the_settings_work_by_configuration(configs: Path, output_dir: Path, plain: bool) -> None:
    place = str(output_dir) if plain else f"$'{output_dir}'"
    run_by_configuration(configs, "training", output_dir=place, max_epochs=7)
    run_by_configuration(configs, "evaluating", output_dir=place)
    training, evaluating = runs(output_dir)
    assert training.info.run_name != evaluating.info.run_name
    assert {training.info.status, evaluating.info.status} == {"FINISHED"}
    assert artifacts(training) == {"config.json", "models/model.pt"}
    assert artifacts(evaluating) == {"config.json"}
    assert training.data.params["max_epochs"] == "7"  # the merged configuration, overrides included
    assert {"froc", "loss/patch", "lr"} <= training.data.metrics.keys()
    assert "froc" in evaluating.data.metrics
    run_by_configuration(configs, "training", output_dir=place, is_not_rank0=True)
    assert len(runs(output_dir)) == 2  # only rank 0 tracks


@pytest.mark.slow
def test_a_served_run_is_found_by_rest(output_dir: Path) -> None:
    name = new_run_name()
    evaluator(Details(output_dir), tracking(output_dir, name, artifacts=["figures"])).run()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri(output_dir), "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = output_dir / "server.log"
    with log.open("w") as sink:
        server = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment, start_new_session=True)
    try:
        base = f"http://127.0.0.1:{port}"
        _wait_for(f"{base}/health", server, log)
        query = {"experiment_ids": [runs(output_dir)[0].info.experiment_id]}
        (run,) = _get_json(f"{base}/api/2.0/mlflow/runs/search", query)["runs"]
        assert (run["info"]["run_name"], run["info"]["status"]) == (name, "FINISHED")
        assert {m["key"]: m["value"] for m in run["data"]["metrics"]}["froc/Mass/score"] == 0.5
        served = f"{base}/get-artifact?run_id={run['info']['run_id']}&path="
        with urllib.request.urlopen(f"{served}figures/froc.png", timeout=30) as answer:
            assert answer.read() == b"a picture"
        assert _get_json(f"{served}config.json")["learning_rate"] == 0.5
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _get_json(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        result: dict[str, Any] = json.loads(answer.read())
    return result


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 300
    while time.monotonic() < limit and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"mlflow server did not answer:\n{log.read_text()[-3000:]}")
