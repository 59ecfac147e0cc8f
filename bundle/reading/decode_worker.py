"""What decodes compressed pixels, here or in a process of its own: a wrong byte can end a native decoder's process.

`decoder.py` runs this file. It imports nothing of the bundle, and a decoder's library only for who needs it, so that a
new process is there soon.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MESSAGE = 65536  # bytes of a request or an answer, which are JSON; pixels go another way
GRACE = 5  # seconds after which the process ends itself where nobody is left to end it


class DecodingError(ValueError):
    """Pixels, or a header, do not decode; the message says why."""


def load(library: str) -> None:
    """Imports what `decode` uses, "pydicom", or what the others use, "itk", without torch, which ITK would import."""
    if library == "pydicom":
        import pydicom.pixels  # noqa: F401
    else:
        from itk.support import helpers

        helpers._HAVE_TORCH = helpers._HAVE_XARRAY = False
        _itk().PNGImageIO.New()  # ITK loads on first use


GDCM_EXTENDED = "GDCM, JPEG Extended"  # beside the plugins that pydicom has


def decode(stream: bytes, syntax: str, plugin: str, attributes: Mapping[str, Any]) -> Array:
    """Decodes the stream of one DICOM frame.

    Args:
        stream: what the fragments of the frame make together.
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
        return decode_extended(stream, attributes["rows"], attributes["columns"], attributes["bits_stored"])
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    try:
        stored, _ = get_decoder(syntax).as_array(
            encapsulate([stream], has_bot=False),
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
        kind: "PNG", "JPEG", "TIFF", "Meta" or "GDCM", as ITK calls it.

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


def itk_pixels(path: str, kind: str) -> Array:
    """The pixels of a file that ITK reads.

    Args:
        path, kind: as for `itk_header`.

    Returns:
        (..., y, x), or (..., y, x, channels) where a pixel has several.

    Raises:
        DecodingError: they do not decode.
    """
    itk = _itk()
    try:
        reader = _reader(path, kind)
        if int(reader.GetNumberOfComponents()) == 1:
            return np.asarray(itk.array_from_image(itk.imread(path, imageio=reader)))
        component = reader.GetComponentTypeAsString(reader.GetComponentType())
        pixel = {"unsigned_char": itk.UC, "unsigned_short": itk.US}.get(component, itk.F)
        vectors = itk.VectorImage[pixel, int(reader.GetNumberOfDimensions())]
        file = itk.ImageFileReader[vectors].New(FileName=path, ImageIO=reader)
        file.Update()
        return np.asarray(itk.array_from_image(file.GetOutput()))
    except (MemoryError, RuntimeError) as error:
        raise DecodingError(_last_line(error)) from error


def _reader(path: str, kind: str) -> Any:
    """ITK's reader of a format, which has read the header."""
    reader = getattr(_itk(), f"{kind}ImageIO").New()
    reader.SetFileName(path)
    reader.ReadImageInformation()
    return reader


def _itk() -> Any:
    import itk  # seconds to load: only for those who read such files

    return itk


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def _last_line(error: BaseException) -> str:
    """Of a library's message: ITK's begin with its own source file and line."""
    return _lines(error)[-1]


def main(memory: int, area: int) -> None:
    """Answers requests, one by one, until the other end of its channel, which is its standard input, is closed.

    A request is JSON: `do` names a function, `arguments` are its own, `stream` is how many bytes of compressed pixels
    lie in the area, `seconds` is how long it may take. The answer is JSON too: `error`, or `result`, or `dtype` and
    `shape` of the pixels in the area.

    Args:
        memory: the most bytes of data that this process may have.
        area: the descriptor of the memory that both ends read and write.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would be a patient's image
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for who is served, who may want to finish
        signal.signal(number, signal.SIG_IGN)
    functions: dict[str, Callable[..., Any]] = {f.__name__: f for f in (load, decode, itk_header, itk_pixels)}
    channel = socket.socket(fileno=0)
    while message := channel.recv(MESSAGE):
        request = json.loads(message)
        signal.alarm(request["seconds"] + GRACE)  # its default action ends a loop in native code, too
        try:
            arguments = request["arguments"]
            if request["stream"]:
                arguments["stream"] = os.pread(area, request["stream"], 0)
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
