"""What decoding in a process of its own costs (`python -m scripts.benchmark reading`)."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gdcm
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from scipy.ndimage import gaussian_filter

from bundle.reading import ReadingOptions, read_radiograph
from scripts.benchmark_rows import Row, benchmark, slug

ROOT = Path(__file__).resolve().parent.parent
SYNTAXES = {
    "uncompressed": ExplicitVRLittleEndian,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "RLE": RLELossless,
}
BY_GDCM = {
    JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
}
READERS = (
    "bundle.reading.radiograph",
    "bundle.transforms.radiograph",
)  # where a version has its reader: today's, and of before
IMPORT = """
import time
start = time.perf_counter()
import bundle.reading
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.perf_counter() - start, peak.split()[1])
"""
Reader = Callable[[Path], tuple[np.ndarray, object]]
HERE: Reader = partial(read_radiograph, options=ReadingOptions(isolated=False))


@benchmark("reading.isolated", files=6, repeats=1, smallest=40, largest=60)
def reading_isolated(
    files: int = 200,
    repeats: int = 5,
    smallest: int = 448,
    largest: int = 640,
    seed: int = 0,
    against: str = "",
) -> list[Row]:
    """A row a transfer syntax: milliseconds a file with and without the process.

    Each file is read in both ways in turn; what counts is its fastest reading of each, so that others on the machine do
    not.

    Args:
        files: how many, in all transfer syntaxes together.
        repeats: of each reading.
        smallest, largest: pixels of the images' sides; the demo's by default.
        seed: of the images.
        against: the folder of another version's working tree, whose reader takes the place of ours without the process.
    """
    ways = (read_radiograph, reader_of(Path(against)) if against else HERE)
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(seed)
        written = {
            name: [write(Path(folder) / f"{syntax}_{i}.dcm", syntax, rng, smallest, largest) for i in range(count)]
            for (name, syntax), count in zip(SYNTAXES.items(), shares(files, len(SYNTAXES)), strict=True)
        }
        times = {name: fastest(paths, repeats, ways) for name, paths in written.items()}
    times["all of these"] = np.concatenate(list(times.values()))
    wanted = ("at most", 1.0 if against else 1.05)
    rows = []
    for name, seconds in times.items():
        if len(seconds):  # its ratio is that of the sums over files
            own, here = seconds.mean(axis=0) * 1e3
            said = f"{len(seconds)} files, {name}, {smallest} to {largest} px, a file"
            rows.append(Row(f"reading.isolated.{slug(name)}", said, (own, here), "ms", wanted=wanted))
    return rows


def shares(total: int, parts: int) -> list[int]:
    """`total` in whole parts that differ by at most one."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def write(path: Path, syntax: UID, rng: np.random.Generator, smallest: int, largest: int) -> Path:
    """A 12-bit DX image: soft shapes and the noise of a detector."""
    rows, columns = map(int, rng.integers(smallest, largest, 2, endpoint=True))
    soft = gaussian_filter(rng.normal(size=(rows, columns)), columns / 60)
    values = (soft - soft.min()) / np.ptp(soft) * 3600 + rng.normal(0, 8, (rows, columns))
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = DigitalXRayImageStorageForPresentation, "1.2.3", "DX"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = "1800", "3600"
    ds.PixelData = np.clip(values, 0, 4095).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    if syntax in (JPEG2000Lossless, RLELossless):
        ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
    if syntax in BY_GDCM:
        transcode(path, BY_GDCM[syntax])
    return path


def transcode(path: Path, syntax: int) -> None:
    """Write a file again in a transfer syntax that pydicom does not write."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise SystemExit(f"{path}: GDCM does not read it")
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    if change.Change():
        writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise SystemExit(f"{path}: GDCM does not write it")


def reader_of(tree: Path) -> Reader:
    """The reader of another version, loaded beside ours; it keeps what it has imported."""
    ours = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "bundle"}
    sys.path.insert(0, str(tree.resolve()))
    try:
        module = next(name for name in READERS if (tree / name.replace(".", "/")).with_suffix(".py").is_file())
        reader: Reader = importlib.import_module(module).read_radiograph
    except StopIteration:
        wanted = "wanted a working tree of this project, as `git worktree add` makes it"
        raise SystemExit(f"{tree}: there is no reader there; {wanted}") from None
    finally:
        sys.path.pop(0)
        for name in [name for name in sys.modules if name.partition(".")[0] == "bundle"]:
            del sys.modules[name]
        sys.modules.update(ours)
    return reader


def fastest(paths: list[Path], repeats: int, ways: tuple[Reader, Reader]) -> np.ndarray:
    """Seconds, (files, 2), of the two ways: the fastest of several readings, in turn. Both must agree."""
    times = np.full((len(paths), 2, repeats), np.inf)
    for number in range(repeats):
        for place, path in enumerate(paths):
            images = {}
            for way in (0, 1) if (number + place) % 2 else (1, 0):
                start = time.perf_counter()
                images[way], _ = ways[way](path)
                times[place, way, number] = time.perf_counter() - start
            if number == 0 and not np.array_equal(images[0], images[1]):
                raise SystemExit(f"{path}: the two ways differ")
    return times.min(axis=2)


@benchmark("reading.import", repeats=1)
def reading_import(repeats: int = 5) -> list[Row]:
    """What `import bundle.reading` takes, in a fresh interpreter."""
    command = [sys.executable, "-c", IMPORT]
    place = os.environ | {"PYTHONPATH": str(ROOT)}
    said = [subprocess.check_output(command, env=place, text=True) for _ in range(repeats)]
    seconds, kilobytes = np.array([line.split() for line in said], dtype=float).min(axis=0)
    return [
        Row("reading.import.time", "import bundle.reading", (seconds,), "s", wanted=("at most", 3.0)),
        Row("reading.import.memory", "the same", (kilobytes / 1024,), "MB", wanted=("at most", 150.0)),
    ]
