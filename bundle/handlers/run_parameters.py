"""What a tracked run keeps of its configuration: the settings, never the records of a data set."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from monai.bundle.utils import EXPR_KEY, ID_REF_KEY, ID_SEP_KEY, MACRO_KEY

from bundle.data.output_names import SUFFIXES

_RECORD_KEYS = {"image", "report", "patient_id", "summary", "qa"}
# how the run is tracked; the URI may hold a password
_TRACKING_KEYS = {"tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0"}
_SKIPPED = {"_meta_", "_desc_", "_requires_", "_disabled_", "_mode_", "handlers"}
_MAX_LENGTH = 500  # of a value; MLflow takes 6,000, its tables show fewer
_AN_IMAGE = "<an image, not kept>"
# a name before a radiograph's suffix, in an expression too; not the suffix alone, and not "*.dcm"
_IMAGE_NAME = re.compile(rf"[^\s'\"/\\*?.,(\[{{][*?]*({'|'.join(map(re.escape, SUFFIXES))})(?![a-z0-9])", re.IGNORECASE)
# DICOM files often have no suffix: of the files that are there, only these are known to be none
_NO_IMAGES = (".json", ".yaml", ".yml", ".conf", ".txt", ".csv", ".py", ".db", ".pt", ".pth", ".ts", ".onnx",
              ".safetensors")  # fmt: skip


def parameters(config: dict[str, Any], limit: int = 1000) -> tuple[dict[str, str], int]:
    """The plain values of a configuration under the ids by which the command line sets them.

    Numbers, booleans, strings, and lists of them, and the `_target_` of top-level components; expressions, references
    and handlers are left to the configuration itself. Shallow ids come first: a limit drops what lies deepest. Of a
    long value there are its beginning, its length and its fingerprint.

    Args:
        config: merged configuration, resolved or not.
        limit: of how many.

    Returns:
        For example `{"batch_size": "64", "loss::patch_weight": "3.0"}`, and how many were dropped.
    """
    found = sorted(_scalars(recordable(config), ()), key=lambda item: len(item[0]))
    kept = {allowed_name(ID_SEP_KEY.join(path)): _bounded(value) for path, value in found[:limit]}
    return kept, max(0, len(found) - limit)


def resolved_config(config: dict[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration in which expressions and references are what came of them, where that is plain.

    Not where it holds what an expression took from the environment, where passwords are.

    Args:
        config: merged.
        resolved: id -> value, of what has been evaluated (`bundle.guard.resolved_values`).
    """
    asked = [path for path, text in _expressions(config, "") if re.search("environ|getenv", text)]
    hidden = {str(resolved[path]) for path in asked if resolved.get(path)}
    plain = {}
    for path, _ in _expressions(config, ""):
        found = resolved.get(path)
        found = list(found) if isinstance(found, tuple) else found
        is_plain = _is_plain(found) or (isinstance(found, list) and all(map(_is_plain, found)))
        if is_plain and not any(secret in str(found) for secret in hidden):
            plain[path] = found
    return {key: _resolved(value, str(key), plain) for key, value in config.items()}


def recordable(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of a configuration without what must not leave: records of a data set, the tracking server's address.

    Records (images, reports, patients) are replaced by their number, and what names an image file, often called by a
    patient, by words that say so. Names of folders are kept.
    """
    return {key: _without_records(value) for key, value in config.items() if key not in _TRACKING_KEYS}


def allowed_name(name: str) -> str:
    """A name as MLflow takes it for parameters and metrics."""
    return re.sub(r"[^\w\-./: ]", "_", name)[:250]


def _expressions(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Ids and texts of expressions and references."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _expressions(inner, f"{path}{ID_SEP_KEY}{key}" if path else str(key))
    elif isinstance(value, str) and not _is_plain(value):
        yield path, value


def _resolved(value: Any, path: str, plain: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(inner, f"{path}{ID_SEP_KEY}{key}", plain) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, f"{path}{ID_SEP_KEY}{place}", plain) for place, inner in enumerate(value)]
    return plain.get(path, value)


def _bounded(value: str) -> str:
    if len(value) <= _MAX_LENGTH:
        return value
    digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:16]
    end = f"... ({len(value)} characters, {digest})"
    return value[: _MAX_LENGTH - len(end)] + end


def _without_records(config: Any) -> Any:
    if isinstance(config, dict):
        if _is_record(config):
            return "<1 record, not kept>"
        if any(_names_an_image(key) for key in config):
            return f"<{len(config)} records, not kept>"
        return {key: _without_records(value) for key, value in config.items()}
    if isinstance(config, list):
        if any(_is_record(value) for value in config):
            return f"<{len(config)} records, not kept>"
        return [_without_records(value) for value in config]
    return _AN_IMAGE if isinstance(config, str) and _names_an_image(config) else config


def _is_record(value: Any) -> bool:
    """Whether it is an entry of a data set; loss weights and network inputs have such keys too, with other values."""
    if not isinstance(value, dict) or "_target_" in value:
        return False
    held = [value[key] for key in _RECORD_KEYS & value.keys()]
    return "patient_id" in value or any(isinstance(v, list) or (isinstance(v, str) and _is_plain(v)) for v in held)


def _names_an_image(text: str) -> bool:
    if _IMAGE_NAME.search(text):
        return True
    # not Path.is_file, which refuses some texts
    return not text.lower().endswith(_NO_IMAGES) and os.path.isfile(text)  # noqa: PTH113


def _scalars(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _SKIPPED and (key != "_target_" or len(path) == 1):
                yield from _scalars(inner, (*path, str(key)))
    elif isinstance(value, list) and not all(_is_plain(v) for v in value):
        for place, inner in enumerate(value):
            yield from _scalars(inner, (*path, str(place)))
    elif isinstance(value, list) or _is_plain(value):
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return not value.startswith((EXPR_KEY, ID_REF_KEY, MACRO_KEY))
    return isinstance(value, bool | int | float)
