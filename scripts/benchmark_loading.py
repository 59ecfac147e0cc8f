"""What the canvas cache makes of loading, of simulated images (`python -m scripts.benchmark loading`)."""

import json
import multiprocessing as mp
import os
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose
from torch.utils.data import Dataset

from bundle.data.loading import collate_radiographs
from bundle.experiments.workflow import prepared_workflow
from bundle.reading import read_radiograph
from bundle.transforms import CachedCanvas, FitToCanvasd, LoadRadiographd
from bundle.transforms.canvas import fit_to_canvas
from bundle.transforms.canvas_building import build_canvases
from scripts.benchmark_reading import SYNTAXES, write
from scripts.benchmark_rows import Row, benchmark, slug, took, turns

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ("Mass", "Nodule")
BATCH = 4  # of the large images


@benchmark("loading.demo", images=20, repeats=1, workers=1)
def loading_demo(images: int = 128, repeats: int = 5, workers: int | None = None) -> list[Row]:
    """Images a second of the demo's loader, in several ways, against those of its step.

    Args:
        images: uncompressed, of the demo's sizes.
        repeats: of each way, which take turns; the median counts.
        workers: processes of the loader, threads of the step; by default one a core.
    """
    cores = workers or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        return demo_rows(Path(folder), images, repeats, cores)


def demo_rows(folder: Path, images: int, repeats: int, cores: int) -> list[Row]:
    """See `loading_demo`."""
    rng, entries = np.random.default_rng(0), []
    for n in range(images):
        write(folder / f"{n}.dcm", SYNTAXES["uncompressed"], rng, 448, 640)
        box = {"finding": FINDINGS[n % 2], "box": [100, 100, 180, 160]}
        labels = {name: int(name == box["finding"]) for name in FINDINGS}
        entries.append({"image": f"{n}.dcm", "patient_id": str(n), "labels": labels, "boxes": [box], "boxed": FINDINGS})
    parts = {"training": entries[: -images // 8], "validation": entries[-images // 8 :]}
    (folder / "datalist.json").write_text(json.dumps({"findings": FINDINGS, **parts}))
    files = [str(ROOT / "configs" / name) for name in ("train.json", "demo.json")]
    where = {"dataset_dir": str(folder), "bundle_root": str(folder), "findings": list(FINDINGS)}
    parser = prepared_workflow(files, "training", {**where, "num_workers": 0, "cache_rate": 0.0}).parser
    side, batch_size = parser["image_size"], parser["batch_size"]
    cached = CachedCanvas(LoadRadiographd(), FitToCanvasd(size=side), {"folder": str(folder / "demo")})
    build_canvases(cached, [folder / entry["image"] for entry in entries], cores)
    plain, *rest = parser.get_parsed_content("train#preprocessing").transforms
    data = parser.get_parsed_content("train#dataset#data")

    def demo_loader(first: CachedCanvas, cache_rate: float, workers: int) -> DataLoader:
        dataset = CacheDataset(data, Compose([first, *rest]), cache_rate=cache_rate, copy_cache=False, progress=False)
        return loader_of(dataset, batch_size, workers)

    loaders = {
        f"decoded, {cores} workers": demo_loader(plain, 0.0, cores),
        f"from the canvas cache, {cores} workers": demo_loader(cached, 0.0, cores),
        "from the canvas cache, no workers": demo_loader(cached, 0.0, 0),
        "from memory (cache_rate 1), no workers": demo_loader(plain, 1.0, 0),
    }
    trainer, update = (parser.get_parsed_content(f"train#trainer{part}") for part in ("", "#iteration_update"))
    trainer.state.epoch = 1
    step = partial(update, trainer, next(iter(loaders[f"decoded, {cores} workers"])))
    torch.set_num_threads(cores)
    calls = {"step": step, **{way: partial(consume, loader) for way, loader in loaders.items()}}
    seconds = turns(calls, repeats)  # the first is for what is made once: workers, memory
    given = {way: len(loader) * batch_size / seconds[way] for way, loader in loaders.items()}
    step_takes = batch_size / seconds["step"]
    return [
        Row(
            f"loading.demo.{slug(way)}",
            f"the demo's loader, {way}, against its step, batches of {batch_size} of {side} px",
            (rate, step_takes),
            "images/s",
            "as many",
            ("at least", 3.0) if "canvas cache" in way else None,
        )
        for way, rate in given.items()
    ]


@benchmark("loading.epochs", images=2, distinct=1, smallest=60, largest=80, canvas=40, repeats=1, workers=1)
def loading_epochs(
    images: int = 48,
    distinct: int = 8,
    smallest: int = 2500,
    largest: int = 3000,
    canvas: int = 900,
    repeats: int = 5,
    workers: int | None = None,
) -> list[Row]:
    """A first epoch against a lean loop over the same files, filling the cache against that, and later epochs by it.

    Args:
        images: JPEG 2000 files.
        distinct: how many of these differ; the others are the same under other names.
        smallest, largest: pixels of their sides.
        canvas: side of their canvas.
        repeats: of the later epochs; the median counts.
        workers: processes of lean loop, loader and builder; by default one a core.
    """
    cores = workers or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        return epoch_rows(Path(folder), images, distinct, (smallest, largest), canvas, repeats, cores)


def epoch_rows(
    folder: Path, number: int, distinct: int, size: tuple[int, int], side: int, repeats: int, cores: int
) -> list[Row]:
    """See `loading_epochs`."""
    rng, images = np.random.default_rng(0), []
    for n in range(number):
        images.append(folder / f"large{n}.dcm")
        if n < distinct:
            write(images[n], SYNTAXES["JPEG 2000"], rng, *size)
        else:
            os.link(images[n % distinct], images[n])
    cached = CachedCanvas(LoadRadiographd(), FitToCanvasd(size=side), {"folder": str(folder / "large")})
    plain = CachedCanvas(LoadRadiographd(), FitToCanvasd(size=side))
    lean = took(partial(lean_loop, images, side, cores))
    first = loader_of(Images(images, plain), BATCH, cores)
    cold = took(partial(consume, first))
    filling = took(partial(build_canvases, cached, images, cores))
    later = loader_of(Images(images, cached), BATCH, cores)
    consume(later)
    warm = median(took(partial(consume, later)) for _ in range(repeats))
    of = f"{number} JPEG 2000 files of {size[0]} to {size[1]} px to {side} px, {cores} processes, an image"
    lean, cold, filling, warm = (seconds / number * 1e3 for seconds in (lean, cold, filling, warm))
    first, fill = f"first epoch of the loader, {of}, against a lean decode loop", "filling the cache against that loop"
    later_ones, most = "epoch by the cache against the first", ("at most", 1.0)
    return [
        Row("loading.epochs.first", first, (cold, lean), "ms", wanted=most),
        Row("loading.epochs.filling", fill, (filling, lean), "ms", wanted=most),
        Row("loading.epochs.cached", later_ones, (warm, cold), "ms", "as fast", ("at least", 20.0)),
    ]


class Images(Dataset[Any]):
    """Images by one step, as a training's dataset makes them."""

    def __init__(self, images: list[Path], step: CachedCanvas) -> None:
        self.images, self.step = images, step

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Any:
        return {"image": self.step({"image": str(self.images[place])})["image"], "index": place}


def loader_of(dataset: Dataset[Any], batch_size: int, workers: int) -> DataLoader:
    more = {"collate_fn": collate_radiographs, "drop_last": True, "persistent_workers": workers > 0}
    return DataLoader(dataset, workers, batch_size=batch_size, **more)


def consume(loader: Iterable[Any]) -> None:
    """An epoch of a loader, each batch's images looked at."""
    for batch in loader:
        float(batch["image"][0, 0, 0, 0])


def lean_loop(images: list[Path], side: int, processes: int) -> None:
    """Decode and resize, and nothing else: a process a share of the files, batches made and thrown away."""
    context = mp.get_context("fork")
    shares = [context.Process(target=decode, args=(images[n::processes], side)) for n in range(processes)]
    for share in shares:
        share.start()
    for share in shares:
        share.join()
        if share.exitcode:
            raise SystemExit(f"the lean loop ended with {share.exitcode}")


def decode(images: list[Path], side: int) -> None:
    torch.set_num_threads(1)
    for start in range(0, len(images), BATCH):
        arrays = [read_radiograph(image)[0] for image in images[start : start + BATCH]]
        torch.stack([fit_to_canvas(torch.from_numpy(array), (side, side))[0] for array in arrays])
