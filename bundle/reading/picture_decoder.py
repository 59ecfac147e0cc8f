"""Has `decode_pictures` called in the decoding process: PNG and JPEG by Pillow, a DICOM image's place by GDCM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.reading import decode_pictures
from bundle.reading.decode_worker import DecodingError
from bundle.reading.decoder import ItkHeader, ask, header_of


def gdcm_place(path: Path) -> npt.NDArray[np.float64]:
    """Where ITK has a DICOM image, 4x4, (x, y, z, 1) -> mm, LPS+; errors are those of `decoder.decode_frame`."""
    said = ask("gdcm_place", {"path": str(path.absolute())})
    try:
        return np.asarray(said, dtype=np.float64).reshape(4, 4)
    except (TypeError, ValueError) as error:
        raise DecodingError("the decoder's answer is no place") from error


def pillow_header(path: Path, kind: str, isolated: bool = True) -> ItkHeader:
    """The header of a PNG or JPEG file; errors are those of `decoder.decode_frame`."""
    arguments = {"path": str(path.absolute()), "kind": kind}
    return header_of(ask("pillow_header", arguments) if isolated else _here(decode_pictures.pillow_header, arguments))


def pillow_pixels(path: Path, kind: str, header: ItkHeader, isolated: bool = True) -> npt.NDArray[Any]:
    """Its pixels, (y, x) or (y, x, channels); errors are those of `decoder.decode_frame`."""
    arguments = {"path": str(path.absolute()), "kind": kind}
    shape = header.shape[::-1] + ((header.channels,) if header.channels > 1 else ())
    pixels: npt.NDArray[Any]
    pixels = ask("pillow_pixels", arguments, shape) if isolated else _here(decode_pictures.pillow_pixels, arguments)
    return pixels


def _here(function: Any, arguments: dict[str, str]) -> Any:
    """Calls a function in this process."""
    try:
        return function(**arguments)
    except Exception as error:
        raise DecodingError(str(error) or type(error).__name__) from error
