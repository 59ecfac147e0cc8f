"""The default network on a GPU: images a second, memory, share of its peak, the loader (`scripts.benchmark gpu`).

Weights, images and boxes are random.
"""

import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bundle.transforms import CachedCanvas, FitToCanvasd, LoadRadiographd
from bundle.transforms.canvas_building import build_canvases
from scripts.benchmark_loading import Images, consume, loader_of
from scripts.benchmark_reading import SYNTAXES, write
from scripts.benchmark_rows import Row, benchmark, turns
from scripts.benchmark_training import PRECISION, TOWERS, Step, network_of, number_format


@benchmark("gpu.step", needs="a GPU", batches=(2,), repeats=1, tower="tiny", device="cpu", peak=1.0)
def gpu_step(
    batches: Sequence[int] = (8, 16, 32, 64),
    repeats: int = 5,
    tower: str = "ViT-L/14",
    device: str = "cuda",
    peak: float = 989.0,
) -> list[Row]:
    """A fine-tuning step of train.json by the size of its batch.

    Args:
        batches: images of each.
        repeats: steps that are timed, after one that is not; the median counts.
        tower: of `TOWERS`.
        device: where.
        peak: TFLOP/s of the device in bfloat16, dense; an H100's or H200's.
    """
    where, rows, network = torch.device(device), [], network_of(TOWERS[tower])
    for batch in batches:
        step = Step(network, batch, where)
        of = f"{tower}, {step.of}, on {name_of(where)}"
        seconds = timed(step.whole, repeats, where)
        with FlopCounterMode(display=False) as counter:
            step.whole()
        done = counter.get_total_flops() / seconds / 1e12
        rows += [
            Row(f"gpu.step.images_{batch}", f"fine-tuning steps, {of}", (batch / seconds,), "images/s"),
            Row(f"gpu.step.memory_{batch}", "their peak memory", (peak_gb(where),), "GB"),
            Row(f"gpu.step.share_{batch}", "what they compute, against the peak", (done, peak), "TFLOP/s", "as many"),
        ]
    return rows


@benchmark("gpu.inference", needs="a GPU", batches=(2,), repeats=1, tower="tiny", device="cpu")
def gpu_inference(
    batches: Sequence[int] = (1, 32), repeats: int = 5, tower: str = "ViT-L/14", device: str = "cuda"
) -> list[Row]:
    """Maps and scores of canvases that are on the device already; arguments as `gpu_step`'s."""
    where, rows = torch.device(device), []
    network = network_of(TOWERS[tower]).eval().to(where)
    side = network.downscaler.in_size
    for batch in batches:
        image = PRECISION.layout(torch.rand(batch, 1, side, side, device=where))

        def looked_at(image: torch.Tensor = image) -> None:
            with torch.inference_mode(), PRECISION.context(where):
                network(image, full=True)

        seconds = timed(looked_at, repeats, where)
        what = f"maps and scores, {tower}, {batch} images of {side} px, {number_format(where)}, on {name_of(where)}"
        rows.append(Row(f"gpu.inference.images_{batch}", what, (batch / seconds,), "images/s"))
    return rows


@benchmark("gpu.loader", needs="a GPU", images=4, batch=2, repeats=1, tower="tiny", device="cpu", workers=1)
def gpu_loader(
    images: int = 512,
    batch: int = 32,
    repeats: int = 3,
    tower: str = "ViT-L/14",
    device: str = "cuda",
    workers: int | None = None,
) -> list[Row]:
    """Images a second of the loader from the canvas cache, in memory, against those of the step.

    Args:
        images: canvases in the cache.
        batch: images of a batch.
        repeats: epochs and steps that are timed.
        tower: of `TOWERS`.
        device: where.
        workers: processes of the loader; by default one a core.
    """
    where, cores = torch.device(device), workers or len(os.sched_getaffinity(0))
    step = Step(network_of(TOWERS[tower]), batch, where)
    side = step.network.downscaler.in_size
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedCanvas(LoadRadiographd(), FitToCanvasd(size=side), {"folder": f"{folder}/cache"})
        files, rng = [Path(folder) / f"{n}.dcm" for n in range(images)], np.random.default_rng(0)
        for file in files:
            write(file, SYNTAXES["uncompressed"], rng, side, side + side // 5)
        build_canvases(cached, files, cores)
        loader = loader_of(Images(files, cached), batch, cores)
        took = turns({"loader": partial(consume, loader)}, repeats)["loader"]
        given = len(loader) * batch / took
    asked = batch / timed(step.whole, repeats, where)
    what = f"the loader from the canvas cache, {cores} workers, {side} px, against the step of {tower} ({step.of})"
    return [Row("gpu.loader", what, (given, asked), "images/s", "as many", ("at least", 1.0))]


def timed(call: Callable[[], None], repeats: int, device: torch.device) -> float:
    """Median seconds of a call, to the end of what it has asked of the device; the first does not count."""

    def ended() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return turns({"call": ended}, repeats)["call"]


def peak_gb(device: torch.device) -> float:
    """Of the device since `timed` began; of a CPU the process's, since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def name_of(device: torch.device) -> str:
    """Of a GPU its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
