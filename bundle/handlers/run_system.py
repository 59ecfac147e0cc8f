"""How busy the machine of a tracked run is: processor, memory, disk, network and GPU, by MLflow's own monitors."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)


class SystemMetrics:
    """Tells the machine's figures at intervals, under the names of MLflow's page "System metrics", until it is stopped.

    Not by MLflow's `SystemMetricsMonitor`, which asks the server each time and stops for good where it does not answer.

    Args:
        tell: takes name -> figure, and a step: seconds since 1970, so that a run that goes on has one axis.
        interval: seconds.

    Raises:
        ModuleNotFoundError: there is no psutil; the message says how to have it.
    """

    def __init__(self, tell: Callable[[Mapping[str, float], int], None], interval: float = 10.0) -> None:
        try:
            from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
            from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
            from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
            from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"system_metrics is true, and {error.name} is not installed: pip install -r requirements-tracking.txt, "
                "or set system_metrics to false.",
                name=error.name,
            ) from error
        self._tell, self._interval = tell, interval
        self._monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        try:
            self._monitors.append(GPUMonitor())
        except Exception as error:  # no package, no driver, no GPU: each says it otherwise
            logger.info(f"No figures of a GPU ({type(error).__name__}; they need an NVIDIA GPU and nvidia-ml-py).")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell the last, and no more."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            stopping = self._stop.wait(self._interval)
            figures: dict[str, float] = {}
            for monitor in self._monitors:
                monitor.collect_metrics()
                figures.update({f"system/{name}": value for name, value in monitor.aggregate_metrics().items()})
                monitor.clear_metrics()
            self._tell(figures, int(time.time()))
            if stopping:
                return
