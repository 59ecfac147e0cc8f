"""Tracking by a real MLflow server, which answers, dies, hangs, and comes back."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Events
from mlflow import MlflowClient
from mlflow.entities import Run

from bundle.handlers.tracking import Tracking
from scripts import send_tracking
from tests.handlers.tracked_engines import SECRETS, Details, evaluator, trainer, uri

TERMS = ("iteration/total", "iteration/patch", "iteration/global")


class Server:
    """`mlflow server` on the loopback device, with a database and a folder of files of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri(self.folder), "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "files")]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("a") as sink:
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment, start_new_session=True)
        limit = time.monotonic() + 300
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"mlflow server did not answer:\n{(self.folder / 'server.log').read_text()[-3000:]}")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=60)

    def runs(self, name: str) -> list[Run]:
        client = MlflowClient(self.url)
        experiment = client.get_experiment_by_name("patch_clip").experiment_id
        return list(client.search_runs([experiment], f"attributes.run_name = '{name}'"))

    def steps(self, run: Run, key: str) -> list[int]:
        return [metric.step for metric in MlflowClient(self.url).get_metric_history(run.info.run_id, key)]

    def files(self, run: Run, folder: str | None = None) -> list[str]:
        return sorted(file.path for file in MlflowClient(self.url).list_artifacts(run.info.run_id, folder))

    def read(self, run: Run, file: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/get-artifact?run_id={run.info.run_id}&path={file}") as answer:
            content: bytes = answer.read()
        return content


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(empty_database, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        server = Server(folder)
        server.start()
        yield server
        server.kill()


def tracked(url: str, folder: Path, name: str, **more: Any) -> Tracking:
    config = folder / "config_20250102_030405.json"
    return Tracking(url, run_name=name, output_dir=folder, config=config, iteration_interval=2, **more)


def waiting(folder: Path) -> list[Path]:
    return sorted(folder.glob("mlflow_waiting_*.jsonl"))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith("bundle.")]


def test_a_server_that_is_killed_and_comes_back_has_all_once(
    server: Server, output_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="bundle")
    seen: list[int] = []

    def restart(_: Any) -> None:
        seen.extend(len(path.read_text().splitlines()) for path in waiting(output_dir))
        server.start()

    handlers = Details(output_dir), tracked(server.url, output_dir, "killed", artifacts=["figures", "metrics.json"])
    engine = trainer(
        tracked(server.url, output_dir, "killed", checkpoint=output_dir / "model.pt"), validator=evaluator(*handlers)
    )
    engine.state.max_epochs = 5
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda _: server.kill())
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=4), restart)
    engine.run()
    assert engine.state.epoch == 5
    assert seen[0] > 4  # all that two epochs had to say
    (run,) = server.runs("killed")
    assert run.info.status == "FINISHED"
    for term in TERMS:
        assert server.steps(run, term) == list(range(2, 21, 2))
    assert server.steps(run, "froc/Mass/score") == list(range(6))
    assert server.steps(run, "lr") == list(range(1, 6))
    assert server.files(run) == ["config.json", "figures", "metrics.json", "models"]
    assert server.read(run, "figures/froc.png") == b"a picture"
    assert json.loads(server.read(run, "config.json"))["learning_rate"] == 0.5
    assert [line.partition(" (")[0] for line in warnings(caplog)] == ["MLflow does not answer"]
    assert caplog.text.count("MLflow answers again") == 1
    assert waiting(output_dir) == []


def test_a_server_that_hangs_costs_no_step_and_gets_all_later(
    server: Server,
    output_dir: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as silent:
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")  # the kernel accepts, and nobody answers
        address = f"http://me:secret-password@127.0.0.1:{silent.getsockname()[1]}"
        engine = trainer(tracked(address, output_dir, "hung", checkpoint=output_dir / "model.pt"))
        times: list[float] = []
        engine.add_event_handler(Events.STARTED | Events.COMPLETED, lambda _: times.append(time.monotonic()))
        engine.run()
    ended = time.time() * 1000
    # 14 entries; to ask with each would be 42 seconds
    assert times[1] - times[0] < 30
    (file,) = waiting(output_dir)
    assert not any(secret in file.read_text() for secret in (*SECRETS, "secret-password", "127.0.0.1"))
    assert "secret-password" not in caplog.text
    assert warnings(caplog)[0].startswith("MLflow does not answer (")
    assert len(warnings(caplog)) == 2
    assert "python -m scripts.send_tracking" in warnings(caplog)[1]

    # another server's run leaves it alone; the command sends it where it is told to
    evaluator(tracked(server.url, output_dir, "other")).run()
    assert waiting(output_dir) == [file]
    with pytest.raises(SystemExit, match=r"does not answer \(ConnectionRefusedError"):
        send_tracking.main(str(output_dir), "http://127.0.0.1:9")
    (output_dir / "model.pt").write_bytes(b"other weights")
    send_tracking.main(str(output_dir), server.url)
    assert capsys.readouterr().out.endswith("\nSent: hung\n")  # MLflow says on stdout, too, where a run is
    (run,) = server.runs("hung")
    assert run.info.status == "FINISHED"
    assert run.info.start_time < run.info.end_time <= ended
    assert [server.steps(run, term) for term in TERMS] == [[2, 4, 6, 8]] * 3
    assert server.files(run) == ["config.json"]
    assert f"{output_dir / 'model.pt'}: it has changed" in caplog.text
    assert waiting(output_dir) == []
    send_tracking.main(str(output_dir), server.url)
    assert "Nothing waits" in capsys.readouterr().out


def _train(url: str, folder: Path, epochs: int) -> None:
    """A training under a name that another has too, in the same folder."""
    checkpoint = folder / f"model_{epochs}.pt"
    checkpoint.write_text(f"weights of {epochs}")
    engine = trainer(tracked(url, folder, "same", checkpoint=checkpoint))
    engine.state.max_epochs = epochs
    engine.run()


def test_trainings_at_the_same_time_do_not_mix(server: Server, output_dir: Path) -> None:
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_train, args=(server.url, output_dir, epochs)) for epochs in (2, 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    found = {len(server.steps(run, "loss/total")): run for run in server.runs("same")}
    assert found.keys() == {2, 3}
    for epochs, run in found.items():
        assert run.info.status == "FINISHED"
        assert server.steps(run, "iteration/total") == list(range(2, 4 * epochs + 1, 2))
        assert server.files(run, "models") == [f"models/model_{epochs}.pt"]
        assert server.read(run, f"models/model_{epochs}.pt") == f"weights of {epochs}".encode()
    assert waiting(output_dir) == []
