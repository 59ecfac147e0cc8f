"""How a DICOM file's data set is written: as its transfer syntax says, unless its bytes say otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from bundle.reading.deflated import inflated_start
from bundle.reading.dicom_start import PREAMBLE, dicom_start

LOOK = 4096  # bytes of the data set that are looked at
ELEMENTS = 4  # so many must follow one another
LAST_GROUP = 0x7FE0
UNDEFINED = 0xFFFFFFFF
_VRS = frozenset(vr.value.encode() for vr in VR if len(vr.value) == 2)
_LONG = frozenset(vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32)


@dataclass(frozen=True)
class Encoding:
    """How a data set is written (PS3.5 7.1, 7.3, A.5).

    Attributes:
        implicit: whether the VRs are left out.
        little: whether it is little endian.
        deflated: whether it is deflated.
    """

    implicit: bool
    little: bool = True
    deflated: bool = False

    @property
    def syntax(self) -> UID:
        """The transfer syntax of pixels that are not compressed in it."""
        if self.deflated:
            return DeflatedExplicitVRLittleEndian
        if self.implicit:
            return ImplicitVRLittleEndian
        return ExplicitVRLittleEndian if self.little else ExplicitVRBigEndian


def meta_syntax(file: BinaryIO) -> UID:
    """The transfer syntax that the file meta information names, "" for none; `file` is left behind it.

    A bare data set, without preamble and file meta information, leaves it at its start.

    Raises:
        Exception: as pydicom does, for file meta information that does not parse.
    """
    file.seek(0)
    begin = dicom_start(file.read(PREAMBLE)) or 0
    file.seek(begin)
    implicit = file.read(6)[4:] not in _VRS  # against PS3.10 7.1, but read
    file.seek(begin)
    meta = read_dataset(file, implicit, True, stop_when=lambda tag, vr, length: tag.group != 0x0002)
    start = file.tell()
    if file.read(2) == b"\0\0":  # a message's command set, which does not belong into a file
        file.seek(start)
        read_dataset(file, True, True, stop_when=lambda tag, vr, length: tag.group != 0x0000)
        start = file.tell()
    file.seek(start)
    return UID(str(meta.get("TransferSyntaxUID") or ""))


def encoding_of(file: BinaryIO, named: UID) -> Encoding:
    """How the data set is written that begins where `file` stands; there it is left.

    The bytes decide: in each encoding the first elements must have known VRs, lengths that fit and rising tags. Bytes
    that fit in none are taken as named.

    Args:
        file: the DICOM file, behind its file meta information.
        named: the transfer syntax.

    Returns:
        The encoding.
    """
    start = file.tell()
    head = file.read(LOOK)
    rest = file.seek(0, 2) - start
    file.seek(start)
    explicit = [Encoding(False), Encoding(False, little=False)]
    for encoding in explicit:
        if _fits(head, encoding, rest):
            return encoding
    if _fits(inflated_start(head, LOOK), Encoding(False), UNDEFINED):
        return Encoding(False, deflated=True)
    if _fits(head, Encoding(True), rest):  # the last, because any bytes may look like a length
        return Encoding(True)
    return Encoding(
        named == ImplicitVRLittleEndian, named != ExplicitVRBigEndian, named == DeflatedExplicitVRLittleEndian
    )


def _fits(head: bytes, encoding: Encoding, rest: int) -> bool:
    """Whether bytes, followed by others to a number of `rest`, begin a data set in this encoding."""
    order: Literal["little", "big"] = "little" if encoding.little else "big"
    # Data sets begin with a low group, nearly always 0008: read in the wrong byte order it is a high one.
    if int.from_bytes(head[:2], order) != min(int.from_bytes(head[:2], "little"), int.from_bytes(head[:2], "big")):
        return False
    place, before = 0, -1
    for number in range(ELEMENTS):
        element = head[place : place + 12]
        if len(element) < 12:
            return number > 0
        tag = int.from_bytes(element[:2], order) << 16 | int.from_bytes(element[2:4], order)
        vr = element[4:6]
        if tag <= before or tag >> 16 > LAST_GROUP or (vr in _VRS) is encoding.implicit:
            return False
        if encoding.implicit:  # two letters of a VR would be a length of more than 16 kB
            length, size = int.from_bytes(element[4:8], order), 8
        elif vr in _LONG:
            length, size = int.from_bytes(element[8:12], order), 12
        else:
            length, size = int.from_bytes(element[6:8], order), 8
        if length == UNDEFINED:
            return True
        place, before = place + size + length, tag
        if place > rest:
            return False
    return True
