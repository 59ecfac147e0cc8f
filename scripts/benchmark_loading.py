"""What the canvas cache makes of loading, as ratios in one process: python -m scripts.benchmark_loading [--markdown]

The images are simulated.
"""

import json
import multiprocessing as mp
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import fire
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
from scripts.text_table import text_table

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ("Mass", "Nodule")
BATCH = 4  # of the large images
Row = tuple[str, str, str]


def main(
    markdown: bool = False,
    images: int = 128,
    large: int = 48,
    distinct: int = 8,
    smallest: int = 2500,
    largest: int = 3000,
    canvas: int = 900,
    repeats: int = 5,
    workers: int | None = None,
) -> None:
    """Print what the demo's loader gives against what its step takes, and epochs over large files, cold and warm.

    Args:
        markdown: print a Markdown table.
        images: uncompressed, of the demo's sizes, for its loader and its step.
        large: JPEG 2000 files, for the epochs.
        distinct: how many of these differ; the others are the same under other names.
        smallest, largest: pixels of their sides.
        canvas: side of their canvas.
        repeats: of everything but the cold epochs; the median counts. What a ratio is of takes turns.
        workers: processes of loader, lean loop and builder; threads of the step. By default one a core.
    """
    cores = workers or len(os.sched_getaffinity(0))
    table: list[Row] = [("what", "measured", "wanted")]
    with tempfile.TemporaryDirectory() as folder:
        table += demo_rows(Path(folder), images, repeats, cores)
        table += epoch_rows(Path(folder), large, distinct, (smallest, largest), canvas, repeats, cores)
    print(text_table(table, markdown))


def demo_rows(folder: Path, images: int, repeats: int, cores: int) -> list[Row]:
    """Images a second of the demo's loader, in several ways, against those of its step."""
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
    seconds: dict[str, list[float]] = {way: [] for way in ("step", *loaders)}
    torch.set_num_threads(cores)
    step()
    for loader in loaders.values():  # once for what is made at first: workers, memory
        consume(loader)
    for _ in range(repeats):
        seconds["step"].append(took(step) / batch_size)
        for way, loader in loaders.items():
            seconds[way].append(took(partial(consume, loader)) / (len(loader) * batch_size))
    typical = {way: 1 / median(each) for way, each in seconds.items()}
    rows = [("the demo's step, batches of 16 of 452 px", f"{typical['step']:.0f} images/s", "")]
    for way in loaders:
        ratio = f"{typical[way]:.0f} images/s: {typical[way] / typical['step']:.1f}x of the step"
        rows.append((f"its loader, {way}", ratio, "at least 3x" if "canvas cache" in way else ""))
    return rows


def epoch_rows(
    folder: Path, number: int, distinct: int, size: tuple[int, int], side: int, repeats: int, cores: int
) -> list[Row]:
    """A first epoch against a lean loop over the same files, filling the cache against that, and later epochs by it."""
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
    of = f"{number} files of {size[0]} to {size[1]} px, JPEG 2000, to {side} px, {cores} processes"
    each = {name: s / number * 1e3 for name, s in {"l": lean, "c": cold, "f": filling, "w": warm}.items()}
    return [
        (f"lean decode loop, {of}", f"{each['l']:.0f} ms an image", ""),
        (
            "first epoch of the loader",
            f"{each['c']:.0f} ms an image: {cold / lean:.2f}x of the lean loop",
            "at most 1x",
        ),
        ("filling the cache", f"{each['f']:.0f} ms an image: {filling / lean:.2f}x of the lean loop", "at most 1x"),
        ("epoch by the cache", f"{each['w']:.2f} ms an image: {cold / warm:.0f}x as fast as the first", "at least 20x"),
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


def took(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    fire.Fire(main)
