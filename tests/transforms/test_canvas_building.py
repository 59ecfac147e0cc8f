"""Building a canvas cache: several at once, killed, damaged, full; what is left is whole, and nothing is done twice."""

import multiprocessing as mp
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from bundle.data import canvas_shards
from bundle.data.canvas_shards import size_of
from bundle.transforms import CachedCanvas, FitToCanvasd, LoadRadiographd, canvas_building
from bundle.transforms.canvas_building import build_canvases, other_ways, remove_other_ways
from tests.tiny import write_dicom

SIDE, COUNT = 40, 24


class Slow(CachedCanvas):
    """Decoding that takes its time, as that of large files."""

    def make(self, image, key):
        time.sleep(0.05)
        return super().make(image, key)


def step(folder, kind=CachedCanvas, **cache):
    return kind(LoadRadiographd(), FitToCanvasd(size=SIDE), {"folder": str(folder), **cache})


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Radiographs, each of which fills a shard, in few buckets."""
    monkeypatch.setattr(canvas_building, "SHARD_BYTES", 1)
    monkeypatch.setattr(canvas_building, "_LOOK", 0.02)
    rng = np.random.default_rng(0)
    return [write_dicom(tmp_path / f"{n}.dcm", rng.integers(0, 4096, (60, 50))) for n in range(COUNT)]


def shards_of(cached):
    return [path for path in cached.shards.root.rglob("*.arrow") if not path.name.startswith(".")]


def is_right(cached, images):
    """Whether each image has one canvas, its own."""
    found = [cached.shards.get(cached.key_of(image)) for image in images]
    wanted = [cached.make(image, b"") for image in images]
    listed = [key for path in shards_of(cached) for key in cached.shards.keys_of(path, whole=True)]
    assert sorted(listed) == sorted({cached.key_of(image) for image in images})
    return all(np.array_equal(one.values, other.values) for one, other in zip(found, wanted, strict=True))


def build_for(start, told, cached, images):
    start.wait()
    built = build_canvases(cached, images, workers=2)
    told.put((built.made, built.there, built.refused))


def test_two_builders_at_once_share_the_work(tmp_path, images):
    context, cached = mp.get_context("fork"), step(tmp_path / "cache", Slow)
    start, told = context.Barrier(2), context.SimpleQueue()
    builders = [context.Process(target=build_for, args=(start, told, cached, images)) for _ in range(2)]
    for builder in builders:
        builder.start()
    results = [told.get() for _ in builders]
    for builder in builders:
        builder.join(60)
    assert [there for _, there, _ in results] == [COUNT, COUNT]
    made = [made for made, _, _ in results]
    assert sum(made) == COUNT
    assert min(made) > 0
    assert is_right(step(tmp_path / "cache"), images)


def test_a_killed_builder_goes_on(tmp_path, images):
    context, cached = mp.get_context("fork"), step(tmp_path / "cache", Slow)
    start, told = context.Barrier(1), context.SimpleQueue()
    builder = context.Process(target=build_for, args=(start, told, cached, images))
    builder.start()
    deadline = time.monotonic() + 60
    while len(shards_of(cached)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    left = len(shards_of(cached))
    assert 3 <= left < COUNT
    half = shards_of(cached)[0].with_name(".0123.half.arrow")  # what a writer that was killed while writing leaves
    half.write_bytes(b"ARROW1")
    built = build_canvases(step(tmp_path / "cache"), images)
    assert built.there == COUNT
    assert 0 < built.made <= COUNT - left
    assert not half.exists()
    assert is_right(step(tmp_path / "cache"), images)


def test_a_damaged_shard_is_made_anew(tmp_path, images, caplog):
    images = images[:4]
    cached = step(tmp_path / "cache")
    assert build_canvases(cached, images).made == 4
    flipped, cut = shards_of(cached)[:2]
    content = bytearray(flipped.read_bytes())
    content[len(content) // 3] ^= 1  # of the values
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-9])
    assert build_canvases(cached, images).made == 1  # who looks at the lists alone sees but this
    assert build_canvases(cached, images, verify=True).made == 1
    assert is_right(step(tmp_path / "cache"), images)


def test_the_bound_of_the_size_holds(tmp_path, images):
    one = step(tmp_path / "one")
    build_canvases(one, images[:1])
    most = 5.5 * size_of(one.shards.root)
    cached = step(tmp_path / "cache", gib=most / 2**30)
    built = build_canvases(cached, images, workers=2)
    assert built.full
    assert 4 <= built.there == built.made < COUNT
    assert size_of(cached.shards.root) == built.size <= most
    again = build_canvases(cached, images)
    assert (again.made, again.there) == (0, built.there)
    assert cached({"image": str(images[-1])})["image"].shape == (1, SIDE, SIDE)


def test_what_cannot_be_read_is_said_and_stops_nothing(tmp_path, images):
    images[0].write_bytes(b"no image")
    images[1].unlink()
    built = build_canvases(step(tmp_path / "cache"), [*images[:4], images[3]], workers=2)
    assert (built.images, built.there, built.made) == (4, 2, 2)
    assert len(built.refused) == 2
    assert all(any(str(image) in line for line in built.refused) for image in images[:2])


def test_canvases_made_otherwise_are_removed_and_nothing_else(tmp_path, images):
    cached, other = step(tmp_path / "cache"), step(tmp_path / "cache", values="uint8")
    build_canvases(cached, images[:2])
    build_canvases(other, images[:2])
    mine = tmp_path / "cache" / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("")
    assert other_ways(cached.shards) == [other.shards.folder]
    assert remove_other_ways(cached) == [other.digest]
    assert not other.shards.folder.exists()
    assert (mine / "thesis.txt").is_file()
    assert cached._kept(str(images[0])) is not None
    assert other._kept(str(images[0])) is None


def test_shards_hold_several_canvases(tmp_path, images, monkeypatch):
    monkeypatch.setattr(canvas_building, "SHARD_BYTES", canvas_shards.SHARD_BYTES)
    # in one bucket
    monkeypatch.setattr(CachedCanvas, "key_of", lambda self, image: b"\1" + Path(image).stem.rjust(15).encode())
    cached = step(tmp_path / "cache")
    assert build_canvases(cached, images).made == COUNT
    assert len(shards_of(cached)) == 1
    assert is_right(cached, images)


def test_nothing_is_built_without_a_folder_or_workers(tmp_path, images):
    with pytest.raises(ValueError, match="canvas_cache#folder is null"):
        build_canvases(CachedCanvas(LoadRadiographd(), FitToCanvasd(size=SIDE)), images)
    with pytest.raises(ValueError, match="workers is 0"):
        build_canvases(step(tmp_path / "cache"), images, workers=0)
