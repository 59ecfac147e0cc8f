"""A training's start with and without the table of a checked datalist (`python -m scripts.benchmark datalist`).

The headers are simulated: one small DICOM file under many names.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from bundle.data.datalist import write_checked
from bundle.data.datalist_text import table_of, write_datalist
from scripts.benchmark_reading import SYNTAXES, write
from scripts.benchmark_rows import Row, benchmark, took

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
IN_A_FOLDER = 1000
WORKERS = 2
# A start in a fresh process, until the first batch is there, and what all its processes then hold: PSS, in which pages
# that several map count once.
START = """
import os, sys, time
from pathlib import Path
from monai.data import DataLoader, Dataset
from bundle.data.datalist import datalist_section
from bundle.data.loading import collate_radiographs
from bundle.transforms import FitToCanvasd, LoadRadiographd
from monai.transforms import Compose
start = time.perf_counter()
read = Compose([LoadRadiographd("image"), FitToCanvasd("image", 128)])
items = Dataset(datalist_section(sys.argv[1], "training"), read)
workers = {"num_workers": int(sys.argv[2]), "collate_fn": collate_radiographs}
loader = DataLoader(items, batch_size=8, shuffle=True, **workers)
batches = iter(loader)
next(batches)
seconds = time.perf_counter() - start
held = 0
for process in [os.getpid(), *(worker.pid for worker in batches._workers)]:
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    held += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
print(seconds, held / 1024)
"""


@benchmark("datalist.start", needs="20 minutes and 3 GB of disk", entries=30, few=0, whole=True)
def datalist_start(entries: int = 500_000, few: int = 1_000, whole: bool = False) -> list[Row]:
    """Seconds to the first batch and memory of all processes, with so many entries and with few, 0 for none.

    `whole` also starts without a table, by looking at every header.
    """
    rows, held = [], []
    for number in filter(None, (few, entries)):
        name, of = f"datalist.start.{number}", f"{number:,} entries"
        with tempfile.TemporaryDirectory() as folder:
            path = simulated(Path(folder), number)
            rows.append(Row(f"{name}.check", f"check, once, {of}", (took(partial(write_checked, path)),), "s"))
            size = table_of(path).stat().st_size / 2**20
            seconds, memory = started(path)
            held.append(memory)
            rows += [
                Row(f"{name}.table", f"its table, {of}", (size,), "MiB"),
                Row(
                    f"{name}.first_batch", f"start to the first batch, {of}", (seconds,), "s", wanted=("at most", 20.0)
                ),
                Row(f"{name}.memory", f"memory, {WORKERS} workers included, {of}", (memory,), "MiB"),
            ]
            if whole:
                table_of(path).unlink()
                seconds, _ = started(path)
                rows.append(Row(f"{name}.without_table", f"start without a table, {of}", (seconds,), "s"))
    if few:
        what, more = f"memory of {entries:,} entries above that of {few:,}", held[1] - held[0]
        rows.append(Row("datalist.start.more_memory", what, (more,), "MiB", wanted=("at most", 500.0)))
    return rows


def simulated(folder: Path, number: int) -> Path:
    """A datalist of so many entries: labels of all findings, two boxes on every tenth, a report of three lines."""
    source = write(folder / "source.dcm", SYNTAXES["uncompressed"], np.random.default_rng(0), 128, 128)
    content = source.read_bytes()
    report = "Heart size is normal. There is no pleural effusion or pneumothorax. " * 3
    training = []
    for place in range(number):
        image = Path("images") / str(place // IN_A_FOLDER) / f"{place}.dcm"
        if place % IN_A_FOLDER == 0:  # a file has so many names at the most
            (folder / image).parent.mkdir(parents=True)
            source = folder / image
            source.write_bytes(content)
        else:
            os.link(source, folder / image)
        entry = {
            "image": image.as_posix(),
            "patient_id": f"p{place // 2}",
            "report": report,
            "labels": {name: int((place + k) % 10 == 0) for k, name in enumerate(FINDINGS)},
            "sex": "F",
            "age": 60,
            "view": "PA",
        }
        if place % 10 == 0:
            entry["boxes"] = [{"finding": FINDINGS[0], "box": [10 * n + 1, 5, 10 * n + 9, 20]} for n in range(2)]
        training.append(entry)
    write_datalist(folder / "datalist.json", {"findings": list(FINDINGS), "training": training})
    return folder / "datalist.json"


def started(path: Path) -> tuple[float, float]:
    """Seconds and MiB of a start in a fresh process."""
    command = [sys.executable, "-c", START, str(path), str(WORKERS)]
    said = subprocess.check_output(command, cwd=path.parent, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True)
    seconds, memory = map(float, said.split()[-2:])
    return seconds, memory
