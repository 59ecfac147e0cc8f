"""PNG, TIFF, JPEG, NIfTI, MetaImage and HDF5 files that are damaged or of another kind, and files that are no image."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
from PIL import Image

from bundle.data.inputs import radiograph_files
from bundle.reading import ReadingOptions, read_radiograph
from tests.corpus.bad import Bad
from tests.corpus.radiographs import reads
from tests.reading.plain_files import chunk, jpeg, png

NOISE = np.random.default_rng(0).integers(0, 255, (40, 48), np.uint8)


def saved(pixels: Any, kind: str, **how: Any) -> bytes:
    """A picture as Pillow writes it."""
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind, **how)
    return out.getvalue()


@cache
def nifti(shape: tuple[int, ...] = (48, 40, 1), **header: Any) -> bytes:
    """A NIfTI file of noise."""
    values = np.resize(NOISE, shape).astype(np.uint8)
    return bytes(nibabel.Nifti1Image(values, np.diag([-1.0, -1, 1, 1])).to_bytes())


def meta(**fields: Any) -> bytes:
    """A MetaImage file of noise; a field of None is left out."""
    stated = {"ObjectType": "Image", "NDims": 2, "DimSize": "48 40", "ElementType": "MET_UCHAR"}
    lines = [f"{name} = {value}" for name, value in (stated | fields).items() if value is not None]
    return "\n".join([*lines, "ElementDataFile = LOCAL", ""]).encode() + NOISE.tobytes()


def put(content: bytes, place: int, new: bytes) -> bytes:
    """Bytes with some of them replaced."""
    return content[:place] + new + content[place + len(new) :]


def cut(content: bytes) -> dict[str, bytes]:
    """The beginnings of a file."""
    return {f"cut at {share:.0%}": content[: max(12, int(share * len(content)))] for share in (0.02, 0.3, 0.6, 0.9)}


def pngs() -> Iterator[tuple[str, bytes]]:
    """PNG files."""
    good = png(NOISE)
    yield from cut(good).items()
    yield "a byte of its pixels", put(good, len(good) // 2, bytes([good[len(good) // 2] ^ 255]))
    yield "its header's checksum", put(good, 30, b"\0\0")
    yield (
        "more rows than pixels",
        png(NOISE).replace(good[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 400, 8, 0, 0, 0, 0))),
    )
    yield "no columns", good.replace(good[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 40, 8, 0, 0, 0, 0)))
    yield "3 bits", good.replace(good[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 40, 3, 0, 0, 0, 0)))
    yield "no pixels", good[:33] + chunk(b"IEND", b"")
    yield "colours", saved(np.stack([NOISE, NOISE // 2, NOISE // 3], -1), "PNG")
    yield "transparency", saved(np.dstack([NOISE, NOISE, NOISE, NOISE]), "PNG")
    yield (
        "huge by its header",
        good.replace(good[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))),
    )


def jpegs() -> Iterator[tuple[str, bytes]]:
    """JPEG files."""
    good = jpeg(NOISE)
    yield from cut(good).items()
    frame = good.index(b"\xff\xc0")
    yield "no rows", put(good, frame + 5, b"\0\0")
    yield "5 components", put(good, frame + 9, b"\5")
    yield "its tables", put(good, 22, bytes(60))
    yield "colours", jpeg(np.stack([NOISE, 255 - NOISE, NOISE // 3], -1))


def tiffs() -> Iterator[tuple[str, bytes]]:
    """TIFF files."""
    good = saved(NOISE, "TIFF", compression="tiff_deflate")
    yield from cut(good).items()
    yield "its directory elsewhere", put(good, 4, struct.pack("<I", 2**31))
    yield "its directory at the start", put(good, 4, struct.pack("<I", 0))
    yield "its pixels", put(good, 12, bytes(200))
    out = BytesIO()
    Image.fromarray(NOISE).save(out, "TIFF", save_all=True, append_images=[Image.fromarray(NOISE)])
    yield "two pages", out.getvalue()
    yield "colours", saved(np.stack([NOISE, NOISE // 2, NOISE // 3], -1), "TIFF")


def niftis() -> Iterator[tuple[str, bytes]]:
    """NIfTI files; the header's fields are at the places that NIfTI-1 gives them."""
    good = nifti()
    yield from cut(good).items()
    yield "a volume", nifti((24, 20, 5))
    yield "a time series", nifti((24, 20, 1, 3))
    yield "9 axes", put(good, 40, struct.pack("<h", 9))
    yield "no axes", put(good, 40, struct.pack("<h", 0))
    yield "a negative length", put(good, 42, struct.pack("<h", -48))
    yield "a type that is none", put(good, 70, struct.pack("<h", 999))
    yield "colours", put(good, 70, struct.pack("<hh", 128, 24))
    yield "its pixels elsewhere", put(good, 108, struct.pack("<f", 1e9))
    yield "an affine of zeros", put(put(good, 252, struct.pack("<hh", 0, 1)), 280, bytes(48))
    yield "an affine of no numbers", put(good, 280, struct.pack("<12f", *([np.nan] * 12)))
    yield "no header", b"a report" * 60


def metas() -> Iterator[tuple[str, bytes]]:
    """MetaImage files."""
    yield "cut", meta()[:-300]
    yield "no length", meta(DimSize=None)
    yield "a length of words", meta(DimSize="wide high")
    yield "more pixels than it holds", meta(DimSize="4800 4000")
    yield "no type", meta(ElementType=None)
    yield "a type that is none", meta(ElementType="MET_GREY")
    yield "a volume", meta(NDims=3, DimSize="24 20 4")
    yield "colours", meta(DimSize="16 40", ElementNumberOfChannels=3)
    yield "pixels in another folder", meta().replace(b"LOCAL", b"../secret.raw")


def hdf5s() -> Iterator[Bad]:
    """HDF5 files, and paths into them."""
    rows = np.random.default_rng(1).random((2, 40, 48), np.float32)

    def of(
        path: str, spoil: Callable[[bytes], bytes] = lambda content: content, **arrays: Any
    ) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            with h5py.File(folder / "a.h5", "w") as file:
                for name, values in {"cxr": rows, **arrays}.items():
                    file[name] = values
            (folder / "a.h5").write_bytes(spoil((folder / "a.h5").read_bytes()))
            return lambda: read_radiograph(folder / "a.h5" / path)

        return prepare

    yield Bad("HDF5, a row too far", of("cxr/2"), ("a.h5", "has 2 rows"))
    yield Bad("HDF5, another array", of("cx/0"), ("a.h5", "cx"))
    yield Bad("HDF5, no row", of("cxr/first"), ("a.h5", "names no row"))
    yield Bad("HDF5, the file itself", of(""), ("a.h5",))
    yield Bad("HDF5, a flat array", of("flat/0", flat=rows[0]), ("a.h5", "(40, 48)"))
    yield Bad("HDF5, words", of("words/0", words=[b"secret"]), ("a.h5", "words"))
    yield Bad("HDF5, colours", of("rgb/0", rgb=np.zeros((2, 4, 5, 3))), ("a.h5", "(2, 4, 5, 3)"))
    yield Bad("HDF5, nothing finite", of("nan/0", nan=rows * np.nan), ("a.h5", "finite"))
    yield Bad("HDF5, a pixel of no picture", of("thin/0", thin=rows[:, :0]), ("a.h5",))
    for share in (0.01, 0.4):
        spoil = lambda content, share=share: content[: int(share * len(content))]  # noqa: E731
        yield Bad(f"HDF5, cut at {share:.0%}", of("cxr/0", spoil), ("a.h5",))
    yield Bad("HDF5, its first bytes", of("cxr/0", lambda content: put(content, 0, bytes(96))), ("a.h5",))


OTHERS: dict[str, tuple[str, bytes]] = {
    "an empty file": ("a.dcm", b""),
    "a text": ("a.txt", b"Secret^Name has an effusion."),
    "a page": ("a.dcm", b"<html><body>not found</body></html>"),
    "a ZIP archive": ("a.dcm", b"PK\x03\x04" + bytes(300)),
    "a gzip archive": ("a.gz", gzip.compress(b"secret")),
    "a BMP": ("a.bmp", b"BM\x36\x03\0\0\0\0\0\0" + bytes(300)),
    "a JPEG 2000 file": ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(300)),
    "a PDF": ("a.pdf", b"%PDF-1.7\n" + bytes(300)),
    "a gzipped NIfTI that is none": ("a.nii.gz", b"\x1f\x8b" + bytes(200)),
    "a NIfTI cut in its gzip": ("a.nii.gz", gzip.compress(nifti())[:-600]),
    "a checkpoint": ("a.pt", b"PK\x03\x04" + bytes(20) + b"archive/data.pkl" + bytes(300)),
}


def plain() -> Iterator[Bad]:
    """All of them but HDF5."""
    kinds = {"png": pngs, "jpg": jpegs, "tif": tiffs, "nii": niftis, "mha": metas}
    for suffix, made in kinds.items():
        for name, content in made():
            yield Bad(f"{suffix}, {name}", reads(content, f"a.{suffix}"), (f"a.{suffix}",))
    for name, (file, content) in OTHERS.items():
        yield Bad(name, reads(content, file), (file,))


OPTIONS: dict[str, Any] = {
    "voi_indx": 1,
    "voi_index": -1,
    "prefer_lut": 1,
    "value_range": [4095],
    "percentiles": [0, 101],
    "isolated": "no",
    "flat": "pass",
    "frontal": "lateral",
}


def readings() -> Iterator[Bad]:
    """What a configuration says of reading that cannot be meant; and folders to look at."""

    def option(section: Any) -> Callable[[Path], Callable[[], Any]]:
        return lambda _: lambda: ReadingOptions.of(section)

    for key, value in OPTIONS.items():
        yield Bad(f"reading#{key}", option({key: value}), (f"reading#{key}",))
    yield Bad("reading as a list", option([1]), ("reading is [1]",))

    def folder_of(*names: str, **choice: Any) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            for name in names:
                (folder / name).write_bytes(b"a report" if name != "whole.png" else png(NOISE))
            return lambda: radiograph_files(folder, **choice)

        return prepare

    yield Bad("an empty folder", folder_of(), ("no such file in it",))
    yield Bad("a folder of texts", folder_of("a.txt", "b.csv"), ("none readable", "a.txt"))
    yield Bad("no folder", lambda folder: lambda: radiograph_files(folder / "none"), ("none", "no such file or folder"))
    yield Bad("a bad file too many", folder_of("whole.png", "b.dcm", max_bad_share=0.4), ("b.dcm", "max_bad_share"))
    yield Bad("a bad file at all", folder_of("whole.png", "b.dcm", on_bad_image="raise"), ("b.dcm", "on_bad_image"))
    yield Bad("on_bad_image", folder_of("whole.png", on_bad_image="stop"), ("on_bad_image", "'stop'"))
    yield Bad("max_bad_share", folder_of("whole.png", max_bad_share="5%"), ("max_bad_share", "5%"))
    yield Bad("check", folder_of("whole.png", check="all"), ("check", "'all'"))
