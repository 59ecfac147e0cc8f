"""Entries of a tracked run become requests to MLflow, each of which may be repeated without harm."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, LifecycleStage, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException, RestException
from requests import HTTPError

from bundle.handlers.registered_model import register
from bundle.handlers.run_journal import Entry
from bundle.handlers.run_owner import HOST, is_gone, owner_tags

logger = logging.getLogger(__name__)

TOKEN = "run.token"
_SQLITE = "sqlite:///"
_BATCH = 100  # entities that MLflow takes in one request
_NOT_NOW = (401, 403, 408, 429)  # who may ask, and when, can be mended: what is asked is no fault
_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


class DeletedExperimentError(ValueError):
    """MLflow keeps the experiment's name and takes no runs for it."""


def limit_requests() -> None:
    """A server that does not answer within 10 seconds counts as dead; MLflow itself would wait for minutes.

    Settings of the environment (MLFLOW_HTTP_REQUEST_TIMEOUT, MLFLOW_HTTP_REQUEST_MAX_RETRIES) come first.
    """
    for name, value in _LIMITS.items():
        os.environ.setdefault(name, value)


def sqlite_folder(uri: str | None) -> Path | None:
    """The folder of a SQLite database; None of another address."""
    return Path(unquote(uri[len(_SQLITE) :])).absolute().parent if uri and uri.startswith(_SQLITE) else None


def artifact_location(uri: str | None) -> str | None:
    """Where files go that belong to a SQLite database; None where the server says it."""
    folder = sqlite_folder(uri)
    return None if folder is None else (folder / "mlruns").as_uri()


def destination(uri: str) -> str:
    """A server or database without its address: 16 hexadecimal digits, the same whoever asks with which password."""
    parts = urlsplit(uri)
    public = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return hashlib.sha256(public.encode()).hexdigest()[:16]


class Sender:
    """Sends entries to one server or database.

    What may have arrived although its answer did not can be sent again: a run is found by its token, a metric with its
    time is one row in MLflow's tables, parameters and tags take the same value again. A run that goes on from a
    checkpoint repeats the steps since then: those that MLflow has are left out.

    Args:
        client: of the server.
        folder: that entries name their files from.
    """

    def __init__(self, client: MlflowClient, folder: Path) -> None:
        self.client, self.folder = client, folder
        self.destination = destination(client.tracking_uri)
        self._remote = client.tracking_uri.startswith(("http://", "https://"))
        self._runs: dict[str, Run] = {}
        self._again: set[str] = set()  # tokens of runs that go on
        self._known: dict[tuple[str, str], set[int]] = {}  # token, metric -> steps before it went on

    def send(self, head: Entry, entry: Entry) -> None:
        """Send one.

        Raises:
            DeletedExperimentError: the run's experiment was deleted.
            Exception: of MLflow, its stores and clouds; `refuses` says whether it would come again.
        """
        run = self._run(head)
        getattr(self, f"_send_{entry['op']}")(head["token"], run, entry)

    def refuses(self, error: Exception) -> bool:
        """Whether MLflow understood and does not want it, so that asking again is of no use."""
        if isinstance(error, RestException if self._remote else MlflowException):
            return 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in _NOT_NOW
        if isinstance(error, HTTPError) and error.response is not None:
            return 400 <= error.response.status_code < 500 and error.response.status_code not in (404, *_NOT_NOW)
        return isinstance(error, PermissionError | FileNotFoundError)

    def _run(self, head: Entry) -> Run:
        token = head["token"]
        if token not in self._runs:
            experiment = self._experiment(head["experiment"])
            found = self.client.search_runs([experiment.experiment_id], f"tags.`{TOKEN}` = '{token}'", max_results=1)
            self._runs[token] = found[0] if found else self._created(experiment, head)
        return self._runs[token]

    def _created(self, experiment: Experiment, head: Entry) -> Run:
        tags = {**head["tags"], TOKEN: head["token"]}
        return self.client.create_run(experiment.experiment_id, head["began"], tags, head["name"])

    def _experiment(self, name: str) -> Experiment:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                self.client.create_experiment(name, artifact_location(self.client.tracking_uri))
            except MlflowException as error:  # another process was faster
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self.client.get_experiment_by_name(name)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise DeletedExperimentError(
                f"MLflow's experiment {name!r} was deleted: restore it, or give another experiment_name."
            )
        return experiment

    def _send_run(self, token: str, run: Run, entry: Entry) -> None:
        """It is there."""

    def _send_again(self, token: str, run: Run, entry: Entry) -> None:
        run_id = run.info.run_id
        self._again.add(token)
        self._known = {key: steps for key, steps in self._known.items() if key[0] != token}
        self.client.update_run(run_id, status="RUNNING")
        self._send_tags(token, run, entry)
        if "ended_by" in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, "ended_by")

    def _send_vanished(self, token: str, run: Run, entry: Entry) -> None:
        """Mark as KILLED the runs of this host whose process ended without a word."""
        mine = f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{owner_tags()[HOST]}'"
        for other in self.client.search_runs([run.info.experiment_id], mine):
            if is_gone(other.data.tags):
                logger.info(f"MLflow run {other.info.run_name}: its process is gone; marked KILLED.")
                self.client.set_tag(other.info.run_id, "ended_by", "vanished process")
                self.client.set_terminated(other.info.run_id, "KILLED")

    def _send_params(self, token: str, run: Run, entry: Entry) -> None:
        """A parameter of a run is set once: what a run that goes on has otherwise becomes a tag."""
        given, old = entry["values"], {}
        if token in self._again:
            old = self.client.get_run(run.info.run_id).data.params
        for part in _parts([Param(key, value) for key, value in given.items() if key not in old]):
            self.client.log_batch(run.info.run_id, params=part)
        changed = {f"changed/{key}": given[key] for key in given.keys() & old.keys() if given[key] != old[key]}
        self._send_tags(token, run, {"values": changed})

    def _send_tags(self, token: str, run: Run, entry: Entry) -> None:
        for part in _parts([RunTag(key[:250], value) for key, value in entry["values"].items()]):
            self.client.log_batch(run.info.run_id, tags=part)

    def _send_metrics(self, token: str, run: Run, entry: Entry) -> None:
        metrics = [Metric(key, value, entry["time"], entry["step"]) for key, value in entry["values"].items()]
        if token in self._again:
            metrics = [metric for metric in metrics if metric.step not in self._steps(token, run, metric.key)]
        for part in _parts(metrics):
            self.client.log_batch(run.info.run_id, metrics=part)

    def _steps(self, token: str, run: Run, key: str) -> set[int]:
        if (token, key) not in self._known:
            history = self.client.get_metric_history(run.info.run_id, key)
            self._known[token, key] = {metric.step for metric in history}
        return self._known[token, key]

    def _send_text(self, token: str, run: Run, entry: Entry) -> None:
        self.client.log_text(run.info.run_id, entry["text"], entry["file"])

    def _send_file(self, token: str, run: Run, entry: Entry) -> None:
        path = self.folder / entry["path"]
        if not path.is_file() or state_of(path) != entry["state"]:
            logger.warning(f"MLflow does not get {path}: it has changed since its run, or is gone.")
            return
        self.client.log_artifact(run.info.run_id, str(path), entry["folder"])

    def _send_register(self, token: str, run: Run, entry: Entry) -> None:
        register(self.client, run, entry, self.folder / entry["folder"])

    def _send_data(self, token: str, run: Run, entry: Entry) -> None:
        source = {"source_type": "local", "source": "{}"}  # MLflow wants one; where it lies is nobody's business
        data = Dataset(name=entry["name"], digest=entry["digest"], profile=json.dumps(entry["profile"]), **source)
        self.client.log_inputs(run.info.run_id, [DatasetInput(data, [])])

    def _send_end(self, token: str, run: Run, entry: Entry) -> None:
        self.client.set_terminated(run.info.run_id, entry["status"], entry["time"])


def state_of(path: Path) -> list[int]:
    """By which a file is known to be the same: bytes, and when it was written."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _parts(entries: Sequence[Any]) -> Iterator[list[Any]]:
    yield from (list(entries[i : i + _BATCH]) for i in range(0, len(entries), _BATCH))


def reason(error: BaseException) -> str:
    """The first cause's kind; messages hold addresses, with passwords, and values."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    code = getattr(error, "error_code", None)
    return type(error).__name__ + (f", {code}" if isinstance(code, str) else "")
