"""How far a training is, and how long it will still take."""

import logging
import time
from typing import Any

from ignite.engine import Events

logger = logging.getLogger(__name__)


class Progress:
    """Logs epoch, share done, loss, and the time left at this session's pace (validation included).

    Args:
        seconds: how often to log within an epoch.
    """

    def __init__(self, seconds: float = 15.0) -> None:
        self.seconds = seconds
        self._began = self._logged = 0.0
        self._first_iteration = 0

    def attach(self, engine: Any) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)

    def _start(self, engine: Any) -> None:
        self._began = self._logged = time.monotonic()
        self._first_iteration = engine.state.iteration

    def _iteration(self, engine: Any) -> None:
        if time.monotonic() - self._logged >= self.seconds:
            self._log(engine)

    def _epoch(self, engine: Any) -> None:
        terms = {k: v for k, v in engine.state.metrics.items() if k.startswith("loss/")}
        self._log(engine, " ".join(f"{k}={v:.4f}" for k, v in terms.items()))

    def _log(self, engine: Any, more: str = "") -> None:
        self._logged = time.monotonic()
        state = engine.state
        total = state.max_epochs * state.epoch_length
        pace = (self._logged - self._began) / max(1, state.iteration - self._first_iteration)
        left = (total - state.iteration) * pace
        loss = more or f"loss={float(state.output[0]['loss']):.4f}"
        logger.info(
            f"epoch {state.epoch}/{state.max_epochs}, {state.iteration / total:.0%} done, {_clock(left)} left: {loss}"
        )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
