"""Refuses overrides that nothing reads or that cannot be meant: MONAI accepts `--val_intervall 5` and trains as if
nothing had been said.

First entry of every run list:

    "training": [{"_target_": "bundle.guard.refuse_unknown_overrides"}, "$@resumable.run()"]
"""

import difflib
import inspect
import logging
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.scripts import update_kwargs
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS, EXPR_KEY, ID_REF_KEY, ID_SEP_KEY, MERGE_KEY

from bundle.failure import end_plainly
from bundle.kinds import wrong_values
from bundle.versions import OtherVersionError, refuse_other_version

logger = logging.getLogger(__name__)

# "@train::trainer", and what an expression picks from it by name: "@candidates['floor']"
_REFERENCE = re.compile(rf"{ID_REF_KEY}(\w+(?:{ID_SEP_KEY}\w+)*)((?:\[(?:'\w+'|\"\w+\")\])*)")
# MONAI's --tracking adds this key last, whatever the settings are
_TRACKED = "save_execute_config"
_TRACKING_KEYS = set(DEFAULT_MLFLOW_SETTINGS["configs"]) - {"trainer", "validator", "evaluator"}
# of configs/tracking_mlflow.json, which asks no evaluation for them
_TRACKING_KEYS |= {"system_metrics", "registered_model", "registered_alias"}


class UnknownKeyError(SystemExit):
    """A key of the configuration has no effect; the message names it and its nearest known neighbour.

    A SystemExit, because MONAI wraps every Exception of a run list into "Failed to instantiate component", at the end
    of a hundred lines that bury the message. Python prints this one alone, and the command returns 1.
    """


class WrongValueError(SystemExit):
    """A value is of another kind than its key wants; the message says how to write it. A SystemExit as above."""


class OtherCodeError(SystemExit):
    """The configs lie in a package of another version than the code that runs. A SystemExit as above."""


def refuse_unknown_overrides() -> None:
    """Stop if the configuration that is running holds a key that has no effect, or a value of a wrong kind.

    Stop also if it is a package's, and the code that was imported is of another version (`bundle.versions`).

    A key is known if a loaded config file names it, something reads it, or its name starts with an underscore. Keys
    of nested sections (`train`, `validate`) are checked alike, arguments of a `_target_` are not: the target itself
    refuses those that it does not know. Kinds of values are those of `bundle.kinds.wrong_values`.

    From here on a command that fails ends with what is wrong (`bundle.failure.end_plainly`).

    Raises:
        UnknownKeyError: there is such a key.
        WrongValueError: there is such a value.
        OtherCodeError: the package is of another version.
    """
    end_plainly()
    workflow, files, given = _running()
    if workflow is None:
        logger.debug("Not called from a run list: there are no overrides to check.")
        return
    _refuse_other_code(Path(workflow.config_root_path))
    config = workflow.parser.get()
    named = named_paths(files if files is not None else _fitting_files(workflow.config_root_path, config))
    unknown = unknown_paths(config, named, (workflow.init_id, workflow.run_id, workflow.final_id))
    wrong = [] if files is None else wrong_values(config, files, given)
    if unknown or wrong:
        lines = [*(_complaint(path, config, named) for path in unknown), *wrong]
        raise (UnknownKeyError if unknown else WrongValueError)("\n".join(lines))


def running_config() -> dict[str, Any]:
    """The configuration that is running, its files and overrides merged, its macros resolved; empty outside a run."""
    workflow, _, _ = _running()
    return {} if workflow is None else deepcopy(workflow.parser.get())


def resolved_values() -> dict[str, Any]:
    """Id -> value of what the configuration that is running has evaluated so far; empty outside a run."""
    workflow, _, _ = _running()
    return {} if workflow is None else dict(workflow.parser.ref_resolver.resolved_content)


def unknown_paths(config: dict[str, Any], named: set[str], entry_points: Iterable[str] = ()) -> list[str]:
    """The paths of a configuration that no file names and nothing reads.

    Args:
        config: merged configuration, its macros resolved.
        named: paths that config files name.
        entry_points: ids that MONAI itself evaluates.

    Returns:
        Paths such as "val_intervall" or "train::max_epochs", in the configuration's order.
    """
    read = {*_references(config), *entry_points}
    if _TRACKED in config:
        read |= _TRACKING_KEYS
    passed = {prefix for path in read for prefix in _prefixes(path)}  # read, or on the way to something that is
    return list(_unknown(config, "", named, read, passed))


def named_paths(files: Iterable[str | Path]) -> set[str]:
    """Every path that config files name, by their keys ("loss::weight", "+train#handlers") or by what lies in them."""
    return {path for file in files for path in _paths(ConfigParser.load_config_file(file))}


def _refuse_other_code(configs: Path) -> None:
    folder = configs.parent if configs.name == "configs" else configs  # as MONAI takes the bundle's root
    if (folder / "bundle").is_dir():
        try:
            refuse_other_version(folder)
        except OtherVersionError as error:
            raise OtherCodeError(str(error)) from error


def _unknown(section: dict[str, Any], parent: str, named: set[str], read: set[str], passed: set[str]) -> Iterator[str]:
    for key, value in section.items():
        path = _join(parent, key)
        if str(key).startswith("_"):
            continue
        if path not in named and path not in passed:
            yield path
        # read as a whole, or handed to a component: whoever gets it knows what it may hold
        elif isinstance(value, dict) and "_target_" not in value and path not in read:
            yield from _unknown(value, path, named, read, passed)


def _references(config: Any) -> Iterator[str]:
    if isinstance(config, dict | list):
        for value in config.values() if isinstance(config, dict) else config:
            yield from _references(value)
    elif isinstance(config, str):
        text = ReferenceResolver.normalize_id(config)
        found = _REFERENCE.finditer(text) if text.startswith(EXPR_KEY) else filter(None, [_REFERENCE.fullmatch(text)])
        for match in found:
            yield ID_SEP_KEY.join([match[1], *re.findall(r"\w+", match[2])])


def _paths(section: dict[str, Any], parent: str = "") -> Iterator[str]:
    for key, value in section.items():
        path = _join(parent, ReferenceResolver.normalize_id(str(key).removeprefix(MERGE_KEY)))
        yield from _prefixes(path)
        if isinstance(value, dict):
            yield from _paths(value, path)


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split(ID_SEP_KEY)
    yield from (ID_SEP_KEY.join(parts[: n + 1]) for n in range(len(parts)))


def _join(parent: str, key: str) -> str:
    return f"{parent}{ID_SEP_KEY}{key}" if parent else str(key)


def _complaint(path: str, config: dict[str, Any], named: set[str]) -> str:
    parent, _, name = path.rpartition(ID_SEP_KEY)
    known = sorted(p for p in named | config.keys() if p != path and not p.rpartition(ID_SEP_KEY)[2].startswith("_"))
    siblings = {p.rpartition(ID_SEP_KEY)[2]: p for p in known if p.rpartition(ID_SEP_KEY)[0] == parent}
    near = [siblings[match] for match in difflib.get_close_matches(name, siblings, n=1)]
    near += [p for p in known if p.rpartition(ID_SEP_KEY)[2] == name and p not in near]
    text = f"Unknown key '{path}': no config file that was loaded names it and nothing reads it, so it has no effect. "
    if name in _TRACKING_KEYS:
        return f"{text}It belongs to --tracking: give that too, or leave it out."
    if name.startswith(MERGE_KEY):
        return f"{text}'{MERGE_KEY}' merges within config files only: put it into a config file of your own."
    if near:
        return f"{text}Did you mean {' or '.join(repr(p) for p in near[:3])}?"
    return f"{text}Known here: {', '.join(siblings)}."


def _running() -> tuple[ConfigWorkflow | None, list[str] | None, dict[str, Any]]:
    """The workflow that is running, and its config files and its command's overrides where they can be known.

    Looked up on the call stack: an expression sees only resolved references, and MONAI passes the parser to no one.
    A workflow forgets the names of its files; `monai.bundle.run`, when it is below, still has them.
    """
    workflow, files, given = None, None, {}
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if workflow is None and isinstance(owner, ConfigWorkflow):
            workflow = owner
        elif workflow is not None and frame.f_globals.get("__name__") == "monai.bundle.scripts":
            arguments = {**frame.f_locals.get("kwargs", {}), **frame.f_locals}
            files, given = _files_of_command(arguments), arguments.get("override", {})
        frame = frame.f_back
    return workflow, files, given


def _files_of_command(arguments: dict[str, Any]) -> list[str] | None:
    given = deepcopy(arguments.get("args_file"))
    files = update_kwargs(given, config_file=arguments.get("config_file")).get("config_file")
    if isinstance(files, str):
        return files.split(",") if "," in files and not Path(files).is_file() else [files]
    return None if files is None else list(files)


def _fitting_files(folder: Path, config: dict[str, Any]) -> list[Path]:
    """The files of the first config file's folder that can have been loaded: all their keys are there."""
    files = sorted(f for f in folder.glob("*") if f.suffix.lower().lstrip(".") in ConfigParser.suffixes)
    return [f for f in files if {_section(key) for key in ConfigParser.load_config_file(f)} <= config.keys()]


def _section(key: str) -> str:
    return ReferenceResolver.split_id(key.removeprefix(MERGE_KEY))[0]
