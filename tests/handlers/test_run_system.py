"""The machine's figures, by MLflow's monitors."""

import sys
import threading
from collections.abc import Mapping

import pytest

from bundle.handlers.run_system import SystemMetrics


def test_figures_come_at_intervals_and_at_the_end() -> None:
    told: list[tuple[Mapping[str, float], int]] = []
    thrice = threading.Event()

    def tell(figures: Mapping[str, float], step: int) -> None:
        told.append((figures, step))
        if len(told) == 3:
            thrice.set()

    system = SystemMetrics(tell, interval=0.05)
    assert thrice.wait(30)
    system.stop()
    assert len(told) > 3
    number = len(told)
    figures, step = told[-1]
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= figures.keys()
    assert 0 < figures["system/system_memory_usage_percentage"] <= 100
    assert step >= told[0][1] > 1.7e9
    assert not any(thread.name == "system-metrics" for thread in threading.enumerate())
    assert len(told) == number


def test_without_psutil_it_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("mlflow.system_metrics")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ModuleNotFoundError, match=r"system_metrics is true, and psutil .*requirements-tracking"):
        SystemMetrics(lambda *_: None)
