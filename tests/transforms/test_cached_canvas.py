"""What comes from the canvas cache is what decoding gives, within the stated rounding; what is not that is not used."""

import logging
import os
import random
import re
import sys

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from bundle.data.canvas_shards import Canvas, CanvasShards, DamagedShardError, quantise, restore
from bundle.transforms import CachedCanvas, FitToCanvasd, LoadRadiographd, cached_canvas
from tests.reading.files import write_itk
from tests.tiny import write_dicom

SIDE = 48
BOUNDS = {"float32": 0, "uint16": 0.51 / 65535, "uint8": 0.51 / 255}


def step(folder, size=SIDE, reading=None, **cache):
    return CachedCanvas(
        LoadRadiographd(options=reading), FitToCanvasd(size=size), {"_desc_": "", "folder": str(folder), **cache}
    )


def fill(cached, images):
    """Put images into a cache as a builder does, here: each process that decodes costs seconds."""
    for image in images:
        key = cached.key_of(image)
        with cached.shards.locked(key[0]) as held:
            assert held
            assert cached.shards.write(key[0], [cached.make(image, key)], np.inf)


@pytest.fixture
def images(tmp_path):
    """A turned one, one with unknown spacing, one with a note."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4096, (60, 40))
    quiet = rng.integers(1000, 1100, (30, 50))
    return [
        write_dicom(tmp_path / "plain.dcm", pixels),
        write_dicom(tmp_path / "windows.dcm", pixels, WindowCenter=[900, 2000], WindowWidth=[1800, 4000]),
        write_dicom(tmp_path / "turned.dcm", pixels, PatientOrientation=["F", "L"], PixelSpacing=[0.3, 0.2]),
        write_dicom(tmp_path / "unknown.dcm", pixels, PixelSpacing=None, PhotometricInterpretation="MONOCHROME1"),
        write_dicom(tmp_path / "noted.dcm", quiet),
        write_dicom(tmp_path / "small.dcm", pixels[:20, :16]),
    ]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """One of each other format."""
    folder = tmp_path_factory.mktemp("others")
    pixels = np.random.default_rng(0).integers(0, 4096, (60, 40))
    Image.fromarray((pixels // 16).astype(np.uint8)).save(folder / "a.png")
    nibabel.save(nibabel.Nifti1Image(pixels.astype(np.int16), np.diag([-0.2, -0.4, 1, 1])), folder / "a.nii.gz")
    written = [write_itk(pixels.astype(np.int16), folder / name) for name in ("a.mha", "b.mhd")]
    return [*written, folder / "a.png", folder / "a.nii.gz"]


def same(one, other, bound):
    """Whether two samples are equal, types too; images within a bound."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert type(value) is type(other[key]), key
        if isinstance(value, MetaTensor):
            assert value.meta.keys() == other[key].meta.keys()
            assert value.meta["filename_or_obj"] == other[key].meta["filename_or_obj"]
            assert value.shape == other[key].shape
            assert value.dtype == other[key].dtype
            assert torch.equal(value > 0, other[key] > 0)  # what pads a canvas, and only that, is 0
            assert (value.double() - other[key].double()).abs().max() <= bound
        elif isinstance(value, torch.Tensor | np.ndarray):
            assert value.dtype == other[key].dtype
            np.testing.assert_array_equal(value, other[key])
        else:
            assert repr(value) == repr(other[key])  # 1 is not 1.0, a tuple no list


@pytest.mark.parametrize("values", BOUNDS)
def test_a_sample_of_the_cache_is_the_decoded_one(tmp_path, images, others, values, monkeypatch):
    images = images + others
    cached = step(tmp_path / "cache", values=values)
    decoded = FitToCanvasd(size=SIDE)
    wanted = []
    for n, image in enumerate(images):
        data = {"image": str(image), "boxes": np.array([[1.0, 2, 7 + n, 9]], np.float32), "index": n}
        wanted.append((data, decoded(LoadRadiographd()(data))))
    fill(cached, images)
    monkeypatch.setattr(LoadRadiographd, "__call__", None)  # nothing is decoded from here
    for data, sample in wanted:
        same(cached(data), sample, BOUNDS[values])
    assert any(sample["reading"]["notes"] for _, sample in wanted)


@pytest.mark.parametrize(("values", "bound"), BOUNDS.items())
def test_rounding_is_bounded_and_what_is_seen_stays_so(values, bound):
    greys = np.concatenate([np.linspace(0, 1, 100_001), [1e-9, 1e-6, 1e-3]]).astype(np.float32)
    back = restore(quantise(greys, values))
    off = np.abs(back.astype(np.float64) - greys)
    assert off[greys >= bound].max(initial=0) <= bound
    assert off.max() <= 2 * bound
    assert back[0] == 0
    assert back[100_000] == 1
    assert (back[1:] > 0).all()


def test_without_a_folder_every_image_is_decoded(images):
    cached = CachedCanvas(LoadRadiographd(), FitToCanvasd(size=SIDE), {"folder": None})
    assert cached.shards is None
    same(cached({"image": str(images[0])}), FitToCanvasd(size=SIDE)(LoadRadiographd()({"image": str(images[0])})), 0)


def is_used(cached, image):
    return cached._kept(str(image)) is not None


def test_a_changed_image_or_setting_is_not_taken_for_the_one_that_was_cached(tmp_path, images, monkeypatch, caplog):
    folder = tmp_path / "cache"
    cached = step(folder)
    fill(cached, images)
    assert all(is_used(cached, image) for image in images)
    assert is_used(step(folder, reading={"isolated": False}), images[1])  # changes no pixel
    otherwise = [
        step(folder, size=SIDE + 4),
        step(folder, values="uint8"),
        step(folder, reading={"voi_index": 1}),
        step(folder, reading={"flat": "refuse"}),
    ]
    assert not any(is_used(other, images[1]) for other in otherwise)
    with monkeypatch.context() as patch:
        patch.setattr(cached_canvas, "code_version", lambda: "of tomorrow")
        assert not is_used(step(folder), images[1])
    stamp = images[0].stat()
    os.utime(images[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert not is_used(cached, images[0])
    (tmp_path / "elsewhere").mkdir()
    assert not is_used(cached, images[1].rename(tmp_path / "elsewhere" / images[1].name))
    told = [record.getMessage() for record in caplog.records if "is not in it" in record.getMessage()]
    assert sum(str(folder) in line and "scripts.build_cache" in line for line in told) == len(told) == 6  # once a step
    # what is not used is decoded as ever
    same(cached({"image": str(images[0])}), FitToCanvasd(size=SIDE)(LoadRadiographd()({"image": str(images[0])})), 0)


def test_the_pixels_beside_a_header_are_part_of_the_image(others):
    cached, header = step("nowhere"), others[1]
    before = cached.key_of(header)
    raw = header.with_suffix(".raw")
    os.utime(raw, ns=(raw.stat().st_atime_ns, raw.stat().st_mtime_ns + 1))
    assert cached.key_of(header) != before


def test_every_library_of_the_reader_is_part_of_the_key():
    folder = cached_canvas.Path(cached_canvas.bundle.reading.__file__).parent
    sources = "".join(path.read_text() for path in folder.glob("*.py"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)[ .]", sources, re.MULTILINE)) - {"bundle", "__future__"}
    others = {"PIL": "pillow", "gdcm": "python-gdcm", "skimage": "scikit-image"}
    libraries = {others.get(name, name) for name in imported - sys.stdlib_module_names}
    assert {"pydicom", "numpy", "itk"} < libraries <= set(cached_canvas.LIBRARIES)
    assert all(cached_canvas._version(name) for name in cached_canvas.LIBRARIES)
    assert cached_canvas._version("numpy") == np.__version__


def test_what_comes_later_is_found_without_a_new_start(tmp_path, images):
    cached = step(tmp_path / "cache")
    fill(cached, images[:1])
    assert not is_used(cached, images[1])
    fill(step(tmp_path / "cache"), images[1:2])
    assert is_used(cached, images[1])


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    """Whatever bits of a shard change, a canvas of it is as it was written, or it is refused or not found."""
    rng, draw = np.random.default_rng(0), random.Random(0)
    kept = [Canvas(b"\7" + rng.bytes(15), rng.integers(0, 65535, (24, 24)).astype(np.uint16), b"{}") for _ in range(3)]
    shards = CanvasShards(tmp_path, "0" * 32, 24, "uint16")
    with shards.locked(7) as held:
        assert held
        assert shards.write(7, kept, np.inf)
    (path,) = shards.shards(7)
    whole = path.read_bytes()
    seen = {"as written": 0, "refused": 0, "not found": 0}
    for n in range(300):
        damaged = bytearray(whole)
        if n % 10:
            at = draw.randrange(len(whole)) if n % 2 else draw.randrange(len(whole) - 1500, len(whole))  # the footer
            damaged[at] ^= 1 << draw.randrange(8)
        else:
            del damaged[draw.randrange(len(whole)) :]
        path.write_bytes(damaged)
        fresh = CanvasShards(tmp_path, "0" * 32, 24, "uint16")
        for canvas in kept:
            try:
                found = fresh.get(canvas.key)
            except DamagedShardError:
                seen["refused"] += 1
                continue
            seen["not found" if found is None else "as written"] += 1
            assert found is None or (found.said == canvas.said and np.array_equal(found.values, canvas.values))
    assert min(seen.values()) > 30, seen


def test_a_damaged_canvas_is_decoded_with_a_line(tmp_path, images, caplog):
    cached = step(tmp_path / "cache")
    fill(cached, images)
    wanted = cached({"image": str(images[0])})["image"]
    key = cached.key_of(images[0])
    path, _ = cached.shards._place(key)
    content = bytearray(path.read_bytes())
    at = content.index(cached.shards.get(key).values.tobytes())
    content[at + 1000] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        sample = cached({"image": str(images[0])})
    (line,) = [record.getMessage() for record in caplog.records if "a checksum" in record.getMessage()]
    assert str(path) in line
    assert "--verify true" in line
    same({"image": sample["image"]}, {"image": wanted}, BOUNDS["uint16"])


def test_nobody_else_may_look_and_nobody_is_named(tmp_path, images):
    cached = step(tmp_path / "cache")
    fill(cached, images)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) > len(images)
    for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    for path in files:
        content = path.read_bytes()
        assert not any(text in content for text in (b"Secret", b"SECRET", b".dcm", b".png", str(tmp_path).encode()))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"values": "int4"}, "canvas_cache#values is 'int4'; wanted one of uint8, uint16, float32"),
        ({"gib": 0}, "canvas_cache#gib is 0; wanted a number above 0"),
        ({"gb": 7}, "canvas_cache#gb is not known; wanted folder, values, gib"),
        ({"folder": 7}, "canvas_cache#folder is 7; wanted a folder"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        CachedCanvas(LoadRadiographd(), FitToCanvasd(), settings)
