"""A bundle's workflow run in this process, as often as a comparison of trainings needs it."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.bundle.reference_resolver import ReferenceResolver

from bundle.atomic import write_json
from bundle.fingerprint import file_fingerprint
from bundle.guard import named_paths

PLACES = ("bundle_root", "dataset_dir", "image_dir", "datalist")  # overrides that say where data lie, not what they are


def prepared_workflow(files: Sequence[str], run_id: str, overrides: Mapping[str, Any]) -> ConfigWorkflow:
    """A workflow of configuration files, with overrides that the caller has checked, not yet initialised.

    Args:
        files: configuration files, the first within the bundle's `configs`.
        run_id: `training` or `evaluating`.
        overrides: by id.

    Returns:
        The workflow, without the guard of its run list: that looks for the files of a command, and here is none.
    """
    workflow = ConfigWorkflow(config_file=list(files), workflow_type="train", run_id=run_id, **overrides)
    workflow.parser[run_id] = [step for step in workflow.parser[run_id] if "refuse_unknown_overrides" not in str(step)]
    return workflow


def run_workflow(files: Sequence[str], run_id: str, overrides: Mapping[str, Any]) -> None:
    """`prepared_workflow`, from its initialisation to its end."""
    workflow = prepared_workflow(files, run_id, overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def check_overrides(files: Sequence[str], overrides: Mapping[str, Any], set_here: Collection[str] = ()) -> None:
    """Refuse an override that none of the files names, or that would have no effect.

    Args:
        files: configuration files.
        overrides: by id.
        set_here: what the caller sets itself.

    Raises:
        ValueError: the override and the files.
    """
    known = named_paths(files)
    if unknown := [key for key in overrides if ReferenceResolver.normalize_id(key) not in known]:
        raise ValueError(f"Unknown overrides {unknown}: none of the configs {list(files)} names them.")
    if taken := [key for key in overrides if ReferenceResolver.normalize_id(key) in set_here]:
        raise ValueError(f"The overrides {taken} would have no effect: every cell sets them itself.")


def cell_settings(files: Sequence[str], overrides: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What decides the figures of a cell, a training and its judging, beside its seed.

    Args:
        files: all its configuration files.
        overrides: by id.
        more: further settings.

    Returns:
        By name: fingerprints of the files and of the datalist, the overrides that are no places, and `more`; as JSON
        gives them back.

    Raises:
        FileNotFoundError: there is no datalist.
    """
    datalist = Path(prepared_workflow(files, "training", overrides).parser.get_parsed_content("datalist"))
    if not datalist.is_file():
        raise FileNotFoundError(f"There is no datalist at {datalist}: make one, or set dataset_dir to its folder.")
    settings = {
        "datalist": file_fingerprint(datalist),
        **{f"config {Path(file).name}": file_fingerprint(file) for file in files},
        **{f"override {key}": value for key, value in overrides.items() if key not in PLACES},
        **more,
    }
    result: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return result


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings.json` into a cell's folder, or see that the one there says the same.

    So that a cell that was begun with other settings, or on other data, is never taken for one of these.

    Args:
        folder: of the cell.
        settings: from `cell_settings`.

    Raises:
        ValueError: it differs, or the cell was begun without one; nothing is changed.
    """
    file = folder / "settings.json"
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        if differing := [key for key in {**before, **settings} if before.get(key) != settings.get(key)]:
            told = "; ".join(f"{key}: then {before.get(key)}, now {settings.get(key)}" for key in differing)
            raise ValueError(f"{folder} was made otherwise: {told}. Give another `output`, or delete the folder.")
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} has no settings.json that says what it was made with. Give another `output`, or delete it."
        )
    else:
        write_json(file, settings)


def reseed(dataset: Any, seed: int) -> None:
    """Let a kept dataset draw as one made anew with this seed would: its random transforms are told the seed.

    Args:
        dataset: MONAI's, with a Compose of transforms.
        seed: of the cell.
    """
    for step in dataset.transform.transforms:
        if hasattr(step, "seed"):
            step.seed = seed
