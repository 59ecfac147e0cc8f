"""Tracking with a real MLflow database and real engines."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Average
from mlflow import MlflowClient
from mlflow.entities import Run
from monai.bundle import ConfigWorkflow
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, StatsHandler, ValidationHandler

from bundle.engines import TrainingStep
from bundle.handlers import LossTerms
from bundle.handlers.run_owner import owner_tags
from bundle.handlers.run_parameters import parameters, recordable
from bundle.handlers.tracking import Tracking, new_run_name
from bundle.precision import Precision

ROOT = Path(__file__).parents[2]
SECRETS = ("SecretReport", "patient-7", "secret-image")
RECORDS = [
    {"image": f"secret-image-{i}.dcm", "report": "SecretReport: no mass.", "patient_id": "patient-7", "x": [float(i)]}
    for i in range(4)
]
CONFIG = {
    "max_epochs": 2,
    "learning_rate": 0.5,
    "findings": ["Mass", "Effusion"],
    "device": "$torch.device('cpu')",
    "dataset_dir": "/data/of/this/hospital",
    "optimizer": {"_target_": "torch.optim.SGD", "lr": "@learning_rate", "momentum": 0.9, "_desc_": "plain"},
    "train": {"dataset": {"_target_": "Dataset", "data": RECORDS}},
}


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


def uri(folder: Path) -> str:
    return f"sqlite:///{str(folder / 'mlruns.db').replace(' ', '%20')}"


def tracking(folder: Path, run_name: str, **more: Any) -> Tracking:
    more.setdefault("config", folder / "config_20250102_030405.json")
    return Tracking(tracking_uri=uri(folder), run_name=run_name, output_dir=folder, iteration_interval=2, **more)


def terms(output: torch.Tensor, _: Any) -> dict[str, torch.Tensor]:
    """A loss of two named terms."""
    loss = output.square().mean()
    return {"loss": loss, "patch": loss / 2, "global": loss / 2}


def fail_in_epoch_2(engine: Any, error: BaseException) -> Any:
    """The engine, now one that raises."""

    def fail(_: Any) -> None:
        raise error

    engine.add_event_handler(Events.EPOCH_STARTED(once=2), fail)
    return engine


class Details:
    """Leaves figures as the bundle's metric handlers do, and files as an evaluation report does."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.details)
        if self.folder is not None:
            engine.add_event_handler(Events.COMPLETED, self.files)

    def details(self, engine: Any) -> None:
        figures = {"Mass/score": 0.5, "Effusion (left)/score": 0.25, "undefined": float("nan")}
        engine.state.metric_details["froc"] = figures
        engine.state.metric_details["raw"] = torch.zeros(3)

    def files(self, _: Any) -> None:
        (self.folder / "figures").mkdir(exist_ok=True)
        (self.folder / "figures" / "froc.png").write_bytes(b"a picture")
        (self.folder / "metrics.json").write_text(json.dumps({"froc/mean/score": 0.4, "auroc/mean": None}))
        (self.folder / "records.npz").write_bytes(b"not asked for")


def evaluator(*handlers: Any) -> SupervisedEvaluator:
    network = torch.nn.Linear(1, 1)
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=_loader(),
        network=network,
        iteration_update=lambda engine, batch: {"loss": engine.network(batch["image"]).mean()},
        key_val_metric={"froc": Average(output_transform=lambda output: output["loss"] * 0 + 0.75)},
        val_handlers=handlers,
        decollate=False,
    )


def trainer(*handlers: Any, validator: SupervisedEvaluator | None = None) -> SupervisedTrainer:
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.1)
    validation = [ValidationHandler(1, validator, exec_at_start=True)] if validator is not None else []
    scheduling = LrScheduleHandler(schedule, print_lr=False, epoch_level=False)
    return SupervisedTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=_loader(),
        network=network,
        optimizer=optimizer,
        loss_function=terms,
        iteration_update=TrainingStep(Precision("float32", channels_last=False), network_keys=(), full=False),
        train_handlers=[LossTerms(), *validation, scheduling, *handlers],
        decollate=False,
    )


def _loader() -> DataLoader:
    return DataLoader(Dataset(RECORDS), batch_size=1, collate_fn=lambda rows: {"image": torch.tensor([rows[0]["x"]])})


def runs(folder: Path) -> list[Run]:
    """All runs, oldest first."""
    client = MlflowClient(uri(folder))
    experiment = client.get_experiment_by_name("patch_clip")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    client._tracking_client.store._dispose_engine()
    return list(found)


def history(folder: Path, run: Run, name: str) -> list[tuple[int, float]]:
    client = MlflowClient(uri(folder))
    points = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
    client._tracking_client.store._dispose_engine()
    return points


def artifacts(run: Run) -> set[str]:
    folder = Path(urllib.request.url2pathname(run.info.artifact_uri.removeprefix("file://")))
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_training_and_its_validation_share_a_finished_run(output_dir: Path) -> None:
    name = new_run_name()
    validator = evaluator(Details(), tracking(output_dir, name, artifacts=["metrics.json"]))
    (output_dir / "metrics.json").write_text("{}")  # of an earlier evaluation
    os.utime(output_dir / "metrics.json", (1e9, 1e9))
    seen = []
    watch = tracking(output_dir, name, checkpoint=output_dir / "model.pt")
    engine = trainer(watch, validator=validator)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: seen.extend(r.info.status for r in runs(output_dir)))
    engine.run()

    (run,) = runs(output_dir)
    assert (run.info.run_name, run.info.status) == (name, "FINISHED")
    assert seen == ["RUNNING", "RUNNING"]
    for term in ("loss/total", "loss/patch", "loss/global"):
        assert [step for step, _ in history(output_dir, run, term)] == [1, 2]
    assert history(output_dir, run, "froc") == [(0, 0.75), (1, 0.75), (2, 0.75)]  # 0: before training
    assert [value for _, value in history(output_dir, run, "froc/Mass/score")] == [0.5] * 3
    assert "froc/Effusion _left_/score" in run.data.metrics
    assert "froc/undefined" not in run.data.metrics
    # the schedule drops after 4 iterations, one epoch
    assert history(output_dir, run, "lr") == [(1, 0.5), (2, pytest.approx(0.05))]
    assert [step for step, _ in history(output_dir, run, "iteration/total")] == [2, 4, 6, 8]
    assert artifacts(run) == {"config.json", "models/model.pt"}
    assert run.data.tags["owner.pid"] == str(os.getpid())


def test_parameters_are_settings_versions_and_device(output_dir: Path) -> None:
    trainer(tracking(output_dir, "a")).run()
    (run,) = runs(output_dir)
    wanted = {
        "learning_rate": "0.5",
        "max_epochs": "2",
        "epoch_length": "4",
        "findings": '["Mass", "Effusion"]',
        "optimizer::momentum": "0.9",
        "optimizer::_target_": "torch.optim.SGD",
        "dataset_dir": "/data/of/this/hospital",
        "version/torch": torch.__version__.partition("+")[0],
    }
    found = {**run.data.params, "version/torch": run.data.params["version/torch"].partition("+")[0]}
    assert wanted.items() <= found.items()
    assert found["device"].startswith("cpu (")
    assert {"version/monai", "version/mlflow", "version/python"} <= found.keys()
    assert "optimizer::lr" not in found  # a reference
    assert "optimizer::_desc_" not in found


def test_no_record_of_the_data_reaches_mlflow(output_dir: Path) -> None:
    name = new_run_name()
    trainer(tracking(output_dir, name), validator=evaluator(Details(), tracking(output_dir, name))).run()
    with pytest.raises(RuntimeError, match="SecretReport"):
        fail_in_epoch_2(trainer(tracking(output_dir, "b")), RuntimeError("SecretReport in an error")).run()
    with sqlite3.connect(output_dir / "mlruns.db") as database:
        dump = "\n".join(database.iterdump())
    database.close()
    files = [path.read_bytes() for path in (output_dir / "mlruns").rglob("*") if path.is_file()]
    assert files
    assert name in dump
    for secret in SECRETS:
        assert secret not in dump
        assert not any(secret.encode() in content for content in files)


def test_an_evaluation_uploads_what_it_wrote(output_dir: Path) -> None:
    files = ["metrics.json", "report.html", "figures"]
    evaluator(tracking(output_dir, "e", artifacts=files), Details(output_dir)).run()
    (run,) = runs(output_dir)
    assert run.info.status == "FINISHED"
    assert artifacts(run) == {"config.json", "metrics.json", "figures/froc.png"}
    assert run.data.metrics["froc/mean/score"] == 0.4
    assert run.data.metrics["froc"] == 0.75
    assert "auroc/mean" not in run.data.metrics


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(1), "KILLED")],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
@pytest.mark.parametrize("inside", ["training", "validation"])
def test_no_end_leaves_a_run_running(output_dir: Path, error: BaseException, status: str, inside: str) -> None:
    def fail(_: Any) -> None:
        raise error

    validator = evaluator(tracking(output_dir, "x"))
    # like any user's configuration, which has an EXCEPTION_RAISED handler of its own
    engine = trainer(StatsHandler(iteration_log=False), tracking(output_dir, "x"), validator=validator)
    failing = engine if inside == "training" else validator
    failing.add_event_handler(Events.ITERATION_COMPLETED(once=3), fail)
    with pytest.raises(type(error)):
        engine.run()
    (run,) = runs(output_dir)
    assert (run.info.status, run.data.tags["ended_by"]) == (status, type(error).__name__)
    assert artifacts(run) == {"config.json"}


def test_sigterm_marks_the_run_killed(output_dir: Path) -> None:
    engine = trainer(tracking(output_dir, "x", checkpoint=output_dir / "model.pt"))
    engine.add_event_handler(Events.ITERATION_STARTED(once=3), lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as caught:
        engine.run()
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    (run,) = runs(output_dir)
    assert run.info.status == "KILLED"


def test_a_sigterm_handler_of_someone_else_stays(output_dir: Path) -> None:
    def theirs(*_: Any) -> None: ...

    before = signal.signal(signal.SIGTERM, theirs)
    try:
        engine = trainer(tracking(output_dir, "x"))
        engine.add_event_handler(Events.STARTED, lambda _: seen.append(signal.getsignal(signal.SIGTERM)))
        seen: list[Any] = []
        engine.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [theirs]


def test_runs_of_vanished_processes_are_marked_killed(output_dir: Path) -> None:
    trainer(tracking(output_dir, "first")).run()
    client = MlflowClient(uri(output_dir))
    experiment = client.get_experiment_by_name("patch_clip").experiment_id
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = owner_tags()
    tags = {
        "dead": {**mine, "owner.pid": str(ended.pid)},
        "reused id": {**mine, "owner.started": "1"},
        "elsewhere": {**mine, "owner.host": "another", "owner.pid": str(ended.pid)},
        "alive": mine,
        "not ours": {},
    }
    for name, owner in tags.items():
        client.create_run(experiment, run_name=name, tags=owner)
    client._tracking_client.store._dispose_engine()
    trainer(tracking(output_dir, "next")).run()
    found = {run.info.run_name: run.info.status for run in runs(output_dir)}
    assert found == {
        "first": "FINISHED",
        "dead": "KILLED",
        "reused id": "KILLED",
        "elsewhere": "RUNNING",
        "alive": "RUNNING",
        "not ours": "RUNNING",
        "next": "FINISHED",
    }


def test_runs_never_merge_not_even_under_one_name(output_dir: Path) -> None:
    with pytest.raises(ValueError, match="x"):
        fail_in_epoch_2(trainer(tracking(output_dir, "same")), ValueError("x")).run()
    trainer(tracking(output_dir, "same")).run()
    evaluator(tracking(output_dir, "same")).run()
    assert [(r.info.run_name, r.info.status) for r in runs(output_dir)] == [
        ("same", "FAILED"),
        ("same", "FINISHED"),
        ("same", "FINISHED"),
    ]
    assert len({new_run_name() for _ in range(100)}) == 100


def test_the_environment_beats_the_argument(output_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(output_dir / "mlruns.db", other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri(other))
    trainer(tracking(output_dir, "x")).run()
    (run,) = runs(other)
    assert artifacts(run) == {"config.json"}
    assert (other / "mlruns").is_dir()
    assert not (output_dir / "mlruns").exists()


def test_a_failing_store_costs_warnings_not_the_training(
    output_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    watch = tracking(output_dir, "x", checkpoint=output_dir / "model.pt")
    engine = trainer(watch)
    engine.add_event_handler(Events.STARTED, lambda _: monkeypatch.setattr(watch.client, "log_batch", refuse))
    engine.run()
    assert engine.state.epoch == 2
    warnings = [r.getMessage() for r in caplog.records if r.name == "bundle.handlers.tracking"]
    # the first loss within an epoch and the two epochs; the other losses are not even tried
    assert warnings == ["MLflow does not get metrics: OSError: the disk is full"] * 3
    (run,) = runs(output_dir)
    assert run.info.status == "FINISHED"
    assert artifacts(run) == {"config.json", "models/model.pt"}


def test_a_configuration_that_cannot_be_read_is_said(output_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer(tracking(output_dir, "x", config=output_dir / "missing.json")).run()
    trainer(tracking(output_dir, "y", config=None)).run()
    assert "missing.json cannot be read" in caplog.text
    assert [artifacts(run) for run in runs(output_dir)] == [set(), set()]


def test_parameters_are_bounded_and_records_left_out() -> None:
    config = {"deep": {f"k{i}": {"v": i} for i in range(300)}, "shallow": True, "text": "x" * 9999, "none": None}
    found = parameters({**config, "datalist": RECORDS, "names": {"downscaler.*": 0.01}}, limit=50)
    assert len(found) == 50
    assert found["shallow"] == "true"
    assert found["names::downscaler._"] == "0.01"
    assert found["datalist"] == "<4 records, not kept>"
    assert max(map(len, found.values())) <= 500
    kept = {"transforms": [{"_target_": "a", "image": "x"}], "inputs": {"image": {"type": "image"}}}
    assert recordable(kept) == kept


def test_the_address_of_a_server_is_not_kept() -> None:
    config = {"tracking_uri": "postgresql://user:password@host/db", "seed": 1}
    assert recordable(config) == {"seed": 1}
    assert parameters(config) == {"seed": "1"}


CONFIGS = {
    "metadata.json": {"version": "0.1.0"},
    "train.json": {
        "imports": ["$import tests.handlers.test_tracking as test_tracking"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "ckpt_path": "$@output_dir + '/model.pt'",
        "max_epochs": 2,
        "train": {
            "handlers": [],
            "trainer": "$test_tracking.trainer(*@train#handlers, validator=@validate#evaluator)",
        },
        "validate": {
            "handlers": [],
            "evaluator": "$test_tracking.evaluator(test_tracking.Details(), *@validate#handlers)",
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
