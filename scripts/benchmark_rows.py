"""What all benchmarks share: their registry, a row of what was measured, ways that take turns, their table."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import psutil

from scripts.text_table import text_table

BUSY = 10.0  # percent of all processors that others may have, in the second before


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        name: stable: its benchmark's, and more where that has several rows.
        what: in words.
        measured: one number, or two ways to the same, ours first.
        unit: of these.
        than: what the ratio of two is; times "as long" and "as many" are of the first to the second, "as fast" the
            other way round.
        wanted: of the ratio where there is one, else of the number.
    """

    name: str
    what: str
    measured: tuple[float, ...]
    unit: str
    than: Literal["as long", "as many", "as fast"] = "as long"
    wanted: tuple[Literal["at most", "at least"], float] | None = None

    @property
    def ratio(self) -> float | None:
        """See `than`; None of one number."""
        if len(self.measured) == 1:
            return None
        first, second = self.measured
        return second / first if self.than == "as fast" else first / second

    def cells(self) -> tuple[str, str]:
        """What was measured and what was wanted, in words."""
        said = " against ".join(f"{figure(number)} {self.unit}" for number in self.measured)
        unit = f" {self.unit}"
        if self.ratio is not None:
            unit, said = "x", f"{said}: {figure(self.ratio)}x {self.than}"
        return said, "" if self.wanted is None else f"{self.wanted[0]} {figure(self.wanted[1])}{unit}"


@dataclass(frozen=True)
class Benchmark:
    """What a name runs; `small` are the arguments of its smallest size, `needs` what a run on request only asks for."""

    run: Callable[..., list[Row]]
    small: Mapping[str, Any]
    needs: str


BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(name: str, needs: str = "", **small: Any) -> Callable[[Callable[..., list[Row]]], Callable[..., Any]]:
    """Give a function a name in the registry. See `Benchmark`."""

    def register(run: Callable[..., list[Row]]) -> Callable[..., list[Row]]:
        BENCHMARKS[name] = Benchmark(run, small, needs)
        return run

    return register


def rows_of(name: str, settings: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
    """Run a benchmark: its rows' fields, with `ratio`, `load` (percent, over so many seconds before) and `busy`."""
    load = psutil.cpu_percent(seconds)
    rows = BENCHMARKS[name].run(**settings)
    return [{**asdict(row), "ratio": row.ratio, "load": load, "busy": load > BUSY} for row in rows]


def table_of(rows: Iterable[Mapping[str, Any]], not_run: Mapping[str, str], markdown: bool) -> str:
    """Rows as `rows_of` gives them, and benchmarks that were not run with what they need."""
    lines = [("name", "what", "measured", "wanted")]
    for row in rows:
        said, wanted = Row(**{key: row[key] for key in Row.__dataclass_fields__}).cells()
        busy = f" (busy: {row['load']:.0f}% before)" if row["busy"] else ""
        lines.append((row["name"], row["what"], said + busy, wanted))
    lines += [(name, "", f"not run; needs {needs}", "") for name, needs in not_run.items()]
    return text_table(lines, markdown)


def figure(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def slug(words: str) -> str:
    """Words as a part of a name."""
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def turns(
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    warm: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each call; they take turns, so that a busy moment meets all. The first `warm` do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + warm):
        for name, call in calls.items():
            seconds[name].append(took(call, clock))
    return {name: median(each[warm:]) for name, each in seconds.items()}


def took(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of a call."""
    start = clock()
    call()
    return clock() - start
