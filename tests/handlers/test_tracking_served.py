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

import numpy as np
import onnx
import pytest
import torch
from ignite.engine import Events
from mlflow import MlflowClient
from mlflow.entities import Run

from bundle.handlers.registered_model import DATA, METRIC, VALUE
from bundle.handlers.run_sender import Sender
from bundle.handlers.tracking import Tracking
from scripts import send_tracking
from tests.handlers.registered_training import outputs, train
from tests.handlers.tracked_engines import SECRETS, Details, evaluator, trainer, uri

# who loads a registered model: MLflow and onnxruntime, and nothing of the bundle
LOAD = """
import json, sys
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/chest@best")
np.savez(sys.argv[3], **model.predict({"image": np.load(sys.argv[2])}))
assert "bundle" not in sys.modules
print(json.dumps(model.metadata.signature.to_dict()))
"""
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place in which a training of the bundle's configs has ended while its server was dead."""
    folder = tmp_path_factory.mktemp("registered")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        train(folder, tracking_uri="http://127.0.0.1:9", registered_model="chest", max_epochs=1)
    return folder


def model_in(folder: Path) -> Path:
    (model,) = folder.glob("mlflow_model_*")
    return model


def test_the_best_weights_are_registered_later_and_load_elsewhere(
    server: Server, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "eval"
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    held = {path.name for path in model_in(output).iterdir()}
    assert held == {"MLmodel", "model.onnx", "conda.yaml", "python_env.yaml", "requirements.txt"}  # no pickle
    facts = {prop.key: prop.value for prop in onnx.load(model_in(output) / "model.onnx").metadata_props}
    assert json.loads(facts["findings"]) == ["Effusion", "Mass"]
    assert "preprocessing" in facts
    send_tracking.main(str(output), server.url)
    assert waiting(output) == list(output.glob("mlflow_model_*")) == []
    client = MlflowClient(server.url)
    version = client.get_model_version_by_alias("chest", "best")
    history = client.get_metric_history(version.run_id, "froc")
    assert version.tags[METRIC] == "froc"
    assert float(version.tags[VALUE]) == max(point.value for point in history)

    image = torch.rand(3, 1, 132, 132, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "image.npy", image.numpy())
    command = [sys.executable, "-c", LOAD, server.url, "image.npy", "found.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    signature = {key: json.loads(value) for key, value in json.loads(done.stdout).items() if value}
    (given,), wanted = signature["inputs"], outputs(tmp_path, image)
    assert (given["name"], given["tensor-spec"]) == ("image", {"dtype": "float32", "shape": [-1, 1, 132, 132]})
    with np.load(tmp_path / "found.npz") as found:
        assert [spec["name"] for spec in signature["outputs"]] == list(found) == list(wanted)
        for spec in signature["outputs"]:
            assert spec["tensor-spec"] == {"dtype": "float32", "shape": [-1, *found[spec["name"]].shape[1:]]}
            np.testing.assert_allclose(found[spec["name"]], wanted[spec["name"]].numpy(), atol=1e-4)


def test_the_alias_moves_to_what_is_better_alone(server: Server, trained: Path, tmp_path: Path) -> None:
    client = MlflowClient(server.url)
    sender = Sender(client, tmp_path)

    def sent(token: str, value: float | None, data: str = "a", weights: str = "w") -> str | None:
        """Who holds the alias when a run's version has been sent."""
        shutil.copytree(model_in(trained / "eval"), tmp_path / "model")
        tags = {} if value is None else {METRIC: "froc", VALUE: repr(value), DATA: data}
        head = {"token": token, "name": token, "experiment": "patch_clip", "began": 1, "tags": {}}
        names = {"name": "moves", "alias": "candidate", "folder": "model"}
        sender.send(head, {"op": "register", **names, "weights": weights, "tags": tags})
        assert not (tmp_path / "model").exists()
        holder: str | None = client.get_registered_model("moves").aliases.get("candidate")
        return None if holder is None else str(holder)

    assert sent("no value", None) is None
    assert sent("first", 0.5) == "2"
    assert sent("no value again", None) == "2"
    assert sent("a tie", 0.5) == "2"
    assert sent("other data", 0.9, data="b") == "2"
    assert sent("better", 0.6) == "6"
    assert sent("worse", 0.55) == "6"
    assert "not above 0.6" in client.get_model_version("moves", "7").tags["alias/candidate"]
    # what was not confirmed, or ended a second time with the same weights, is there once, and moves nothing
    client.set_registered_model_alias("moves", "candidate", "2")
    assert sent("better", 0.6) == "2"
    assert len(client.search_model_versions("name = 'moves'")) == 7
    assert sent("better", 0.7, weights="trained on") == "8"
    client.delete_model_version_tag("moves", "8", VALUE)  # a person's choice
    assert sent("best of all", 0.99) == "8"
