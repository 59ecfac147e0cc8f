"""Experiment tracking with MLflow: what was run, what came of it, and how it ended."""

import functools
import json
import logging
import math
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.handlers import MLFlowHandler

from bundle.fingerprint import file_fingerprint
from bundle.guard import resolved_values
from bundle.handlers.outbox import Outbox
from bundle.handlers.registered_model import check_names, check_registrable, chosen_by, write_model
from bundle.handlers.run_owner import owner_tags
from bundle.handlers.run_parameters import allowed_name, parameters, recordable, resolved_config
from bundle.handlers.run_sender import Sender, artifact_location, limit_requests, sqlite_folder, state_of
from bundle.handlers.run_source import commit_tags, data_of
from bundle.handlers.run_system import SystemMetrics
from bundle.losses.gather import rank_and_world
from bundle.versions import versions

logger = logging.getLogger(__name__)

_CONFIG_NAME = re.compile(r"config_\d{8}_\d{6}\.json")
_CLOCK_SLACK = 2.0  # seconds by which a file system's clock may lie behind


def new_run_name() -> str:
    """A name that no other run has: the time, and a random end for runs that start within a second."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


@dataclass
class _OpenRun:
    """A run of this process, shared by the handlers that give the same name."""

    outbox: Outbox | None = None  # while it is open
    began: float = 0.0
    depth: int = 0  # how many engines are running, one inside the other
    outermost: Any = None  # of them
    handlers: list["Tracking"] = field(default_factory=list)
    system: SystemMetrics | None = None


_open_runs: dict[tuple[str | None, str, str], _OpenRun] = {}


class Tracking(MLFlowHandler):
    """Tracks a MONAI engine in an MLflow run.

    An evaluator that runs inside a trainer shares the trainer's run, if both handlers have the same `run_name`. The
    run opens when the first engine starts. It closes when the outermost engine's `run` returns (FINISHED), raises an
    error (FAILED), or is interrupted by Ctrl-C or SIGTERM (KILLED); so the files that other handlers write at the
    end are there to be uploaded. A run whose process was killed outright is marked KILLED when the next one starts. A
    training that goes on from its checkpoint (`bundle.training`) goes on in its run, which the checkpoint names.

    What is kept: plain settings as parameters, resolved, and the merged configuration; library versions, commit and
    device; the data's fingerprint; every metric of the engines with the epoch as step, with the figures behind it from
    `engine.state.metric_details`; learning rates; loss terms every `iteration_interval` iterations; the files named in
    `artifacts`; the checkpoint. Records of a data set (names of images and patients, reports) are not, not even where
    the configuration spells them out; names of folders are.

    A server that does not answer costs a training at most the 15 seconds that it waits for the first answer: all is
    sent by a thread, and waits in a file in `output_dir` until it has been (`bundle.handlers.outbox`).

    Args:
        tracking_uri: of the server or database; the environment's MLFLOW_TRACKING_URI comes first.
        experiment_name: groups runs.
        run_name: of this run; None for a new one.
        config: file of the merged configuration (MONAI's `save_execute_config`).
        output_dir: where an evaluation writes, and what waits for the server; None is the working directory.
        artifacts: files and folders within `output_dir` to upload, if written during the run. The numbers of a
            `metrics.json` become metrics too.
        checkpoint: file of weights to upload when the run has finished.
        iteration_interval: how often to log the loss within an epoch; 0 for never.
        system_metrics: every 10 seconds how busy the machine is (`bundle.handlers.run_system`); true needs psutil.
        registered_model: under this name a finished training's `checkpoint` becomes a version in MLflow's registry
            (`bundle.handlers.registered_model`); None registers none.
        registered_alias: that the version gets if it is better than the one that has it.

    Raises:
        ValueError: the experiment was deleted, or the URI is a plain folder; or `registered_model` or its alias is no
            name that MLflow takes, or is given for a network that cannot be exported or without `config`.
        ModuleNotFoundError: `system_metrics` is true without psutil.
        mlflow.exceptions.MlflowException: a database cannot be opened.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment_name: str = "patch_clip",
        run_name: str | None = None,
        config: str | Path | None = None,
        output_dir: str | Path | None = None,
        artifacts: Sequence[str] = (),
        checkpoint: str | Path | None = None,
        iteration_interval: int = 50,
        system_metrics: bool = False,
        registered_model: str | None = None,
        registered_alias: str = "best",
    ) -> None:
        # MLflow reports its use to its makers; a hospital's machine asks for it first
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        limit_requests()
        uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
        if (folder := sqlite_folder(uri)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            tracking_uri=tracking_uri,
            iteration_log=(lambda _, iteration: iteration % iteration_interval == 0) if iteration_interval else False,
            experiment_name=experiment_name,
            run_name=run_name or new_run_name(),
            # MONAI's own default takes the URI's %20 for part of the folder's name
            artifact_location=artifact_location(uri),
        )
        self.config, self.output_dir = config, None if output_dir is None else Path(output_dir)
        self.files, self.checkpoint = tuple(artifacts), None if checkpoint is None else Path(checkpoint)
        self.system_metrics = system_metrics
        self.registered_model, self.registered_alias = registered_model, registered_alias
        if registered_model is not None:
            check_names(registered_model, registered_alias)
        self._open = _open_runs.setdefault((uri, experiment_name, self.run_name), _OpenRun())
        self._rates: dict[str, float] = {}
        self._epoch = 0

    def attach(self, engine: Any) -> None:
        """Register with an engine and watch over its `run`.

        The engine's `run` is wrapped, because no ignite event tells of every end: EXCEPTION_RAISED reaches only the
        first handler that was attached to it.
        """
        super().attach(engine)
        engine.add_event_handler(Events.ITERATION_STARTED, self._note_rates)
        engine.run = self._watched(engine, engine.run)

    def start(self, engine: Any) -> None:
        """Join the run, or open it."""
        if self not in self._open.handlers:
            self._open.handlers.append(self)
        if self.registered_model is not None:
            check_registrable(engine, self.registered_model, self._read_config(), self.checkpoint)
        if self._open.outbox is None:
            self._begin(self._open.outermost or engine)

    def complete(self) -> None:
        """Nothing: files are uploaded when the outermost engine has returned."""

    def close(self) -> None:
        """End the run as FINISHED now."""
        self._end("FINISHED")

    def _begin(self, engine: Any) -> None:
        state, folder = engine.state, self.output_dir or Path()
        sender = Sender(self.client, folder.absolute())
        before = getattr(state, "tracked_run", None) if state.iteration else None
        state.tracked_run = before or secrets.token_hex(16)
        self._open.began = time.time()
        head = {
            "op": "run",
            "token": state.tracked_run,
            "name": self.run_name,
            "experiment": self.experiment_name,
            "destination": sender.destination,
            "began": int(self._open.began * 1000),
            "tags": {**owner_tags(), **commit_tags(), "engine": type(engine).__name__},
        }
        outbox = Outbox(sender, head)
        outbox.open()
        self._open.outbox = outbox
        config, resolved = self._read_config(), resolved_values()
        values, dropped = parameters(resolved_config(config, resolved))
        if before is not None:
            self._put("again", values={**head["tags"], "resumed_from_step": str(state.iteration)})
        self._put("vanished")
        if dropped:
            self._put("tags", values={"parameters_left_out": str(dropped)})
        numbers = {**versions(), "mlflow": version("mlflow")}
        values = {
            "device": _device_name(state.device),
            "processes": str(rank_and_world()[1]),  # ignite's own count asks the other ranks, which have no tracking
            "max_epochs": str(state.max_epochs),
            "epoch_length": str(state.epoch_length),
            **{f"version/{name}": str(number) for name, number in numbers.items()},
            **values,
        }
        self._put("params", values={allowed_name(name): value for name, value in values.items()})
        for data in data_of(resolved):
            self._put("data", **data)
        if config:
            name = "config.json" if before is None else f"config_from_step_{state.iteration}.json"
            self._put("text", file=name, text=json.dumps(recordable(config), indent=2, ensure_ascii=False))
        if self.system_metrics:
            self._open.system = SystemMetrics(self._log_metrics)

    def _put(self, operation: str, **content: Any) -> None:
        assert self._open.outbox is not None
        self._open.outbox.put({"op": operation, **content})

    def _read_config(self) -> dict[str, Any]:
        """The merged configuration; empty if none is kept."""
        if not self.config:
            return {}
        path = Path(self.config)
        # With --output_dir /a/plain/path, MONAI names the file "/a/plain/path + '/config_….json'", an expression
        # without its "$"; the file itself lies where it should.
        if not path.is_file() and self.output_dir and (name := _CONFIG_NAME.search(str(self.config))):
            path = self.output_dir / name[0]
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            logger.warning(f"MLflow gets no configuration: {path} cannot be read ({error}).")
            return {}
        return config

    def _watched(self, engine: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._open.depth += 1
            if self._open.depth == 1:
                self._open.outermost = engine
            status, reason = "FINISHED", None
            try:
                with _sigterm_raises():
                    return run(*args, **kwargs)
            except BaseException as error:
                # the type only: a message may name a file or a patient
                status, reason = "FAILED" if isinstance(error, Exception) else "KILLED", type(error).__name__
                raise
            finally:
                self._open.depth -= 1
                if self._open.depth == 0:
                    self._end(status, reason)

        return watched

    def _end(self, status: str, reason: str | None = None) -> None:
        if self._open.outbox is None:
            return
        outbox, system = self._open.outbox, self._open.system
        try:
            if system is not None:
                system.stop()
            for handler in self._open.handlers if status == "FINISHED" else ():
                handler._upload()
            if reason is not None:
                self._put("tags", values={"ended_by": reason})
            self._put("end", status=status, time=int(time.time() * 1000))
        finally:
            outbox.close()
            handlers, self._open.handlers = self._open.handlers, []
            self._open.outbox = self._open.system = self._open.outermost = None
            for handler in handlers:
                handler._dispose_sqlite_store()

    def _upload(self) -> None:
        for path, folder in self._written():
            self._put_file(path, folder)
            if path.name == "metrics.json":
                self._log_metrics(json.loads(path.read_text(encoding="utf-8")), step=self._epoch)
        if self.checkpoint is not None and self.checkpoint.is_file():
            self._put_file(self.checkpoint, "models")
            if self.registered_model is not None:
                self._register(self.checkpoint)

    def _register(self, weights: Path) -> None:
        """Write the model beside the journal, from where it is sent."""
        state, config, resolved = self._open.outermost.state, self._read_config(), resolved_values()
        fingerprint = file_fingerprint(weights)
        folder = (self.output_dir or Path()) / f"mlflow_model_{state.tracked_run[:12]}_{fingerprint}"
        try:
            if not folder.is_dir():  # else it still waits there
                write_model(config, folder)
        except Exception as error:  # exporters raise their own; the training is done, and its weights are there
            logger.exception(f"{weights} is not registered in MLflow: it could not be exported.")
            self._put("tags", values={"registration_failed": type(error).__name__})
            return
        names = {"name": self.registered_model, "alias": self.registered_alias, "folder": folder.name}
        tags = chosen_by(state, resolved_config(config, resolved), data_of(resolved))
        self._put("register", **names, weights=fingerprint, tags=tags)

    def _put_file(self, path: Path, folder: str | None) -> None:
        place = os.path.relpath(path, self.output_dir or Path())
        self._put("file", path=place, folder=folder, state=state_of(path))

    def _written(self) -> Iterator[tuple[Path, str | None]]:
        """Files to upload and their folders. What an earlier evaluation left in the same place is not this run's."""
        for name in self.files if self.output_dir else ():
            path = self.output_dir / name  # type: ignore[operator]
            for file in sorted(path.rglob("*")) if path.is_dir() else filter(Path.is_file, [path]):
                fresh = file.stat().st_mtime >= self._open.began - _CLOCK_SLACK
                if fresh and file.is_file() and not file.name.startswith("."):
                    folder = file.parent.relative_to(self.output_dir).as_posix()  # type: ignore[arg-type]
                    yield file, None if folder == "." else folder

    def _note_rates(self, engine: Any) -> None:
        # before the step: a schedule has moved on by the time an epoch is logged
        groups = engine.optimizer.param_groups if _trains(engine) else []
        self._rates = {f"lr/{i}" if len(groups) > 1 else "lr": group["lr"] for i, group in enumerate(groups)}

    def _default_epoch_log(self, engine: Any) -> None:
        self._epoch = engine.state.epoch
        figures = {**self._rates, **engine.state.metrics}
        for name, details in engine.state.metric_details.items():
            if isinstance(details, Mapping):
                figures.update({f"{name}/{key}": value for key, value in details.items()})
        self._log_metrics(figures, step=engine.state.epoch)

    def _default_iteration_log(self, engine: Any) -> None:
        output = engine.state.output
        output = output[0] if isinstance(output, Sequence) and output else output  # MONAI decollates into a list
        if _trains(engine) and isinstance(output, Mapping) and "loss" in output:
            terms = {"total": output["loss"], **output.get("terms", {})}
            self._log_metrics({f"iteration/{k}": v for k, v in terms.items()}, step=engine.state.iteration)

    def _log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log those that are finite numbers: a figure that is undefined leaves a gap."""
        numbers = ((name, _number(value)) for name, value in metrics.items())
        values = {allowed_name(name): value for name, value in numbers if value is not None}
        if values:
            self._put("metrics", values=values, time=int(time.time() * 1000), step=step or 0)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM, which would end Python at once, raises SystemExit instead, unless someone else handles it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    process = os.getpid()

    def stop(number: int, _: Any) -> None:
        if os.getpid() != process:  # a forked worker: it ends as it would have
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _trains(engine: Any) -> bool:
    return hasattr(engine, "optimizer")


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"
