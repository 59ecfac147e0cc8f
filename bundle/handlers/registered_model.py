"""The best weights of a tracked training in MLflow's model registry: written as ONNX, registered, given the alias."""

import hashlib
import json
import logging
import math
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from bundle.atomic import new_folder
from bundle.checkpoints import unwrap
from bundle.comments import without_comments
from bundle.handlers.run_journal import Entry
from bundle.handlers.run_source import ROOT
from bundle.networks.selection import PatchSelection

logger = logging.getLogger(__name__)

METRIC, VALUE, EPOCH, DATA = "validation.metric", "validation.value", "validation.epoch", "validation.data"
WEIGHTS = "weights"  # tag: the fingerprint of the training's file
_MODEL = "MLmodel"  # the file that makes a folder a model


def check_names(model: str, alias: str) -> None:
    """Raise a ValueError where MLflow would refuse a name, after hours of training."""
    if not re.fullmatch(r"\w[\w .\-]{0,249}", model):
        raise ValueError(
            f"registered_model is {model!r}; wanted letters, digits, blanks, '.', '_' and '-', at most 250."
        )
    if not re.fullmatch(r"(?!(latest|v\d+)$)[\w\-]{1,240}", alias, re.IGNORECASE):
        raise ValueError(
            f"registered_alias is {alias!r}; wanted letters, digits, '_' and '-', at most 240, and neither 'latest' "
            "nor 'v' with a number, which MLflow keeps for itself."
        )


def check_registrable(engine: Any, name: str, config: Mapping[str, Any], checkpoint: Path | None) -> None:
    """Raise a ValueError where a training's weights could not be exported in the end."""
    from bundle.export.packaged_configs import SHARED

    if not config or checkpoint is None:
        raise ValueError(
            f"registered_model is {name!r}, which is made of the training's configuration and weights: it wants "
            "save_execute_config true, and a checkpoint."
        )
    network = unwrap(engine.network)
    if not isinstance(getattr(network, "selection", None), PatchSelection):
        raise ValueError(
            f"registered_model is {name!r}, but a {type(network).__name__} cannot be exported as ONNX: wanted a "
            "PatchCLIP or a subclass of it. Leave registered_model out."
        )
    if missing := [key for key in SHARED if key not in config]:
        raise ValueError(
            f"registered_model is {name!r}, but the configuration has no {missing[0]}, which inference needs: wanted a "
            "fine-tuning's, not a pretraining's. Leave registered_model out."
        )


def write_model(config: Mapping[str, Any], folder: Path) -> None:
    """Write a training's best weights as an MLflow model, whole or not at all.

    It is the ONNX file that `scripts.export_model` makes of the training's package, with the same metadata, checked
    against the network; nothing in it is pickled. MLflow's signature is the file's own: `image` (-1, 1, H, W) in,
    `pred`, `image_score` and `scores` out, float32 (`bundle.export.exportable`).

    Args:
        config: merged, of the training.
        folder: made; must not be there.

    Raises:
        FileNotFoundError: no weights lie at `ckpt_path`.
        TypeError, ValueError: a network that cannot be exported, or whose export differs from it.
    """
    # exporting needs what tracking alone does not
    import mlflow.onnx
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from bundle.export.export import export_package
    from bundle.export.package import package_bundle

    def schema(values: Any) -> Schema:
        dims = [(value.name, value.type.tensor_type.shape.dim) for value in values]
        sizes = [(name, tuple(d.dim_value if d.HasField("dim_value") else -1 for d in each)) for name, each in dims]
        return Schema([TensorSpec(np.dtype(np.float32), shape, name) for name, shape in sizes])

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".register-") as place, new_folder(folder) as model:
        work = Path(place)
        (work / "config.json").write_text(json.dumps(config), encoding="utf-8")
        package = package_bundle([work / "config.json"], ROOT, work / "package", str(config.get("bundle_root", ".")))
        (file,) = export_package(package, work, ["onnx"])
        network = onnx.load(file)
        mlflow.onnx.save_model(
            network,
            model,
            signature=ModelSignature(schema(network.graph.input), schema(network.graph.output)),
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "onnx", "onnxruntime")],
            save_as_external_data=file.with_name(f"{file.name}.data").exists(),
        )


def chosen_by(state: Any, config: Mapping[str, Any], data: list[dict[str, Any]]) -> dict[str, str]:
    """Tags of a version: the metric that chose the weights, its value and epoch, and by what it judged; else none.

    Args:
        state: of the trainer, with `chosen_by` (`bundle.training.ResumableTraining`); without it there is no value.
        config: merged and resolved.
        data: what was learnt from, of `bundle.handlers.run_source.data_of`.
    """
    metric, value, epoch = getattr(state, "chosen_by", None) or (None, math.nan, 0)
    if metric is None or not math.isfinite(value) or not data:
        return {}
    # the same datalist, section, findings and rule of a hit: else one number is not above the other
    judge: list[Any] = [[each["digest"], each["profile"]] for each in data]
    judge += [config.get("validation_section"), without_comments(config.get("hit_criterion"))]
    digest = hashlib.sha256(json.dumps(judge, sort_keys=True).encode()).hexdigest()[:16]
    return {METRIC: metric, VALUE: repr(float(value)), EPOCH: str(epoch), DATA: digest}


def register(client: MlflowClient, run: Run, entry: Entry, folder: Path) -> None:
    """Make a written model a version, once for a run and its weights, and give it the alias if it is better.

    May be repeated: a version that is there is found by its run and weights, and its alias is decided once.

    Args:
        client: of the server.
        run: of the training.
        entry: `name`, `alias`, `weights`, and `tags` of `chosen_by`.
        folder: of the model; removed when all is done.
    """
    name, alias = entry["name"], entry["alias"]
    run_id, place = run.info.run_id, f"registered/{entry['weights']}"
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    mine = next((each for each in found if each.tags.get(WEIGHTS) == entry["weights"]), None)
    if mine is None:
        if not (folder / _MODEL).is_file():
            logger.warning(f"{name} gets no version of run {run.info.run_name}: {folder} is gone.")
            return
        client.log_artifacts(run_id, str(folder), place)
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {**entry["tags"], WEIGHTS: entry["weights"]}
        source = f"{run.info.artifact_uri}/{place}"
        mine = client.create_model_version(name, source, run_id, tags, await_creation_for=0)
    if (decided := f"alias/{alias}") not in mine.tags:
        holder = client.get_registered_model(name).aliases.get(alias)
        moves, why = better(mine, None if holder is None else client.get_model_version(name, holder))
        if moves:
            client.set_registered_model_alias(name, alias, mine.version)
        client.set_model_version_tag(name, mine.version, decided, why)
        logger.info(f"MLflow: {name} has version {mine.version}. Its alias {alias}: {why}.")
    if folder.is_dir():
        shutil.rmtree(folder)


def better(mine: ModelVersion, holder: ModelVersion | None) -> tuple[bool, str]:
    """Whether the alias goes to a new version, and why: to a larger value of the same metric on the same data alone.

    Without a value nothing takes it, and from a version without one (which a person gave it to) nothing does.
    """
    value = _value(mine)
    if holder is not None and holder.version == mine.version:
        return False, "has it"
    if value is None:
        return False, "not given, validation gave no value"
    if holder is None:
        return True, f"given, nothing held it; {mine.tags[METRIC]} {value}"
    stays, other = f"stays with version {holder.version}", _value(holder)
    if other is None:
        return False, f"{stays}, which has no value to compare with"
    if any(mine.tags.get(key) != holder.tags.get(key) for key in (METRIC, DATA)):
        return False, f"{stays}, which another metric or other data judged"
    if value > other:
        return True, f"moved from version {holder.version}: {value} is above {other}"
    return False, f"{stays}: {value} is not above {other}"


def _value(each: ModelVersion) -> float | None:
    try:
        value = float(each.tags.get(VALUE, "nan"))
    except ValueError:  # a person wrote it
        return None
    return value if math.isfinite(value) else None
