"""A bundle's workflow run in this process, as often as a comparison of trainings needs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.bundle.reference_resolver import ReferenceResolver

from bundle.guard import named_paths


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


def check_overrides(files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Refuse an override that none of the files names.

    Raises:
        ValueError: the override and the files.
    """
    known = named_paths(files)
    if unknown := [key for key in overrides if ReferenceResolver.normalize_id(key) not in known]:
        raise ValueError(f"Unknown overrides {unknown}: none of the configs {list(files)} names them.")
