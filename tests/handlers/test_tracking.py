"""Tracking with a real MLflow database and real engines."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from mlflow import MlflowClient
from monai.engines import SupervisedTrainer
from monai.handlers import StatsHandler

from bundle.handlers.run_owner import owner_tags
from bundle.handlers.run_parameters import parameters, recordable, resolved_config
from bundle.handlers.tracking import new_run_name
from bundle.training import ResumableTraining
from tests.handlers.tracked_engines import (
    CONFIG,
    RECORDS,
    ROOT,
    SECRETS,
    Details,
    artifacts,
    evaluator,
    fail_in_epoch_2,
    history,
    runs,
    tracking,
    trainer,
    uri,
)


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


def test_what_a_failing_store_does_not_take_waits_for_the_next_run(
    output_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the disk of SecretReport is full")

    watch = tracking(output_dir, "x", checkpoint=output_dir / "model.pt")
    engine = trainer(watch)
    engine.add_event_handler(Events.STARTED, lambda _: monkeypatch.setattr(watch.client, "log_batch", refuse))
    engine.run()
    assert engine.state.epoch == 2
    (waiting,) = output_dir.glob("mlflow_waiting_*.jsonl")
    assert not any(secret in waiting.read_text() for secret in SECRETS)
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and r.name.startswith("bundle.")]
    # once an outage, not at each entry
    assert len(said) == 2
    assert said[0].startswith(f"MLflow does not answer (OSError): what it is to get waits in {waiting} ")
    assert re.match(rf"MLflow has not got \d+ entries of run x; they wait in {re.escape(str(waiting))}\.", said[1])
    evaluator(tracking(output_dir, "y")).run()
    assert not waiting.exists()
    run, _ = runs(output_dir)
    assert run.info.status == "FINISHED"
    assert history(output_dir, run, "loss/total")[1][0] == 2
    assert artifacts(run) == {"config.json", "models/model.pt"}


def resumed(folder: Path, run_name: str, config: dict[str, Any]) -> SupervisedTrainer:
    """A trainer that goes on from the folder's checkpoint, if there is one, as another process would make it."""
    path = folder / f"config_{len(list(folder.glob('config_*'))):08d}_000000.json"
    path.write_text(json.dumps(config))
    return trainer(tracking(folder, run_name, config=path))


def test_a_training_that_goes_on_goes_on_in_its_run(output_dir: Path) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("the machine is gone")

    first, second = resumed(output_dir, "a", CONFIG), resumed(output_dir, "b", {**CONFIG, "learning_rate": 0.25})
    first.add_event_handler(Events.ITERATION_COMPLETED(once=7), fail)
    with pytest.raises(RuntimeError, match="gone"):
        ResumableTraining(first, first.network, first.optimizer, output_dir / "models").run()
    (run,) = runs(output_dir)
    assert run.info.status == "FAILED"
    assert [step for step, _ in history(output_dir, run, "iteration/total")] == [2, 4, 6]
    ResumableTraining(second, second.network, second.optimizer, output_dir / "models").run()
    (run,) = runs(output_dir)
    assert (run.info.run_name, run.info.status) == ("a", "FINISHED")
    assert [step for step, _ in history(output_dir, run, "iteration/total")] == [2, 4, 6, 8]  # 6 was done again
    assert [step for step, _ in history(output_dir, run, "loss/total")] == [1, 2]
    assert "ended_by" not in run.data.tags
    assert (run.data.tags["resumed_from_step"], run.data.tags["changed/learning_rate"]) == ("4", "0.25")
    assert run.data.params["learning_rate"] == "0.5"
    assert artifacts(run) == {"config.json", "config_from_step_4.json"}
    assert not list(output_dir.glob("mlflow_waiting_*"))
    # another training in the same process and folder is another run
    (output_dir / "models" / "last.pt").unlink()
    third = resumed(output_dir, "c", CONFIG)
    ResumableTraining(third, third.network, third.optimizer, output_dir / "models").run()
    assert [run.info.run_name for run in runs(output_dir)] == ["a", "c"]


def test_what_mlflow_refuses_holds_up_nothing(output_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = evaluator(watch := tracking(output_dir, "x"))

    def contradict(_: Any) -> None:
        for value in ("1", "2"):
            watch._put("params", values={"a": value})

    engine.add_event_handler(Events.COMPLETED, contradict)
    engine.run()
    (run,) = runs(output_dir)
    assert (run.info.status, run.data.params["a"]) == ("FINISHED", "1")
    assert "MLflow refuses params of run x (" in caplog.text
    assert not list(output_dir.glob("mlflow_waiting_*"))


def test_a_configuration_that_cannot_be_read_is_said(output_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer(tracking(output_dir, "x", config=output_dir / "missing.json")).run()
    trainer(tracking(output_dir, "y", config=None)).run()
    assert "missing.json cannot be read" in caplog.text
    assert [artifacts(run) for run in runs(output_dir)] == [set(), set()]


def test_parameters_are_bounded_and_records_left_out() -> None:
    config = {"deep": {f"k{i}": {"v": i} for i in range(300)}, "shallow": True, "text": "x" * 9999, "none": None}
    found, dropped = parameters({**config, "datalist": RECORDS, "names": {"downscaler.*": 0.01}}, limit=50)
    assert (len(found), dropped) == (50, 254)
    assert re.fullmatch(r"x+\.\.\. \(9999 characters, [0-9a-f]{16}\)", found["text"])
    assert found["shallow"] == "true"
    assert found["names::downscaler._"] == "0.01"
    assert found["datalist"] == "<4 records, not kept>"
    assert max(map(len, found.values())) <= 500
    kept = {"transforms": [{"_target_": "a", "image": "x"}], "inputs": {"image": {"type": "image"}}}
    assert recordable(kept) == kept


def test_expressions_become_what_came_of_them_but_no_password() -> None:
    config = {
        "rate": "@base",
        "base": 0.5,
        "sizes": {"pair": "$(3, 4)", "module": "$torch"},
        "password": "$os.environ['PASSWORD']",
        "address": "$'https://me:' + @password",
    }
    resolved = {
        "rate": 0.5,
        "sizes::pair": (3, 4),
        "sizes::module": torch,
        "password": "pw",
        "address": "https://me:pw",
    }
    assert resolved_config(config, resolved) == {**config, "rate": 0.5, "sizes": {"pair": [3, 4], "module": "$torch"}}


IMAGE = "<an image, not kept>"


@pytest.mark.parametrize(
    "value",
    [
        "/in/Mueller_Anna_1950.dcm",
        "Mueller.NII.GZ",
        "$@bundle_root + '/Mueller.png'",
        "/in/Mueller*.dcm",
        "/in/Mueller.dcm.bak",
    ],
)
def test_no_name_of_an_image_is_kept(value: str) -> None:
    config = {"dataset_dir": value, "inputs": [value, 3]}
    assert recordable(config) == {"dataset_dir": IMAGE, "inputs": [IMAGE, 3]}
    assert "Mueller" not in str(parameters(config))


def test_a_file_without_suffix_is_taken_for_an_image(tmp_path: Path) -> None:
    for name in ("Mueller_Anna", "1.2.840.1", "model.pt", "datalist.json"):
        (tmp_path / name).touch()
    names = ("Mueller_Anna", "1.2.840.1", "model.pt", "datalist.json", "absent")
    kept = recordable({name: str(tmp_path / name) for name in names})
    assert [name for name in names if kept[name] == IMAGE] == ["Mueller_Anna", "1.2.840.1"]


def test_a_record_outside_a_list_is_not_kept() -> None:
    config = {
        "case": {"image": "/in/scan", "patient_id": "p77"},
        "other": {"patient_id": 77},
        "reports": {"Mueller.dcm": "no mass"},
        "patient": {"report": "Mueller: no mass"},
    }
    one = "<1 record, not kept>"
    assert recordable(config) == {"case": one, "other": one, "reports": "<1 records, not kept>", "patient": one}


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.json")), ids=lambda file: file.stem)
def test_settings_of_the_bundle_are_kept(file: Path) -> None:
    config = json.loads(file.read_text(encoding="utf-8"))
    address = {"tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0"}
    wanted = {key: value for key, value in config.items() if key not in address}
    assert recordable(config) == wanted


def test_an_ending_names_no_image() -> None:
    config = {"patterns": ["*.dcm", "*"], "ending": ".nii.gz", "long": "x" * 9999, "odd": "a\0b"}
    assert recordable(config) == config


def test_the_address_of_a_server_is_not_kept() -> None:
    config = {"tracking_uri": "postgresql://user:password@host/db", "seed": 1}
    assert recordable(config) == {"seed": 1}
    assert parameters(config) == ({"seed": "1"}, 0)
