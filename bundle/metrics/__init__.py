"""Metrics in three layers: pure functions of scores, cumulative metrics that gather across ranks, and their records.

All are loaded when they are asked for: figures of records do without torch and MONAI, which take seconds, and the
candidates of a radiograph do without the packages of statistics.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundle.metrics.auroc_metric import AUROCMetric as AUROCMetric
    from bundle.metrics.candidates import extract_candidates as extract_candidates
    from bundle.metrics.candidates import extract_candidates_batch as extract_candidates_batch
    from bundle.metrics.froc import froc_curve as froc_curve
    from bundle.metrics.froc import froc_score as froc_score
    from bundle.metrics.froc import sensitivity_at as sensitivity_at
    from bundle.metrics.froc import wafroc as wafroc
    from bundle.metrics.froc_metric import FROCMetric as FROCMetric
    from bundle.metrics.matching import HitCriterion as HitCriterion
    from bundle.metrics.matching import match as match
    from bundle.metrics.matching import oracle as oracle
    from bundle.metrics.paired import compare as compare
    from bundle.metrics.records import Records as Records
    from bundle.metrics.records_io import load_records as load_records
    from bundle.metrics.records_io import save_records as save_records
    from bundle.metrics.strata import by_size as by_size
    from bundle.metrics.subgroups import by_subgroup as by_subgroup
    from bundle.metrics.summary import summarise as summarise

_IN = {
    "auroc_metric": ("AUROCMetric",),
    "candidates": ("extract_candidates", "extract_candidates_batch"),
    "froc": ("froc_curve", "froc_score", "sensitivity_at", "wafroc"),
    "froc_metric": ("FROCMetric",),
    "matching": ("HitCriterion", "match", "oracle"),
    "paired": ("compare",),
    "records": ("Records",),
    "records_io": ("load_records", "save_records"),
    "strata": ("by_size",),
    "subgroups": ("by_subgroup",),
    "summary": ("summarise",),
}
_MODULES = {name: module for module, names in _IN.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
