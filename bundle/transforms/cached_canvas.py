"""A radiograph's canvas, from the canvas cache where it is there and as it was made, else decoded."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import os
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

import bundle.reading
from bundle.comments import arguments_in
from bundle.data.canvas_shards import (
    REMEDY,
    VALUES,
    Canvas,
    CanvasShards,
    DamagedShardError,
    key_digest,
    quantise,
    restore,
)
from bundle.reading.hdf5_file import file_of
from bundle.reading.metaimage import pixels_beside
from bundle.reading.upright import AS_STORED, Upright
from bundle.transforms import canvas, radiograph
from bundle.transforms.dictionary import FitToCanvasd
from bundle.transforms.radiograph import BOXES, LoadRadiographd, turned_boxes, upright_metadata

logger = logging.getLogger(__name__)

Sample = dict[Hashable, Any]

LIBRARIES = (
    *("numpy", "torch", "scipy", "pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm"),
    *("pyjpegls", "pillow", "tifffile", "nibabel", "itk", "h5py", "scikit-image"),
)
"""What decodes and resizes."""
_TUPLE = "a tuple"


@dataclass(frozen=True)
class CacheSettings:
    """The section `canvas_cache` of a configuration.

    Attributes:
        folder: of the cache; None decodes every image whenever it is wanted.
        values: as what grey values are kept: "uint16", off by 7.8e-6 of their range at the most, "uint8", off by .002,
            or "float32", to the bit (`bundle.data.canvas_shards.quantise`).
        gib: size of all that the folder holds, at the most; None for no bound.
    """

    folder: str | None = None
    values: str = "uint16"
    gib: float | None = 100.0

    def __post_init__(self) -> None:
        """Refuses what cannot be meant."""
        if self.folder is not None and not isinstance(self.folder, str | os.PathLike):
            raise ValueError(f"canvas_cache#folder is {self.folder!r}; wanted a folder, or null for no cache")
        if self.values not in VALUES:
            raise ValueError(f"canvas_cache#values is {self.values!r}; wanted one of {', '.join(VALUES)}")
        number = isinstance(self.gib, int | float) and not isinstance(self.gib, bool)
        if self.gib is not None and not (number and 0 < self.gib < math.inf):
            raise ValueError(f"canvas_cache#gib is {self.gib!r}; wanted a number above 0, or null for no bound")

    @classmethod
    def of(cls, section: Mapping[str, Any] | None) -> CacheSettings:
        """Settings from a section of a configuration; None has the defaults.

        Raises:
            ValueError: for a name that is none of them, or a value that cannot be meant.
        """
        return cls(**arguments_in("canvas_cache", section, cls))

    @property
    def most_bytes(self) -> float:
        """The bound."""
        return math.inf if self.gib is None else self.gib * 2**30


class CachedCanvas(Transform):
    """`LoadRadiographd` and `FitToCanvasd`, and before them a cache of canvases where `canvas_cache#folder` is set.

    A canvas of the cache is used for an image of the same path, size and time of change (of an HDF5 file: the file's),
    made with the same reading options, canvas size and kind of values, by the same code of the reader and the canvas
    and the same versions of the libraries that decode. Its sample has the keys, and up to the rounding of `values` the
    numbers, that the two steps give. Any other image is decoded: each process logs the first one, and each damaged
    shard. Nothing is written here; `scripts.build_cache` does that.

    Args:
        load: reads the image.
        fit: makes it a canvas.
        cache: fields of `CacheSettings`; None is no cache.

    Raises:
        ValueError: settings that cannot be meant, or steps for other keys than one and the same.
    """

    def __init__(self, load: LoadRadiographd, fit: FitToCanvasd, cache: Mapping[str, Any] | None = None) -> None:
        if load.keys != fit.keys or len(load.keys) != 1:
            raise ValueError(f"CachedCanvas: wanted one key, the same in both steps, got {load.keys} and {fit.keys}")
        self.load, self.fit = load, fit
        (self.key,) = load.keys
        self.settings = CacheSettings.of(cache)
        self.shards: CanvasShards | None = None
        self._told: set[str] = set()
        if self.settings.folder is not None:
            self.digest = key_digest(json.dumps(self.way(), sort_keys=True).encode()).hexdigest()
            folder = Path(self.settings.folder).absolute()
            self.shards = CanvasShards(folder, self.digest, self.fit.size[0], self.settings.values)

    def way(self) -> dict[str, Any]:
        """All that decides on a canvas, but for its file."""
        options = {name: value for name, value in asdict(self.load.options).items() if name != "isolated"}
        return {"size": self.fit.size, "values": self.settings.values, "reading": options, "code": code_version()}

    def key_of(self, image: str | os.PathLike[str]) -> bytes:
        """The key of an image: of its path, and the size and time of change of the file or files that hold it.

        Raises:
            OSError: there is no such file.
        """
        path = Path(image).absolute()
        files = [file_of(path), *pixels_beside(path)]
        stamps = [(stamp.st_size, stamp.st_mtime_ns) for stamp in (file.stat() for file in files)]
        return key_digest(json.dumps([self.digest, os.fspath(path), stamps]).encode()).digest()

    def make(self, image: str | os.PathLike[str], key: bytes) -> Canvas:
        """Decode an image for the cache. Raises as `LoadRadiographd`."""
        sample = self.fit(self.load({self.key: image}))
        reading = {name: value for name, value in sample["reading"].items() if name != "filename_or_obj"}
        said = {"reading": reading, "affine": sample["canvas_from_stored"].tolist()}
        values = quantise(sample[self.key].as_tensor().numpy()[0], self.settings.values)
        return Canvas(key, values, json.dumps(_marked(said)).encode())

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        kept = self._kept(data[self.key]) if self.shards is not None else None
        return self.fit(self.load(data)) if kept is None else self._as_loaded(data, kept)

    def _kept(self, image: str | os.PathLike[str]) -> Canvas | None:
        assert self.shards is not None
        try:
            kept = self.shards.get(self.key_of(image))
        except DamagedShardError as error:
            self._tell(str(error), REMEDY)
            return None
        except OSError:
            return None  # the reader says what is wrong with the file
        if kept is None:
            what = f"canvas_cache {self.settings.folder}: an image is not in it, or not as it is read now"
            self._tell(what, "Such images are decoded; python -m scripts.build_cache adds them.")
        return kept

    def _tell(self, what: str, remedy: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s. %s", what, remedy)

    def _as_loaded(self, data: Mapping[Hashable, Any], kept: Canvas) -> Sample:
        """The sample that the two steps would have made."""
        d, name, said = dict(data), os.fspath(data[self.key]), json.loads(kept.said, object_hook=_unmarked)
        meta = d["reading"] = {"filename_or_obj": name, **said["reading"]}
        turn, stored = Upright.of(meta["orientation"]), meta["stored_size"]
        upright = meta | upright_metadata(turn, meta)
        if turn != AS_STORED and BOXES in d:
            d[BOXES] = turned_boxes(d[BOXES], turn, stored)
        d["stored_size"] = torch.tensor(upright["stored_size"])
        d["pixel_mm"] = torch.tensor(upright["spacing"] or (torch.nan, torch.nan), dtype=torch.float64)
        d[self.key] = MetaTensor(torch.from_numpy(restore(kept.values)[None]), meta={"filename_or_obj": name})
        d["canvas_from_stored"] = torch.tensor(said["affine"], dtype=torch.float64)
        return d


@cache
def code_version() -> str:
    """A digest of the code that makes a canvas: the reader, the two steps, and the versions of `LIBRARIES`."""
    digest = hashlib.sha256()
    sources = sorted(Path(bundle.reading.__file__).parent.rglob("*.py"))
    for path in (*sources, Path(canvas.__file__), Path(radiograph.__file__)):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(inspect.getsource(FitToCanvasd).encode())
    installed = {name: _version(name) for name in LIBRARIES}
    digest.update(json.dumps(installed).encode())
    return digest.hexdigest()[:16]


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _marked(value: Any) -> Any:
    """A value whose tuples JSON will not take for lists."""
    if isinstance(value, dict):
        return {name: _marked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_marked(item) for item in value]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    return value


def _unmarked(value: dict[str, Any]) -> Any:
    return tuple(value[_TUPLE]) if value.keys() == {_TUPLE} else value
