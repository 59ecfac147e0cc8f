"""What decodes compressed pixels, here or in a process of its own: a wrong byte can end a native decoder's process.

`decoder.py` runs this file. It imports nothing of the bundle, and a decoder's library only for who needs it, so that a
new process is there soon.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MESSAGE = 65536  # bytes of a request or an answer, which are JSON; pixels go another way
GRACE = 5  # seconds after which the process ends itself where nobody is left to end it


class DecodingError(ValueError):
    """Pixels, or a header, do not decode; the message says why."""


def load(library: str) -> None:
    """Imports what the functions here use; itk without torch, which it would import."""
    if library != "itk":
        import_module({"pydicom": "pydicom.pixels"}.get(library, library))
        return
    from itk.support import helpers

    helpers._HAVE_TORCH = helpers._HAVE_XARRAY = False
    _itk().PNGImageIO.New()  # ITK loads on first use


GDCM_EXTENDED = "GDCM, JPEG Extended"  # beside the plugins that pydicom has


def decode(pixel_data: bytes, syntax: str, plugin: str, attributes: Mapping[str, Any]) -> Array:
    """Decodes one DICOM frame.

    Args:
        pixel_data: the value of Pixel Data, encapsulated (PS3.5 A.4).
        syntax: the transfer syntax.
        plugin: pydicom's name of the decoder, "" for the first that succeeds, or `GDCM_EXTENDED`.
        attributes: `rows`, `columns`, `samples_per_pixel`, `photometric_interpretation`, `bits_allocated`,
            `bits_stored`, `pixel_representation` of the header.

    Returns:
        The stored values, (rows, columns), their unused bits as in the stream.

    Raises:
        DecodingError: for whatever the decoder says.
    """
    if plugin == GDCM_EXTENDED:
        from pydicom.encaps import get_frame

        stream = get_frame(pixel_data, 0, number_of_frames=1)
        return decode_extended(stream, attributes["rows"], attributes["columns"], attributes["bits_stored"])
    from pydicom.pixels import get_decoder

    try:
        stored, _ = get_decoder(syntax).as_array(
            pixel_data,
            raw=True,
            decoding_plugin=plugin,
            number_of_frames=1,
            **attributes,
        )
    except BaseException as error:
        # The RLE decoder, written in Rust, reports damage by a panic, which is no Exception and cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise DecodingError("; ".join(_lines(error))) from error
    return np.asarray(stored)


def decode_extended(stream: bytes, rows: int, columns: int, precision: int) -> Array:
    """The samples of one grey frame in JPEG Extended (Process 2 & 4) of more than 8 bits, which pydicom refuses.

    Args:
        stream: the whole JPEG stream, its headers checked (`jpeg_fault`).
        rows: its height.
        columns: its width.
        precision: its bits a sample, 9 to 16; what the file around it calls stored may be others.

    Returns:
        (rows, columns), uint16, of which the lowest `precision` bits are used.

    Raises:
        DecodingError: GDCM does not decode it.
    """
    import gdcm  # type: ignore[import-untyped]  # 0.1 s to load: only for those who read such files

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2"))
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType("1.2.840.10008.1.2.4.51")))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, precision, precision - 1, 0))
    buffer = image.GetBuffer()
    if buffer is None:
        raise DecodingError("GDCM does not decode the JPEG stream")
    samples = buffer.encode("utf-8", "surrogateescape")  # GDCM gives bytes as text
    if len(samples) != 2 * rows * columns:
        raise DecodingError(f"GDCM decodes {len(samples)} bytes, wanted {2 * rows * columns}")
    return np.frombuffer(samples, "<u2").reshape(rows, columns)


def itk_header(path: str, kind: str) -> dict[str, Any]:
    """What the header of a file says that ITK reads.

    Args:
        path: the file; the format is told by `kind`, and not by its name.
        kind: "PNG", "JPEG", "TIFF" or "Meta", as ITK calls it.

    Returns:
        `shape`: its lengths, x first; `affine`: 4x4, (x, y, z, 1) -> mm, LPS+; `channels`: of a pixel; `component`:
        their type, in ITK's words.

    Raises:
        DecodingError: it does not parse.
    """
    try:
        reader = _reader(path, kind)
        dimensions = int(reader.GetNumberOfDimensions())
        used = min(dimensions, 3)
        affine = np.eye(4)
        for axis in range(used):
            step = np.asarray(reader.GetDirection(axis), dtype=np.float64) * float(reader.GetSpacing(axis))
            affine[:used, axis] = step[:3]
            affine[axis, 3] = float(reader.GetOrigin(axis))
        return {
            "shape": [int(reader.GetDimensions(axis)) for axis in range(dimensions)],
            "affine": affine.tolist(),
            "channels": int(reader.GetNumberOfComponents()),
            "component": str(reader.GetComponentTypeAsString(reader.GetComponentType())),
        }
    except RuntimeError as error:
        raise DecodingError(_last_line(error)) from error


def itk_pixels(path: str, kind: str, patches: Sequence[tuple[int, str]] = ()) -> Array:
    """The pixels of a file that ITK reads.

    Args:
        path, kind: as for `itk_header`.
        patches: what is read in place of some of its bytes: where it begins, and hexadecimal digits.

    Returns:
        (..., y, x), or (..., y, x, channels) where a pixel has several.

    Raises:
        DecodingError: they do not decode.
    """
    itk = _itk()
    try:
        with _patched(path, patches) as file:
            reader = _reader(file, kind)
            if int(reader.GetNumberOfComponents()) == 1:
                return np.asarray(itk.array_from_image(itk.imread(file, imageio=reader)))
            component = reader.GetComponentTypeAsString(reader.GetComponentType())
            pixel = {"unsigned_char": itk.UC, "unsigned_short": itk.US}.get(component, itk.F)
            vectors = itk.VectorImage[pixel, int(reader.GetNumberOfDimensions())]
            source = itk.ImageFileReader[vectors].New(FileName=file, ImageIO=reader)
            source.Update()
            return np.asarray(itk.array_from_image(source.GetOutput()))
    except (MemoryError, RuntimeError) as error:
        raise DecodingError(_last_line(error)) from error


def tiff_header(path: str) -> dict[str, Any]:
    """What the tags of a TIFF file's first picture say.

    Returns:
        `shape`: of its pixels as they are stored, and `axes`, the names of that shape's lengths: Y, X, and S for
        samples; `pages`: pictures in the file, 2 for more, those that are marked as smaller ones of others aside;
        `bits` of a sample, and `type`, its letter in NumPy's; `photometric`, `compression`: their names in tifffile;
        `predictor`, `orientation`: their numbers; `plain`: whether pixels lie in strips, all samples of one together;
        `patch`: what makes the orientation 1, for `itk_pixels`.

    Raises:
        DecodingError: it does not parse.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            pages: Any = tiff.pages
            whole = (1 for each in pages if each.index == page.index or not int(each.subfiletype) & 1)
            orientation: Any = page.tags.get(274)
            size = {3: 2, 4: 4}.get(0 if orientation is None else int(orientation.dtype), 0)
            order: Literal["little", "big"] = "little" if tiff.byteorder == "<" else "big"
            return {
                "shape": [int(length) for length in page.shape],
                "axes": str(page.axes),
                "pages": sum(islice(whole, 2)),
                "bits": int(page.bitspersample),
                "type": "" if page.dtype is None else np.dtype(page.dtype).kind,
                "photometric": getattr(page.photometric, "name", str(page.photometric)),
                "compression": getattr(page.compression, "name", str(page.compression)),
                "predictor": int(page.predictor),
                "orientation": int(orientation.value) if size else 1,
                "plain": not page.is_tiled and int(page.planarconfig) == 1,
                "patch": [int(orientation.valueoffset), (1).to_bytes(size, order).hex()] if size else None,
            }
    except Exception as error:
        raise DecodingError(_last_line(error)) from error


def tiff_pixels(path: str) -> Array:
    """The pixels of a TIFF file's first picture as they are stored, whatever its layout.

    ITK makes 8 bits of what is not in strips, and tifffile has few codecs: each is asked for what it does right.

    Returns:
        Of the shape that `tiff_header` states; a palette's colours with a last axis of three.

    Raises:
        DecodingError: they do not decode.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            pixels = page.asarray()
            if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
                pixels = np.moveaxis(page.colormap[:, pixels], 0, -1)
    except Exception as error:
        raise DecodingError(_last_line(error)) from error
    return np.asarray(pixels, dtype=np.uint8) if pixels.dtype == np.bool_ else np.asarray(pixels)


def hdf5_array(path: str, array: str) -> dict[str, Any]:
    """`shape` and `dtype` of an array of an HDF5 file; of what is no plain number, "V1" stands for its type.

    Raises:
        DecodingError: there is none of this name, or its values lie in another file.
    """
    with _hdf5(path, array) as data:
        return {"shape": list(data.shape), "dtype": data.dtype.str if data.dtype.kind in "uif" else "V1"}


def hdf5_row(path: str, array: str, row: int) -> Array:
    """One row of an array.

    Raises:
        DecodingError: it cannot be read.
    """
    with _hdf5(path, array) as data:
        return np.asarray(data[row])


@contextmanager
def _hdf5(path: str, array: str) -> Iterator[Any]:
    """An array of an HDF5 file that is there whole: no link and no layout leads to another file."""
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(path, "r", locking=False) as file:
            place = file
            for name in array.split("/"):
                if not isinstance(place, h5py.Group) or name not in place:
                    names = ", ".join(sorted(place)[:10]) if isinstance(place, h5py.Group) else ""
                    raise DecodingError(f"the file has no such array; there is {names or 'nothing'}")
                if isinstance(place.get(name, getlink=True), h5py.ExternalLink):
                    raise DecodingError("it is a link to another file")
                place = place[name]
            if not isinstance(place, h5py.Dataset):
                raise DecodingError(f"it is a group, of {', '.join(sorted(place)[:10]) or 'nothing'}")
            if place.external or place.is_virtual:
                raise DecodingError("its values lie in other files")
            yield place
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, DecodingError):
            raise
        raise DecodingError(_last_line(error)) from error


@contextmanager
def _patched(path: str, patches: Sequence[tuple[int, str]]) -> Iterator[str]:
    """The path of a file with other bytes in some places: of a copy in memory, if there are such places."""
    if not patches:
        yield path
        return
    content = bytearray(Path(path).read_bytes())
    for place, digits in patches:
        new = bytes.fromhex(digits)
        content[place : place + len(new)] = new
    with os.fdopen(os.memfd_create("patched"), "wb") as copy:
        copy.write(content)
        copy.flush()
        yield f"/proc/self/fd/{copy.fileno()}"


def _reader(path: str, kind: str) -> Any:
    """ITK's reader of a format, which has read the header."""
    reader = getattr(_itk(), f"{kind}ImageIO").New()
    reader.SetFileName(path)
    reader.ReadImageInformation()
    return reader


def _itk() -> Any:
    try:
        import itk  # seconds to load: only for those who read such files
    except ModuleNotFoundError as error:
        raise DecodingError("itk is not installed; `pip install -c constraints.txt itk`, and it is read") from error
    return itk


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def _last_line(error: BaseException) -> str:
    """Of a library's message: ITK's begin with its own source file and line."""
    return _lines(error)[-1]


FUNCTIONS = (
    load,
    decode,
    hdf5_array,
    hdf5_row,
    itk_header,
    itk_pixels,
    tiff_header,
    tiff_pixels,
)  # that may be asked for


def main(memory: int, area: int) -> None:
    """Answers requests, one by one, until the other end of its channel, which is its standard input, is closed.

    A request is JSON: `do` names a function, `arguments` are its own, `size` is how many bytes of pixel data lie in the
    area, `seconds` is how long it may take. The answer is JSON too: `error`, or `result`, or `dtype` and `shape` of the
    pixels in the area.

    Args:
        memory: the most bytes of data that this process may have.
        area: the descriptor of the memory that both ends read and write.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would be a patient's image
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for who is served, who may want to finish
        signal.signal(number, signal.SIG_IGN)
    beside = runpy.run_path(str(Path(__file__).with_name("decode_pictures.py")))  # no package can be imported here
    functions: dict[str, Callable[..., Any]] = {f.__name__: f for f in (*FUNCTIONS, *beside["FUNCTIONS"])}
    channel = socket.socket(fileno=0)
    while message := channel.recv(MESSAGE):
        request = json.loads(message)
        signal.alarm(request["seconds"] + GRACE)  # its default action ends a loop in native code, too
        try:
            arguments = request["arguments"]
            if request["size"]:
                arguments["pixel_data"] = os.pread(area, request["size"], 0)
            answer = _stated(functions[request["do"]](**arguments), area)
        except Exception as error:
            answer = {"error": "; ".join(_lines(error))[:1000]}
        signal.alarm(0)
        channel.send(json.dumps(answer).encode())


def _stated(result: Any, area: int) -> dict[str, Any]:
    """The answer that holds a result; pixels go into the area."""
    if not isinstance(result, np.ndarray):
        return {"result": result}
    if os.pwrite(area, np.ascontiguousarray(result).data, 0) != result.nbytes:
        raise MemoryError("the pixels do not fit")
    return {"dtype": result.dtype.str, "shape": result.shape}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
