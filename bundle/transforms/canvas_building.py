"""Fills a canvas cache, by several processes, alone or beside other builders; what was interrupted goes on."""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from tqdm import tqdm

from bundle.data.canvas_shards import BUCKETS, KEY_BYTES, SHARD_BYTES, Canvas, CanvasShards, DamagedShardError, size_of
from bundle.reading import RadiographError
from bundle.transforms.cached_canvas import CachedCanvas

logger = logging.getLogger(__name__)

_FORK = mp.get_context("fork")  # a spawned process would import MONAI anew
_LOOK = 0.2  # seconds between looks at the workers, and at buckets that another builder holds


@dataclass
class Built:
    """What a building left.

    Attributes:
        images: how many different ones were asked for.
        there: of these, how many the cache holds now.
        made: how many this builder decoded and wrote.
        refused: what could not be read, each a message that names the file.
        full: whether the bound of the size stopped it.
        size: bytes of the whole cache.
    """

    images: int = 0
    there: int = 0
    made: int = 0
    refused: list[str] = field(default_factory=list)
    full: bool = False
    size: int = 0


class _Shared:
    """What a builder's processes share."""

    def __init__(self) -> None:
        self.passed, self.made = _FORK.Value("q", 0), _FORK.Value("q", 0)
        self.done = _FORK.Array("b", BUCKETS, lock=False)
        self.full = _FORK.Value("b", 0, lock=False)
        self.refused: Any = _FORK.SimpleQueue()
        self.parent = os.getpid()


def build_canvases(
    cached: CachedCanvas, images: Iterable[str | os.PathLike[str]], workers: int = 1, verify: bool = False
) -> Built:
    """Decode what a canvas cache lacks.

    A killed builder loses a shard a process at the most (`SHARD_BYTES`); the next one goes on with the rest. Several
    may build at once.

    Args:
        cached: with a folder.
        images: paths; repeated ones count once.
        workers: processes.
        verify: whether every canvas that is there already is looked at, not its shard's list alone.

    Returns:
        What was built. An image that cannot be read does not stop the others.

    Raises:
        ValueError: the cache has no folder, or workers are below 1.
        OSError: the cache cannot be written.
        RuntimeError: a process ended otherwise.
    """
    if cached.shards is None:
        raise ValueError("canvas_cache#folder is null: give the folder that the canvases go to.")
    if workers < 1:
        raise ValueError(f"workers is {workers}; give 1 or more.")
    buckets: dict[int, dict[bytes, str]] = defaultdict(dict)
    built, shared = Built(), _Shared()
    for image in dict.fromkeys(os.fspath(image) for image in images):
        built.images += 1
        try:
            key = cached.key_of(image)
        except OSError as error:
            built.refused.append(f"{image}: {error.strerror}")
        else:
            buckets[key[0]][key] = image
    work = (cached, dict(sorted(buckets.items())), verify, shared)
    processes = [_FORK.Process(target=_fill, args=(*work, n / workers)) for n in range(workers)]
    try:
        for process in processes:
            process.start()
        with tqdm(total=sum(map(len, buckets.values())), unit="image", desc="Canvases", mininterval=1) as bar:
            while any(process.is_alive() for process in processes):
                time.sleep(_LOOK)
                bar.update(shared.passed.value - bar.n)
                _drain(shared, built)
            bar.update(shared.passed.value - bar.n)
    finally:
        for process in processes:
            process.kill()
            process.join()
    _drain(shared, built)
    if failed := [process.exitcode for process in processes if process.exitcode]:
        raise RuntimeError(f"{len(failed)} of {workers} processes ended with {failed}; what they said is above.")
    built.made, built.full, built.size = shared.made.value, bool(shared.full.value), size_of(cached.shards.root)
    built.there = sum(len(wanted.keys() & _keys(cached.shards, bucket)) for bucket, wanted in buckets.items())
    return built


def remove_other_ways(cached: CachedCanvas) -> list[str]:
    """Remove the canvases of a cache's folder that were made otherwise: with other settings, or by other code.

    Returns:
        The folders' names.

    Raises:
        ValueError: the cache has no folder.
    """
    if cached.shards is None:
        raise ValueError("canvas_cache#folder is null: there is nothing to remove.")
    others = other_ways(cached.shards)
    for folder in others:
        rmtree(folder)
    return [folder.name for folder in others]


def other_ways(shards: CanvasShards) -> list[Path]:
    """The folders of a cache that hold canvases made otherwise."""
    if not shards.root.is_dir():
        return []
    names = {f"{bucket:02x}" for bucket in range(BUCKETS)}
    named = [path for path in shards.root.iterdir() if len(path.name) == 2 * KEY_BYTES and path != shards.folder]
    return [folder for folder in named if folder.is_dir() and {path.name for path in folder.iterdir()} <= names]


def _drain(shared: _Shared, built: Built) -> None:
    while not shared.refused.empty():
        built.refused.append(shared.refused.get())


def _fill(
    cached: CachedCanvas, buckets: dict[int, dict[bytes, str]], verify: bool, shared: _Shared, start: float
) -> None:
    """A process's work: every bucket that is not done, from its own place on, those that another one holds at last."""
    torch.set_num_threads(1)
    assert cached.shards is not None
    order = list(buckets)
    order = order[int(start * len(order)) :] + order[: int(start * len(order))]
    while order and not shared.full.value and os.getppid() == shared.parent:
        held_elsewhere = []
        for bucket in order:
            if shared.done[bucket] or shared.full.value:
                continue
            with cached.shards.locked(bucket) as held:
                if held and not shared.done[bucket]:
                    _fill_bucket(cached, bucket, buckets[bucket], verify, shared)
                    shared.done[bucket] = not shared.full.value
                elif not held:
                    held_elsewhere.append(bucket)
        order = held_elsewhere
        if order:
            time.sleep(_LOOK)


def _fill_bucket(cached: CachedCanvas, bucket: int, wanted: dict[bytes, str], verify: bool, shared: _Shared) -> None:
    shards = cached.shards
    assert shards is not None
    there = _keys(shards, bucket, verify, remove=True)
    missing = {key: image for key, image in wanted.items() if key not in there}
    _count(shared.passed, len(wanted) - len(missing))
    canvases: list[Canvas] = []
    for key, image in missing.items():
        if os.getppid() != shared.parent:
            os._exit(1)  # the builder was killed
        if shared.full.value:
            return
        try:
            canvas = cached.make(image, key)
            if cached.key_of(image) == key:  # else it changed meanwhile
                canvases.append(canvas)
        except (RadiographError, OSError) as error:
            shared.refused.put(str(error))
        _count(shared.passed, 1)
        if sum(canvas.values.nbytes for canvas in canvases) >= SHARD_BYTES:
            _write(cached, bucket, canvases, shared)
            canvases = []
    if canvases:
        _write(cached, bucket, canvases, shared)


def _write(cached: CachedCanvas, bucket: int, canvases: Sequence[Canvas], shared: _Shared) -> None:
    assert cached.shards is not None
    if cached.shards.write(bucket, canvases, cached.settings.most_bytes):
        _count(shared.made, len(canvases))
    else:
        shared.full.value = 1


def _keys(shards: CanvasShards, bucket: int, whole: bool = False, remove: bool = False) -> set[bytes]:
    """The keys of a bucket's shards that are as they were written; damaged ones are removed, where that is wanted."""
    keys: set[bytes] = set()
    for path in shards.shards(bucket):
        try:
            keys |= set(shards.keys_of(path, whole))
        except DamagedShardError as error:
            logger.warning("%s%s", error, ": it is removed, and its images are decoded anew." if remove else ".")
            if remove:
                with suppress(FileNotFoundError):
                    path.unlink()
    return keys


def _count(value: Any, number: int) -> None:
    with value.get_lock():
        value.value += number
