"""DICOM files cut, with headers that contradict themselves, and with damaged streams; readable ones beside them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from bundle.reading import read_radiograph
from tests.corpus.bad import Bad
from tests.reading.conftest import GDCM_WRITES, dx_header, transcode
from tests.reading.files import LOSSLESS

Array = np.ndarray[Any, Any]
SYNTAXES = {**LOSSLESS, "JPEG": JPEGBaseline8Bit}
CODECS = {
    "JPEG": JPEGBaseline8Bit,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
    "RLE": RLELossless,
}
NO_FRAME = 2 * b"\xfe\xff\x00\xe0\0\0\0\0"  # an empty offset table, and a fragment without a byte
DELIMITER = 8  # bytes at the end of compressed pixels that say nothing


def picture(bits: int = 12) -> Array:
    """(48, 64), different in every corner."""
    rows, columns = np.mgrid[0:48, 0:64]
    values = (400 + 30 * rows + 20 * columns).astype(np.uint16)
    values[4:12, 6:18] = 3600
    return values if bits == 12 else (values >> 4).astype(np.uint8)


@cache
def whole(syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """A good file."""
    header = dx_header(picture(8 if syntax == JPEGBaseline8Bit else 12), {})
    if syntax in (RLELossless, JPEG2000Lossless):
        header.compress(syntax, generate_instance_uid=False)
    elif syntax not in GDCM_WRITES:
        header.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            header.PixelData = np.frombuffer(header.PixelData, "<u2").astype(">u2").tobytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        header.save_as(path, enforce_file_format=True)
        if syntax in GDCM_WRITES:
            transcode(path, GDCM_WRITES[syntax])
        return path.read_bytes()


def reads(content: bytes, name: str = "a.dcm") -> Callable[[Path], Callable[[], Any]]:
    """Prepares a file to be read."""

    def prepare(folder: Path) -> Callable[[], Any]:
        (folder / name).write_bytes(content)
        return lambda: read_radiograph(folder / name)

    return prepare


def cuts() -> Iterator[Bad]:
    """Files that end too early: in the preamble, in the file's own header, and five times on from there."""
    for name, syntax in SYNTAXES.items():
        content = whole(syntax)
        end = len(content) - DELIMITER - 4
        shares = {f"{share:.0%}": 200 + int(share * (end - 200)) for share in (0.15, 0.4, 0.65, 0.9, 1)}
        for words, place in {"60 bytes": 60, "200 bytes": 200, **shares}.items():  # lengths differ by GDCM's new UIDs
            yield Bad(f"{name} cut at {words}", reads(content[:place]), ("a.dcm",))


def edited(syntax: UID = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
    """A good file whose attributes are set, or taken out where None, after its pixels were written."""
    dataset = dcmread(BytesIO(whole(syntax)))
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        elif keyword == "PixelData":
            dataset["PixelData"]._value = value
        else:
            setattr(dataset, keyword, value)
    out = BytesIO()
    dataset.save_as(out)
    return out.getvalue()


HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"Rows": None}, "Rows"),
    "0 rows": ({"Rows": 0}, "0 rows"),
    "more rows": ({"Rows": 49}, "cut short"),
    "many rows": ({"Rows": 60_000}, ""),
    "no columns": ({"Columns": None}, "Columns"),
    "0 columns": ({"Columns": 0}, "0 columns"),
    "more columns": ({"Columns": 65}, "cut short"),
    "no bits allocated": ({"BitsAllocated": None}, "BitsAllocated"),
    "0 bits allocated": ({"BitsAllocated": 0}, "0"),
    "12 bits allocated": ({"BitsAllocated": 12}, "12"),
    "32 bits allocated": ({"BitsAllocated": 32}, "cut short"),
    "64 bits allocated": ({"BitsAllocated": 64}, "64"),
    "no bits stored": ({"BitsStored": None}, "BitsStored"),
    "0 bits stored": ({"BitsStored": 0}, "0"),
    "17 bits stored": ({"BitsStored": 17}, "17"),
    "99 bits stored": ({"BitsStored": 99}, "99"),
    "no samples": ({"SamplesPerPixel": None}, "SamplesPerPixel"),
    "0 samples": ({"SamplesPerPixel": 0}, "0"),
    "2 samples": ({"SamplesPerPixel": 2}, "2"),
    "3 samples": ({"SamplesPerPixel": 3}, "3 samples"),
    "colours": ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not grey"),
    "a palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
    "an unknown photometry": ({"PhotometricInterpretation": "GREY"}, "GREY"),
    "no photometry": ({"PhotometricInterpretation": None}, "PhotometricInterpretation"),
    "2 frames": ({"NumberOfFrames": 2}, "2 frames"),
    "no pixels": ({"PixelData": None}, "no pixel data"),
    "empty pixels": ({"PixelData": b""}, ""),
    "an odd byte more or less": ({"PixelData": bytes(6142)}, "6142 bytes"),
    "slope 0": ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "RescaleSlope is 0"),
    "pixels called representation 2": ({"PixelRepresentation": 2}, "Pixel Representation"),
}
VRS = {
    "Rows": (0x0028, 0x0010, ("UL", "DS", "SQ", "ZZ", "OB")),
    "Columns": (0x0028, 0x0011, ("UL", "SQ", "LO")),
    "BitsAllocated": (0x0028, 0x0100, ("FL", "SQ", "UN")),
    "BitsStored": (0x0028, 0x0101, ("CS", "OW", "IS")),
    "SamplesPerPixel": (0x0028, 0x0002, ("LO", "SQ")),
    "PixelRepresentation": (0x0028, 0x0103, ("PN", "OB")),
    "PixelData": (0x7FE0, 0x0010, ("SQ", "US")),
}


def with_vr(keyword: str, group: int, element: int, vr: str) -> bytes:
    """A good file in which an element states another VR, its bytes left as they are."""
    content, tag = whole(), struct.pack("<HH", group, element)
    place = content.index(tag, 132)
    return content[: place + 4] + vr.encode() + content[place + 6 :]


def headers() -> Iterator[Bad]:
    """Attributes that are missing, impossible or of another VR."""
    for name, (attributes, said) in HEADERS.items():
        yield Bad(name, reads(edited(**attributes)), ("a.dcm", said))
    for keyword, (group, element, vrs) in VRS.items():
        for vr in vrs:
            yield Bad(f"{keyword} as {vr}", reads(with_vr(keyword, group, element, vr)), ("a.dcm",))


def damaged(stream: bytes) -> dict[str, bytes]:
    """A compressed frame, damaged so that no decoder can make the picture of it."""
    middle = len(stream) // 2
    return {
        "empty": b"",
        "zeros": bytes(len(stream)),
        "a text": b"no picture but words. " * 30,
        "its first byte": b"\x13" + stream[1:],
        "its start": stream[40:],
        "half": stream[:middle],
        "a tenth": stream[: len(stream) // 10],
        "ones from the middle": stream[:middle] + b"\xff" * (len(stream) - middle),
        "backwards": stream[::-1],
        "another codec's": frame_of(JPEG2000Lossless)[:-200],
    }


UNSEEN = {("RLE", "its first byte"), ("RLE", "ones from the middle")}
"""What is no bad input: the first is read as it was, the second is a good stream of other pixels."""


def frame_of(syntax: UID) -> bytes:
    """The stream of a good file."""
    return bytes(get_frame(dcmread(BytesIO(whole(syntax))).PixelData, 0, number_of_frames=1))


def with_damage(syntax: UID, damage: str) -> bytes:
    """A file whose stream is damaged."""
    content = damaged(frame_of(syntax))[damage]
    return edited(syntax, PixelData=encapsulate([content]) if content else NO_FRAME)


def streams() -> Iterator[Bad]:
    """Compressed pixels that are damaged, and headers that say otherwise than the stream."""
    for name, syntax in CODECS.items():
        for damage in damaged(b""):
            if (name, damage) not in UNSEEN:
                yield Bad(f"{name}, {damage}", reads(with_damage(syntax, damage)), ("a.dcm",))
        for attributes in ({"Rows": 47}, {"Columns": 65}, {"BitsAllocated": 8 if name != "JPEG" else 16}):
            yield Bad(f"{name}, {attributes}", reads(edited(syntax, **attributes)), ("a.dcm",))
