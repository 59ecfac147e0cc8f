"""Canvases kept in Arrow shards: what a radiograph costs to decode is paid once.

A folder holds a folder for each way of making canvases, named by a digest of it, and in that 256 buckets by the first
byte of an image's key. A bucket's shards are Arrow files of about `SHARD_BYTES`, a record batch a canvas: its key, the
values, what the reader said as JSON, and a CRC-32 of all three; the file's metadata list the keys. A shard is there
whole or not at all, and never changed. Who writes into a bucket holds its lock, which ends with the process: writers on
one machine, or on several over a file system with locks, share the work and do nothing twice.

Keys are digests: neither paths nor patients are in a shard. Folders and files are the user's alone (0700, 0600).
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bundle.atomic import atomic_path

if TYPE_CHECKING:  # else inference would need it
    import pyarrow as pa

logger = logging.getLogger(__name__)

REMEDY = "Its images are decoded instead; python -m scripts.build_cache --verify true makes it anew."
KEY_BYTES = 16
BUCKETS = 256
SHARD_BYTES = 2**26  # what a writer holds in memory, and what a killed one loses at the most
VALUES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("uint8", "uint16", "float32")}
_KEYS, _SIDE, _TYPE = b"keys", b"side", b"values"

key_digest = partial(hashlib.blake2b, digest_size=KEY_BYTES)


class DamagedShardError(ValueError):
    """A shard, or a canvas in it, is not what was written; the message names the file."""


@dataclass(frozen=True)
class Canvas:
    """A canvas as it is kept.

    Attributes:
        key: KEY_BYTES bytes.
        values: (S, S) of one of `VALUES`.
        said: JSON of what the reader said.
    """

    key: bytes
    values: npt.NDArray[Any]
    said: bytes


def quantise(image: npt.NDArray[np.float32], values: str) -> npt.NDArray[Any]:
    """Grey values 0..1 as they are kept: q = ⌊N x + 1/2⌋ of the N that the type holds, and x itself as float32.

    What is above 0 stays above 0 (q at least 1), because only what pads a canvas is 0 (`bundle.exposed`). So q / N is
    off by .51 / N at the most, by 1 / N where x is below .5 / N: 7.8e-6 of the range with uint16, .002 with uint8.
    """
    if values == "float32":
        return image
    kind = VALUES[values]
    scaled = image * float(np.iinfo(kind).max)
    scaled += 0.5
    kept: npt.NDArray[Any] = np.maximum(scaled.astype(kind), image > 0)
    return kept


def restore(kept: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """A copy of kept values as float32, 0..1."""
    image = kept.astype(np.float32)
    if kept.dtype != np.float32:
        image /= float(np.iinfo(kept.dtype).max)
    return image


class CanvasShards:
    """The canvases of one way of making them.

    Args:
        folder: of the cache; it need not be there.
        digest: of the way, the name of its folder.
        side: S of the canvases, pixels.
        values: one of `VALUES`.
    """

    def __init__(self, folder: Path, digest: str, side: int, values: str) -> None:
        self.root, self.folder = folder, folder / digest
        self.side, self.values = side, values
        self._known: dict[int, _Bucket] = {}

    def get(self, key: bytes) -> Canvas | None:
        """The canvas of a key, its values a view of the mapped file; None where there is none.

        Raises:
            DamagedShardError: it is not what was written.
        """
        place = self._place(key)
        if place is None:
            return None
        path, row = place
        import pyarrow as pa

        try:
            with pa.memory_map(os.fspath(path)) as file:
                return self._row(pa.ipc.open_file(file).get_batch(row), key)
        except FileNotFoundError:
            return None  # removed since
        except _broken() as error:
            raise DamagedShardError(
                f"{path} is damaged or cannot be read ({str(error) or type(error).__name__})"
            ) from error

    def keys(self, bucket: int) -> set[bytes]:
        """The keys of a bucket. Raises as `keys_of`."""
        return {key for path in self.shards(bucket) for key in self.keys_of(path)}

    def shards(self, bucket: int) -> list[Path]:
        """The files of a bucket."""
        return sorted(path for path in self._bucket(bucket).glob("*.arrow") if not path.name.startswith("."))

    def keys_of(self, path: Path, whole: bool = False) -> list[bytes]:
        """The keys of a shard.

        Args:
            path: the shard.
            whole: whether every canvas is looked at.

        Raises:
            DamagedShardError: it is not what was written; but for `whole`, only where its list of keys shows that.
        """
        import pyarrow as pa

        try:
            with pa.memory_map(os.fspath(path)) as file:
                reader = pa.ipc.open_file(file)
                about = reader.schema.metadata or {}
                listed = about[_KEYS]
                keys = [listed[at : at + KEY_BYTES] for at in range(0, len(listed), KEY_BYTES)]
                if (about[_SIDE], about[_TYPE]) != (str(self.side).encode(), self.values.encode()):
                    raise ValueError("it holds canvases of another size or type")
                if len(keys) != reader.num_record_batches:
                    raise ValueError(f"it lists {len(keys)} canvases and holds {reader.num_record_batches}")
                for row in range(len(keys) if whole else 0):
                    self._row(reader.get_batch(row), keys[row])
                return keys
        except FileNotFoundError:
            return []
        except _broken() as error:
            raise DamagedShardError(
                f"{path} is damaged or cannot be read ({str(error) or type(error).__name__})"
            ) from error

    def write(self, bucket: int, canvases: Sequence[Canvas], most_bytes: float) -> bool:
        """Write a shard into a bucket whose lock is held; False, and nothing, where the cache would grow beyond a size.

        Args:
            bucket: its number.
            canvases: of keys that belong there.
            most_bytes: of all shards of the whole cache.

        Raises:
            OSError: it cannot be written.
        """
        import pyarrow as pa

        listed = b"".join(canvas.key for canvas in canvases)
        about = {_KEYS: listed, _SIDE: str(self.side).encode(), _TYPE: self.values.encode()}
        schema = self._schema().with_metadata(about)
        path = self._bucket(bucket) / f"{key_digest(listed).hexdigest()}.arrow"
        # the lock of sizes is let go after the file has its name
        with suppress(_Full), ExitStack() as sizes, atomic_path(path) as temporary:
            temporary.touch(0o600)
            with pa.OSFile(os.fspath(temporary), "wb") as file, pa.ipc.new_file(file, schema) as writer:
                for canvas in canvases:
                    writer.write_batch(self._batch(canvas, schema))
            sizes.enter_context(_locked(self.root / "size.lock"))
            if size_of(self.root) + temporary.stat().st_size > most_bytes:
                raise _Full
        return path.is_file()

    @contextmanager
    def locked(self, bucket: int) -> Iterator[bool]:
        """Hold a bucket's lock if nobody does; yields whether it is held. What a killed writer left is removed."""
        folder = self._bucket(bucket)
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for each in (self.root, self.folder, folder):
            each.mkdir(mode=0o700, exist_ok=True)
        with _locked(folder / "lock", wait=False) as held:
            if held:
                for path in folder.glob(".*.arrow"):
                    path.unlink()
            yield held

    def _bucket(self, bucket: int) -> Path:
        return self.folder / f"{bucket:02x}"

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        values = pa.binary(self.side**2 * VALUES[self.values].itemsize)
        return pa.schema(
            [("key", pa.binary(KEY_BYTES)), ("values", values), ("said", pa.binary()), ("crc", pa.uint32())]
        )

    def _batch(self, canvas: Canvas, schema: pa.Schema) -> pa.RecordBatch:
        import pyarrow as pa

        values = np.ascontiguousarray(canvas.values).tobytes()
        columns = ([canvas.key], [values], [canvas.said], [_crc(canvas.key, values, canvas.said)])
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        return pa.record_batch(arrays, schema=schema)

    def _row(self, batch: pa.RecordBatch, key: bytes) -> Canvas:
        """The one row of a batch. Raises ValueError where it is not what was written, or of another key."""
        batch.validate(full=True)
        found, values, said, crc = (column[0] for column in batch.columns)
        pixels = values.as_buffer()
        if crc.as_py() != _crc(found.as_py(), pixels, said.as_py()):
            raise ValueError("a checksum does not hold")
        if found.as_py() != key:
            raise ValueError("a canvas is not the one that is listed")
        shape = (self.side, self.side)
        return Canvas(key, np.frombuffer(pixels, VALUES[self.values]).reshape(shape), said.as_py())

    def _place(self, key: bytes) -> tuple[Path, int] | None:
        """The file and the row of a key, by what was there when its bucket was last looked at, or has come since."""
        bucket, number = key[0], np.frombuffer(key, "<u8")[1]
        known = self._known.get(bucket)
        while True:
            if known is not None:
                at = int(np.searchsorted(known.numbers, number))
                if at < len(known.numbers) and known.numbers[at] == number:
                    shard, row = known.rows[at]
                    return known.shards[shard], int(row)
            changed = _changed_ns(self._bucket(bucket))
            if known is not None and known.changed_ns == changed:
                return None
            known = self._known[bucket] = self._look(bucket, changed)

    def _look(self, bucket: int, changed_ns: int) -> _Bucket:
        shards, numbers, rows = self.shards(bucket), [np.zeros(0, np.uint64)], [np.zeros((0, 2), np.int32)]
        for place, path in enumerate(shards):
            try:
                keys = self.keys_of(path)
            except DamagedShardError as error:
                logger.warning("%s: it is passed over. %s", error, REMEDY)
                continue
            numbers.append(np.frombuffer(b"".join(keys), "<u8")[1::2])
            rows.append(np.stack([np.full(len(keys), place), np.arange(len(keys))], 1).astype(np.int32))
        every = np.concatenate(numbers)
        order = np.argsort(every, kind="stable")
        return _Bucket(changed_ns, every[order], np.concatenate(rows)[order], shards)


@dataclass(frozen=True)
class _Bucket:
    """What a bucket held: half a million canvases are 8 MB so.

    Attributes:
        changed_ns: the folder's time of change before it was looked at.
        numbers: (N,) uint64, ascending: the keys' second halves.
        rows: (N, 2), number of the shard and row in it.
        shards: the files.
    """

    changed_ns: int
    numbers: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.int32]
    shards: list[Path]


class _Full(Exception):  # noqa: N818 - no error, but the end of a block
    """The cache would grow beyond its size."""


def size_of(folder: Path) -> int:
    """Bytes of all shards of a cache, whatever way of making canvases they are of."""
    return sum(path.stat().st_size for path in folder.glob("*/*/*.arrow") if not path.name.startswith("."))


def _broken() -> tuple[type[Exception], ...]:
    """What reading a file of other content ends with, wherever it differs."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, LookupError, ValueError, TypeError, AttributeError)


def _crc(key: bytes, values: bytes | pa.Buffer, said: bytes) -> int:
    return zlib.crc32(said, zlib.crc32(values, zlib.crc32(key)))


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a file's lock, which ends with the process; yields whether it is held, which with `wait` it always is."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
