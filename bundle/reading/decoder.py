"""Decodes in a process of its own, which a file may end: the process that reads lives, and reads the next file.

The limits are a fence against files that are damaged or greedy, not a sandbox against foreign code.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading import decode_worker
from bundle.reading.decode_worker import MESSAGE, DecodingError

logger = logging.getLogger(__name__)

WORKER = Path(decode_worker.__file__).absolute()
MEMORY = 4 * 2**30  # bytes of data; 100 million pixels of JPEG 2000 take half
SECONDS = 60  # a file; 100 million pixels of JPEG 2000 take 10
KEPT_BYTES = 2**26  # memory that both ends write to is kept so far: to have it anew for every file takes longer
LOADING_SECONDS = 300  # a library, from a slow disk

# What the process needs to find its libraries; what keeps them from starting threads and from loading all of ITK.
KEPT = ("LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX")
SINGLE = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ENVIRONMENT = {**dict.fromkeys(SINGLE, "1"), "ITK_PYTHON_DEFAULTFACTORYLOADING": "False"}
# Memory of one file is kept for the next, which else takes most of the time that a quick decoder does.
ENVIRONMENT |= {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**27)}

LIBRARIES = {
    "decode": "pydicom",
    "gdcm": "gdcm",
    "hdf5": "h5py",
    "itk": "itk",
    "pillow": "PIL",
    "tiff": "tifffile",
}  # by what a function's name begins with

TIFF_NUMBERS, TIFF_WORDS = ("pages", "bits", "predictor", "orientation"), ("axes", "type", "photometric", "compression")
_DTYPE = re.compile(r"[<>|][uif][1248]")
# What an answer may raise that is not what was asked for: it is not trusted.
_UNEXPECTED = (AttributeError, KeyError, RecursionError, TypeError, ValueError)

Array = npt.NDArray[Any]


class DecoderError(Exception):
    """There is no decoding process, or it cannot load its libraries: no file's fault."""


class _DiedError(DecodingError):
    """The process ended over a file, or over one before it."""


@dataclass(frozen=True)
class ItkHeader:
    """What the header of a file says, as ITK has it.

    Attributes:
        shape: its lengths, x first.
        affine: 4x4, (x, y, z, 1) -> mm, LPS+.
        channels: values of a pixel.
        component: their type, in ITK's words.
        mode: Pillow's, where it read the header.
    """

    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    channels: int
    component: str
    mode: str = ""


@dataclass(frozen=True)
class TiffHeader:
    """What the tags of a TIFF file say; see `decode_worker.tiff_header`.

    Attributes:
        shape: of the pixels as they are stored.
        axes: Y, X and S, of each length of `shape`.
        pages: pictures in the file; 2 for more.
        bits: of a sample.
        type: of a sample, NumPy's letter.
        photometric: its name.
        compression: its name.
        predictor: its number.
        orientation: its number.
        plain: whether pixels lie in strips, all samples of one together.
        patch: what makes the orientation 1.
    """

    shape: tuple[int, ...]
    axes: str
    pages: int
    bits: int
    type: str
    photometric: str
    compression: str
    predictor: int
    orientation: int
    plain: bool
    patch: tuple[int, str] | None


def decode_frame(pixel_data: bytes, syntax: str, plugin: str, attributes: Mapping[str, Any], isolated: bool) -> Array:
    """Decodes one DICOM frame; see `decode_worker.decode`.

    Args:
        pixel_data, syntax, plugin, attributes: as there.
        isolated: whether in a process of its own; without, a wrong byte may end this one.

    Raises:
        DecodingError: it does not decode, or ends the process, or takes more memory or time than it may.
        DecoderError: there is no such process.
    """
    if not isolated:
        return decode_worker.decode(pixel_data, syntax, plugin, attributes)
    arguments = {"syntax": str(syntax), "plugin": plugin, "attributes": dict(attributes)}
    shape = (attributes["rows"], attributes["columns"])
    pixels: Array = _decoder.ask("decode", arguments, pixel_data, shape)
    return pixels


def ask(do: str, arguments: Mapping[str, Any], shape: tuple[int, ...] | None = None) -> Any:
    """`Decoder.ask` of this process's decoder."""
    return _decoder.ask(do, arguments, shape=shape)


def itk_header(path: Path, kind: str, isolated: bool = True) -> ItkHeader:
    """Reads the header of a file through ITK; see `decode_worker.itk_header`. Errors are those of `decode_frame`."""
    arguments = {"path": str(path.absolute()), "kind": kind}
    return header_of(_decoder.ask("itk_header", arguments) if isolated else decode_worker.itk_header(**arguments))


def header_of(said: Any) -> ItkHeader:
    """A header as the process states it; DecodingError where it is none."""
    try:
        affine = np.asarray(said["affine"], dtype=np.float64).reshape(4, 4)
        shape, mode = tuple(map(int, said["shape"])), str(said.get("mode", ""))[:40]
        return ItkHeader(shape, affine, int(said["channels"]), str(said["component"])[:40], mode)
    except _UNEXPECTED as error:
        raise DecodingError("the decoder's answer is no header") from error


def itk_pixels(
    path: Path, kind: str, header: ItkHeader, isolated: bool = True, patches: Sequence[tuple[int, str]] = ()
) -> Array:
    """Reads the pixels of a file through ITK; see `decode_worker.itk_pixels`. Errors are those of `decode_frame`."""
    arguments: dict[str, Any] = {"path": str(path.absolute()), "kind": kind, "patches": list(patches)}
    if not isolated:
        return decode_worker.itk_pixels(**arguments)
    shape = header.shape[::-1] + ((header.channels,) if header.channels > 1 else ())
    pixels: Array = _decoder.ask("itk_pixels", arguments, shape=shape)
    return pixels


def tiff_header(path: Path, isolated: bool = True) -> TiffHeader:
    """Reads the tags of a TIFF file; see `decode_worker.tiff_header`. Errors are those of `decode_frame`."""
    arguments = {"path": str(path.absolute())}
    said = _decoder.ask("tiff_header", arguments) if isolated else decode_worker.tiff_header(**arguments)
    try:
        pages, bits, predictor, orientation = (int(said[name]) for name in TIFF_NUMBERS)
        axes, kind, photometric, compression = (str(said[name])[:40] for name in TIFF_WORDS)
        return TiffHeader(
            shape=tuple(map(int, said["shape"])),
            axes=axes,
            pages=pages,
            bits=bits,
            type=kind,
            photometric=photometric,
            compression=compression,
            predictor=predictor,
            orientation=orientation,
            plain=bool(said["plain"]),
            patch=None if said["patch"] is None else (int(said["patch"][0]), str(said["patch"][1])),
        )
    except _UNEXPECTED as error:
        raise DecodingError("the decoder's answer is no header") from error


def tiff_pixels(path: Path, header: TiffHeader, isolated: bool = True) -> Array:
    """Reads the pixels of a TIFF file; see `decode_worker.tiff_pixels`. Errors are those of `decode_frame`."""
    arguments = {"path": str(path.absolute())}
    if not isolated:
        return decode_worker.tiff_pixels(**arguments)
    shape = (*header.shape, 3) if header.photometric == "PALETTE" else header.shape
    pixels: Array = _decoder.ask("tiff_pixels", arguments, shape=shape)
    return pixels


def hdf5_array(file: Path, array: str, isolated: bool = True) -> tuple[tuple[int, ...], str]:
    """An HDF5 array's shape and type; see `decode_worker.hdf5_array`. Errors are those of `decode_frame`."""
    arguments = {"path": str(file.absolute()), "array": array}
    said = _decoder.ask("hdf5_array", arguments) if isolated else decode_worker.hdf5_array(**arguments)
    try:
        return tuple(map(int, said["shape"])), np.dtype(str(said["dtype"])[:40]).str
    except _UNEXPECTED as error:
        raise DecodingError("the decoder's answer is no header") from error


def hdf5_row(file: Path, array: str, row: int, shape: tuple[int, int], isolated: bool = True) -> Array:
    """A row of an array, (H, W); see `decode_worker.hdf5_row`. Errors are those of `decode_frame`."""
    arguments: dict[str, Any] = {"path": str(file.absolute()), "array": array, "row": row}
    if not isolated:
        return decode_worker.hdf5_row(**arguments)
    return np.asarray(_decoder.ask("hdf5_row", arguments, shape=shape))


class Decoder:
    """One decoding process for this one: started when it is needed, and anew when it is gone.

    Threads share it, one file at a time. A fork has its own; it ends with the process that started it.

    Args:
        memory: the most bytes of data that it may have.
        seconds: the most that it may take for a file.
    """

    def __init__(self, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        self.memory, self.seconds = memory, seconds
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._at_exit: Finalize | None = None
        os.register_at_fork(after_in_child=self._forget)

    def ask(
        self, do: str, arguments: Mapping[str, Any], pixel_data: bytes = b"", shape: tuple[int, ...] | None = None
    ) -> Any:
        """Has a function of `decode_worker` called there.

        A file is to blame for the process's end only where the process was new: what it read before may have hurt it.

        Args:
            do: the function.
            arguments: its arguments, plain values.
            pixel_data: what is decoded, where it is not in a file.
            shape: of the pixels that it must return, where it returns pixels.

        Returns:
            What it returned: pixels of `shape`, or plain values, which are yet to be checked.

        Raises:
            DecodingError, DecoderError: as for `decode_frame`.
        """
        library = LIBRARIES[do.partition("_")[0]]
        if find_spec(library) is None:
            raise DecodingError(
                f"{library} is not installed; `pip install -c constraints.txt {library}`, and it is read"
            )
        with self._lock:
            if self._child is not None:
                try:
                    return self._ask(self._child, do, arguments, pixel_data, shape)
                except (_DiedError, DecoderError) as error:
                    logger.warning("The decoding process is gone (%s); a new one reads the file again.", error)
            try:
                self._child = _Child(self.memory)
            except OSError as error:
                where = f"{sys.executable} {WORKER}"
                raise DecoderError(f"the decoding process does not start: {error.strerror}: {where}") from error
            if self._at_exit is None:  # of multiprocessing's workers, too
                self._at_exit = Finalize(None, self.close, exitpriority=10)
            return self._ask(self._child, do, arguments, pixel_data, shape)

    def _ask(
        self, child: _Child, do: str, arguments: Mapping[str, Any], pixel_data: bytes, shape: tuple[int, ...] | None
    ) -> Any:
        """Asks this child; one that does not answer as it should is ended."""
        library = LIBRARIES[do.partition("_")[0]]
        try:
            if library not in child.loaded:
                child.load(library)
            answer = child.ask(do, arguments, pixel_data, self.seconds)
            if "error" not in answer:
                return answer["result"] if shape is None else child.pixels(answer, shape)
        except BaseException as error:  # also an interrupt: the next one who asks must not get this answer
            ending = self.close()
            if library not in child.loaded and isinstance(error, (EOFError, OSError, *_UNEXPECTED)):
                raise DecoderError(f"the decoding process does not load {library}: ended by {ending}") from error
            if isinstance(error, TimeoutError):
                raise DecodingError(f"the decoder was stopped after {self.seconds} seconds") from error
            if isinstance(error, EOFError | ConnectionError):
                raise _DiedError(f"the decoder's process was ended by {ending}") from error
            if isinstance(error, _UNEXPECTED):
                raise DecodingError("the decoder's answer is not what the header promises") from error
            if isinstance(error, OSError):
                raise DecoderError(f"the decoding process cannot be asked: {error.strerror}") from error
            raise
        raise DecodingError("".join(c for c in str(answer["error"]) if c.isprintable())[:500])

    def close(self) -> str:
        """Ends the process, if there is one, and says by what it had ended before; the next file has a new one."""
        child, self._child = self._child, None
        return "" if child is None else child.end()

    def _forget(self) -> None:
        """In a fork: the child is the other process's, which alone must hold the channel, so that both end together."""
        self._lock, self._at_exit = threading.Lock(), None
        child, self._child = self._child, None
        if child is not None:
            child.release()
            child.process.returncode = 0  # not ours to wait for


class _Child:
    """A running process, our end of its channel, the memory that both write to, and the libraries that it has loaded.

    Args:
        memory: the most bytes of data that it may have.
    """

    def __init__(self, memory: int) -> None:
        self.loaded: set[str] = set()
        self.area = os.memfd_create("pixels")
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", str(WORKER), str(memory), str(self.area)]
        environment = ENVIRONMENT | {name: os.environ[name] for name in KEPT if name in os.environ}
        try:
            with theirs:
                self.process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,  # libraries print what they think of a file
                    stderr=subprocess.DEVNULL,
                    pass_fds=(self.area,),
                    cwd="/",
                    env=environment,
                )
        except OSError:
            self.release()
            raise

    def load(self, library: str) -> None:
        """Has it import a library."""
        answer = self.ask("load", {"library": library}, b"", LOADING_SECONDS)
        if "error" in answer:
            raise DecoderError(f"the decoding process cannot load {library}: {answer['error']}")
        self.loaded.add(library)

    def ask(self, do: str, arguments: Mapping[str, Any], pixel_data: bytes, seconds: int) -> dict[str, Any]:
        """Asks, and waits for the answer, which is of the right form but otherwise as the process likes.

        Raises:
            EOFError, ConnectionError: the process is gone.
            TimeoutError: it does not answer.
            ValueError: its answer is no JSON object.
        """
        if pixel_data:
            os.pwrite(self.area, pixel_data, 0)
        request = {"do": do, "arguments": arguments, "size": len(pixel_data), "seconds": seconds}
        self.channel.settimeout(seconds)
        self.channel.send(json.dumps(request).encode(), socket.MSG_NOSIGNAL)
        message = self.channel.recv(MESSAGE)
        if not message:
            raise EOFError
        answer = json.loads(message)
        if not isinstance(answer, dict):
            raise ValueError("the answer is no JSON object")
        return answer

    def pixels(self, answer: Mapping[str, Any], shape: tuple[int, ...]) -> Array:
        """The pixels of an answer, of the promised shape, copied: what lies in the area is the process's."""
        if not _DTYPE.fullmatch(answer["dtype"]) or tuple(answer["shape"]) != shape:
            raise ValueError("the pixels are not of the promised shape")
        pixels = np.empty(shape, dtype=answer["dtype"])
        if os.preadv(self.area, [pixels.data], 0) != pixels.nbytes:
            raise ValueError("there are fewer pixels than promised")
        if pixels.nbytes > KEPT_BYTES:
            os.ftruncate(self.area, 0)
        return pixels

    def end(self) -> str:
        """Ends it, and says by what it had ended before, if so: a signal's name or an exit status."""
        self.process.kill()
        code = self.process.wait()
        self.release()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def release(self) -> None:
        """Gives our ends back."""
        self.channel.close()
        os.close(self.area)


_decoder = Decoder()
