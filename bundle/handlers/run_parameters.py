"""What a tracked run keeps of its configuration: the settings, never the records of a data set."""

import json
import re
from collections.abc import Iterator
from typing import Any

from monai.bundle.utils import EXPR_KEY, ID_REF_KEY, ID_SEP_KEY, MACRO_KEY

_RECORD_KEYS = {"image", "report", "patient_id", "summary", "qa"}
# "_target_" stays: which network, which optimizer
_SKIPPED = {"_meta_", "_desc_", "_requires_", "_disabled_", "_mode_"}
_MAX_LENGTH = 500


def parameters(config: dict[str, Any], limit: int = 200) -> dict[str, str]:
    """The plain values of a configuration under the ids by which the command line sets them.

    Numbers, booleans, strings, and short lists of them; expressions and references are left to the configuration
    itself. Shallow ids come first, so that a limit drops what lies deepest.

    Args:
        config: merged configuration.
        limit: of how many.

    Returns:
        For example `{"batch_size": "64", "loss::patch_weight": "3.0"}`.
    """
    found = sorted(_scalars(without_records(config), ()), key=lambda item: len(item[0]))
    return {allowed_name(ID_SEP_KEY.join(path)): value[:_MAX_LENGTH] for path, value in found[:limit]}


def without_records(config: Any) -> Any:
    """A copy in which lists of data-set records (images, reports, patients) are replaced by their length."""
    if isinstance(config, dict):
        return {key: without_records(value) for key, value in config.items()}
    if isinstance(config, list):
        if any(isinstance(v, dict) and "_target_" not in v and _RECORD_KEYS & v.keys() for v in config):
            return f"<{len(config)} records, not kept>"
        return [without_records(value) for value in config]
    return config


def allowed_name(name: str) -> str:
    """A name as MLflow takes it for parameters and metrics."""
    return re.sub(r"[^\w\-./: ]", "_", name)[:250]


def _scalars(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _SKIPPED:
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
