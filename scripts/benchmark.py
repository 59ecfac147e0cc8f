"""Speed, as ratios in one process: python -m scripts.benchmark [NAMES] [--output FILE.json] [--markdown]"""

import datetime
import inspect
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import fire
import torch

from bundle.atomic import write_file
from bundle.handlers.run_source import commit_tags
from bundle.versions import versions
from scripts import (  # noqa: F401  they register themselves
    benchmark_datalist,
    benchmark_exports,
    benchmark_gpu,
    benchmark_loading,
    benchmark_metrics,
    benchmark_reading,
    benchmark_serving,
    benchmark_sparse,
    benchmark_training,
)
from scripts.benchmark_rows import BENCHMARKS, rows_of, table_of
from scripts.switches import switch, with_switches


def main(*names: str, output: str | None = None, markdown: bool = False, quick: bool = False, **settings: Any) -> None:
    """Print a row a figure (docs/benchmarks.md). Nothing is asserted; of a busy machine it is said that it is busy.

    Args:
        names: of benchmarks, or of what comes before a dot. Those that need something run where they are named in full.
        output: also write machine and rows as JSON.
        markdown: print a Markdown table.
        quick: the smallest sizes, to see whether all runs; the figures say nothing.
        settings: arguments of the named benchmarks' functions, as `--images 20`.
    """
    chosen = chosen_of(names)
    accepted = {name: inspect.signature(BENCHMARKS[name].run).parameters for name in chosen}
    for key in settings:
        if not any(key in parameters for parameters in accepted.values()):
            known = "; ".join(f"{name}: {', '.join(parameters)}" for name, parameters in accepted.items())
            raise SystemExit(f"--{key} is an argument of none of these benchmarks, which take {known}.")
    started, rows = os.getloadavg(), []
    for name in chosen:
        print(f"{name} ...", file=sys.stderr)
        given = {
            key: switch(key, value) if isinstance(accepted[name][key].default, bool) else value
            for key, value in settings.items()
            if key in accepted[name]
        }
        small = BENCHMARKS[name].small if quick else {}
        rows += rows_of(name, {**small, **given}, 0.05 if quick else 1.0)
    not_run = {} if names else {name: each.needs for name, each in BENCHMARKS.items() if each.needs}
    if output is not None:
        said = {"machine": machine(started), "quick": quick, "rows": rows, "not_run": not_run}
        write_file(Path(output), json.dumps(said, indent=1) + "\n")
    print(table_of(rows, not_run, markdown))


def chosen_of(names: tuple[str, ...]) -> list[str]:
    """The benchmarks that were named, in alphabetical order; of a group those that need nothing, if there are any.

    Raises:
        SystemExit: there is none of such a name; the message lists all.
    """
    free = [name for name, each in BENCHMARKS.items() if not each.needs]
    chosen = set() if names else set(free)
    for name in names:
        group = {each for each in BENCHMARKS if each.startswith(f"{name}.")}
        if name not in BENCHMARKS and not group:
            raise SystemExit(f"There is no benchmark {name}; there are {', '.join(sorted(BENCHMARKS))}.")
        chosen |= {name} & BENCHMARKS.keys() or group.intersection(free) or group
    return sorted(chosen)


def machine(load: tuple[float, float, float]) -> dict[str, Any]:
    """Where and of what this was measured; `load` are the averages at the start, `peak_mib` this process's memory."""
    said = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return {
        "processor": next(
            (line.partition(":")[2].strip() for line in said if line.startswith("model name")), "unknown"
        ),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "commit": commit_tags(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load": load,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    fire.Fire(with_switches(main))
