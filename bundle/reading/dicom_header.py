"""Parses the header of a DICOM image and refuses, from it alone, what is not one complete grey frame."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from pydicom import config
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from bundle.reading.decimal_text import mend_decimal
from bundle.reading.deflated import inflate
from bundle.reading.dicom_encoding import UNDEFINED, Encoding, encoding_of, meta_syntax
from bundle.reading.fragments import syntax_of, walk
from bundle.reading.frontal import STATED_TAGS, stated_otherwise
from bundle.reading.radiograph_error import RadiographError, refusal

REQUIRED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
# Only named attributes are read: faster, and no patient's name can reach a message, a log or the metadata.
HEADER_TAGS = tuple(map(Tag, (*REQUIRED, "NumberOfFrames", "SOPClassUID", "PatientOrientation")))

# A small compressed file can claim to be any size: five times a large radiograph, and what comes before its pixels.
MAX_PIXELS = 100_000_000
MAX_HEADER_BYTES = 16_000_000

EXPORT_AGAIN = "Copy or export the file again"
UNCOMPRESSED = "Export it again, uncompressed (Explicit VR Little Endian)"

# What pydicom raises for a file that breaks off or whose elements do not parse.
PARSE_ERRORS = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

# What pydicom warns of it quotes, and of a damaged length that may be the patient's name, whichever element is read.
config.settings.reading_validation_mode = config.IGNORE

PIXELS = frozenset(map(Tag, ("FloatPixelData", "DoubleFloatPixelData", "PixelData")))


@dataclass(frozen=True)
class Writing:
    """How a file's data set is written, and where.

    Attributes:
        named: the transfer syntax that the file names, "" for none; of a bare data set, that in which it is written.
        known: whether there is such a transfer syntax.
        encoding: that of its bytes.
        start: where they begin.
    """

    named: UID
    known: bool
    encoding: Encoding
    start: int


@dataclass(frozen=True)
class Header:
    """Parsed attributes.

    Attributes:
        dataset: them; its file meta information names `syntax`.
        syntax: the transfer syntax in which the data set is written, whatever the file names.
        writing: how it is written, and what the file says of that.
        notes: where the file had to be understood otherwise than it says.
    """

    dataset: Dataset
    syntax: UID
    writing: Writing
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """How the pixels of one grey frame are stored.

    Attributes:
        rows: H.
        columns: W.
        bits_allocated: of one pixel cell.
        photometric_interpretation: MONOCHROME1 or MONOCHROME2.
        syntax: the transfer syntax that the pixels are in.
        directions: Patient Orientation: where its rows and its columns go; empty where that is not stated.
        not_frontal: why the image is, by its header, no frontal chest radiograph; None where it may be one.
        header: the attributes before the pixels.
        rest: how the file is written from its pixels on, for `parse`; of a deflated file, all of it.
        end: where the sequence delimiter of compressed pixels is to be put, if it is missing; else None.
        notes: where the pixels had to be understood otherwise than the file says.
    """

    rows: int
    columns: int
    bits_allocated: int
    photometric_interpretation: str
    syntax: UID
    directions: tuple[str, ...]
    not_frontal: str | None
    header: Header
    rest: Writing
    end: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the pixels, uncompressed."""
        return (self.rows * self.columns * self.bits_allocated + 7) // 8


def read_frame(path: Path, file: BinaryIO, tags: tuple[BaseTag, ...] = ()) -> Frame:
    """Reads the attributes before the pixels, and that the pixels are all there.

    Args:
        path: the file, for messages.
        file: it, opened at its start; it is left somewhere behind.
        tags: the attributes that are read beside those that tell of the frame.

    Returns:
        How the frame is stored.

    Raises:
        RadiographError: for what is not one grey frame, has no pixel data, ends before they do, or is compressed and
            of more than `MAX_PIXELS`.
    """
    header = parse(path, file, (*HEADER_TAGS, *STATED_TAGS, *tags), stop_before_pixels=True)
    frame = _one_grey_frame(path, header)
    if not header.writing.encoding.deflated:  # it is inflated into memory, where the file's position says nothing
        frame = _find_pixels(path, file, replace(frame, rest=replace(header.writing, start=file.tell())))
    if (frame.syntax.is_deflated or frame.syntax.is_encapsulated) and frame.rows * frame.columns > MAX_PIXELS:
        found = f"the image states {frame.rows} x {frame.columns} pixels, compressed"
        raise refusal(path, found, f"Wanted at most {MAX_PIXELS // 1_000_000} million: check the header")
    return frame


def parse(
    path: Path,
    file: BinaryIO,
    tags: Iterable[BaseTag],
    *,
    stop_before_pixels: bool,
    pixel_bytes: int = 0,
    writing: Writing | None = None,
) -> Header:
    """Parses named attributes; of a deflated file it inflates what these may take, not all that it may hold.

    The bytes decide how the data set is written, where the transfer syntax names another way (`encoding_of`).

    Args:
        path: the file, for messages.
        file: it, opened at its start.
        tags: the attributes that are read.
        stop_before_pixels: whether to leave `file` at the pixel data; a deflated file is left at its data set.
        pixel_bytes: how many the pixels have, where they are read too.
        writing: what parsing it before has told, if that was done.

    Returns:
        The attributes and how they are written.

    Raises:
        RadiographError: for a header that does not parse, or a deflated file that holds more than it may.
    """
    place = ""
    most = MAX_HEADER_BYTES + pixel_bytes
    try:
        writing = _writing(file) if writing is None else writing
        named, encoding = writing.named, writing.encoding
        file.seek(writing.start)
        whole = inflate(file, most + 1) if encoding.deflated else file
        too_long = encoding.deflated and whole.seek(0, 2) > most
        if too_long and not stop_before_pixels:
            raise _too_long(path, most)
        if encoding.deflated:
            whole.seek(0)
        stop_when = (lambda tag, vr, length: tag in PIXELS) if stop_before_pixels else None
        dataset = read_dataset(whole, encoding.implicit, encoding.little, stop_when=stop_when, specific_tags=list(tags))
        if too_long and not whole.read(1):  # all that was inflated is read, and no pixel data have come
            raise _too_long(path, most)
        notes = []
        # pydicom converts values on first use: now, where a failure has its name
        for tag in (tag for tag in tuple(dataset.keys()) if tag not in STATED_TAGS):
            place = f" at {keyword_for_tag(tag)}"
            notes += mend_decimal(dataset, tag)
            _ = dataset[tag].value
    except RadiographError:
        raise
    except PARSE_ERRORS as error:
        remedy = f"It is cut short or damaged: {EXPORT_AGAIN}"
        raise refusal(path, f"the DICOM header does not parse{place}", remedy) from error
    if not named:
        found = "the DICOM file names no Transfer Syntax (0002,0010)"
        raise refusal(path, found, f"It is cut short or was made wrongly: {EXPORT_AGAIN}")
    if not writing.known:
        # A damaged length can put other attributes' bytes into this value: only a well-formed UID is printed.
        name = named if named.is_valid else "(not a UID)"
        raise refusal(path, f"the Transfer Syntax {name} is not known", UNCOMPRESSED)
    if encoding.syntax != (ExplicitVRLittleEndian if named.is_encapsulated else named):  # PS3.5 A.4
        notes.insert(0, f"the file names {named.name} and is written in {encoding.syntax.name}; it was read so")
    syntax = named if named.is_encapsulated and not encoding.deflated else encoding.syntax
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return Header(dataset, syntax, writing, notes)


def _writing(file: BinaryIO) -> Writing:
    """How the data set is written, by its bytes and by the file meta information."""
    named = meta_syntax(file)
    start = file.tell()
    encoding = encoding_of(file, named)
    if start == 0:  # a bare data set: its bytes alone say how it is written
        return Writing(encoding.syntax, True, encoding, start)
    known = not named.is_private and named.is_transfer_syntax if named else False
    return Writing(named, known, encoding, start)


def _too_long(path: Path, most: int) -> RadiographError:
    found = f"inflated, the DICOM file holds more than the {most:,} bytes that its header and pixels may take"
    return refusal(path, found, "Write it uncompressed if this is meant: DCMTK's `dcmconv +te in out`")


def _one_grey_frame(path: Path, parsed: Header) -> Frame:
    """The frame that the attributes describe, refused unless it is one and grey."""
    header = parsed.dataset
    if "Rows" not in header and "Columns" not in header:
        kind = UID(str(header.get("SOPClassUID") or ""))
        name = kind.name if kind.is_valid and kind else "of no known class"
        raise refusal(path, f"the DICOM object ({name}) is not an image", "Wanted a CR, DX or other grey projection")
    missing = [keyword for keyword in REQUIRED if header.get(keyword) in (None, "")]
    if missing:
        raise refusal(path, f"the DICOM header lacks {', '.join(missing)}", f"Wanted a complete one: {EXPORT_AGAIN}")
    try:
        rows, columns, samples = int(header.Rows), int(header.Columns), int(header.SamplesPerPixel)
        bits_allocated, frames = int(header.BitsAllocated), int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError) as error:
        found = "Rows, Columns, SamplesPerPixel, BitsAllocated or NumberOfFrames is not a whole number"
        raise refusal(path, found, f"Wanted a valid header: {EXPORT_AGAIN}") from error
    if rows <= 0 or columns <= 0:
        raise refusal(path, f"the image has {rows} rows and {columns} columns", "Wanted at least one of each")
    if not 1 <= bits_allocated <= 64:  # PS3.5 8.1.1, and double floats
        raise refusal(path, f"the pixels have {bits_allocated} bits", "Wanted 1 to 64")
    photometric = str(header.PhotometricInterpretation)
    if samples != 1 or photometric not in GREY:
        named = photometric if photometric in (*GREY, *COLOUR) else "an unknown photometric interpretation"
        found = f"the image is not grey ({named}, {samples} samples per pixel)"
        raise refusal(path, found, "Wanted MONOCHROME1 or MONOCHROME2: take the original, not a colour copy")
    if frames != 1:
        raise refusal(
            path, f"the image has {frames} frames", "Wanted one: write the frame that is meant to its own file"
        )
    directions = header.get("PatientOrientation") or ()
    directions = (directions,) if isinstance(directions, str) else tuple(map(str, directions))
    directions = directions if any(directions) else ()
    try:
        not_frontal = stated_otherwise(header)
    except PARSE_ERRORS:  # in a sequence: what is damaged states nothing, and the pixels may be whole
        not_frontal = None
    return Frame(
        rows, columns, bits_allocated, photometric, parsed.syntax, directions, not_frontal, parsed, parsed.writing
    )


def _find_pixels(path: Path, file: BinaryIO, frame: Frame) -> Frame:
    """Refuses a file that has no pixel data, or ends inside them. `file` stands at the pixel data element (PS3.5 7.1).

    Only tags, lengths and the first bytes of a compressed stream are read, so that a check of thousands of files takes
    seconds.

    Returns:
        The frame, with the syntax that the pixels are really in.
    """
    encoding = frame.rest.encoding
    order = "<" if encoding.little else ">"
    head = 8 if encoding.implicit else 12
    size = path.stat().st_size
    start = file.tell()
    element = file.read(head)
    if len(element) < 4 or struct.unpack_from(order + "H", element)[0] != 0x7FE0:
        raise refusal(path, "the DICOM file has no pixel data", f"It is cut short, or not an image: {EXPORT_AGAIN}")
    # OB, OW and the like have 32 bits of length (PS3.5 7.1.2)
    length = struct.unpack(order + "I", element[-4:])[0] if len(element) == head else UNDEFINED
    if length != UNDEFINED:
        available = min(length, size - file.tell())
        if available < frame.size:
            pixels = f"{frame.rows} x {frame.columns} pixels of {frame.bits_allocated} bits"
            found = f"the pixel data are cut short: {available} bytes, {pixels} need {frame.size}"
            raise refusal(path, found, EXPORT_AGAIN)
        return _in_syntax(frame, encoding.syntax)
    fragments = walk(file, size) if len(element) == head else None
    if fragments is None:
        found = f"the pixel data are cut short: they break off in the file's last {size - start} bytes"
        raise refusal(path, found, EXPORT_AGAIN)
    frame = _in_syntax(frame, syntax_of(fragments.start, frame.syntax))
    if fragments.end is None:
        return frame
    note = "the compressed pixels are not ended by a sequence delimiter; their fragments are whole and were read"
    return replace(frame, end=fragments.end, notes=(*frame.notes, note))


def _in_syntax(frame: Frame, syntax: UID) -> Frame:
    """The frame, its pixels in this syntax; with a note where the file names another."""
    if syntax == frame.syntax:
        return frame
    note = f"the file names {frame.syntax.name} and its pixels are in {syntax.name}; they were read so"
    return replace(frame, syntax=syntax, notes=(*frame.notes, note))
