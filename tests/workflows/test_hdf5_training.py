"""Many images of one HDF5 file train in the memory that few of them take."""

import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from scripts.check_datalist import main
from scripts.prepare_datalist import commands
from tests.data.sources.source_files import write_csv
from tests.workflows.conftest import ENVIRONMENT, Place

FEW, MANY = 200, 1_200  # 141 MiB more of pictures
SIDE = 192
NOISE = 80  # MiB; two trainings on a busy machine differed by 56
# setup.sh has freed memory kept for the next step: what a training then holds differs by more from run to run
PLAIN = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("MALLOC_")}


def peak(folder, number, epochs=1):
    """MiB at the most of a training on so many images."""
    place = Place(folder)
    images = folder / "h5"
    images.mkdir()
    rng = np.random.default_rng(0)
    with h5py.File(images / "cxr.h5", "w") as file:
        pictures = file.create_dataset("cxr", (number, SIDE, SIDE), "f4")
        for start in range(0, number, 500):
            count = min(500, number - start)
            pictures[start : start + count] = rng.integers(0, 256, (count, SIDE, SIDE))
    report = "No mass. " + "No effusion. " * 20
    rows = [f"files/p10/p1{n:07}/s1/{n}.jpg,{n % 2},{n % 3 // 2},{report}" for n in range(number)]
    table = write_csv(folder / "table.csv", "Path,Mass,Effusion,impression", *rows)
    datalist = place.data / "cxr.json"
    commands()["chexzero"](
        images=str(images), output=str(datalist), h5=str(images / "cxr.h5"), table=str(table), validation=0.02, test=0.0
    )
    main(str(datalist), image_dir=str(images))
    settings = {
        "datalist": datalist,
        "image_dir": images,
        "max_epochs": epochs,
        "val_interval": epochs,
        "batch_size": 16,
    }
    command = [sys.executable, *place.arguments("training", "train", **settings, cache_rate=0.0)]
    process, most = subprocess.Popen(command, cwd=folder, env=PLAIN, stdout=subprocess.DEVNULL), 0.0
    while process.poll() is None:
        most = max(most, high_water(process.pid))
        time.sleep(0.1)
    assert process.returncode == 0
    assert most > 100
    assert (place.models / "model.pt").is_file()
    return most


def high_water(pid):
    """MiB at the most until now; rusage's count would begin with that of the process that started it, these tests'."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_images(tmp_path):
    """At as many steps: the heap settles in the first thousand."""
    few, many = peak(tmp_path / "few", FEW, epochs=MANY // FEW), peak(tmp_path / "many", MANY)
    assert many < few + NOISE, f"{FEW} images: {few:.0f} MiB; {MANY}: {many:.0f} MiB"
