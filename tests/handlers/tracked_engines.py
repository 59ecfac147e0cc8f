"""Engines to track, and what MLflow then holds."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Average
from mlflow import MlflowClient
from mlflow.entities import Run
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler

from bundle.engines import TrainingStep
from bundle.handlers import LossTerms
from bundle.handlers.tracking import Tracking
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

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = None if folder is None else Path(folder)

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
        (self.folder / "tables").mkdir(exist_ok=True)
        (self.folder / "tables" / "froc.csv").write_text("finding,sensitivity\n")
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
