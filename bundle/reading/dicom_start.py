"""Where the elements of a DICOM file begin: behind the preamble (PS3.10 7.1), or at once where a device wrote none."""

from __future__ import annotations

import struct

from pydicom.datadict import dictionary_has_tag
from pydicom.values import converters

PREAMBLE = 132  # bytes, with "DICM"
_FIRST_GROUPS = (0x0002, 0x0008)  # file meta information, or else the identifying group
_LONGEST = 1024  # bytes of a first element: a length, a character set, a UID


def dicom_start(start: bytes) -> int | None:
    """The place of a DICOM file's first element, told from its first bytes.

    Without the preamble, a first element of group 0002 or 0008 must stand there: in Explicit VR of either byte order
    with a VR that there is, or in Implicit VR with a length that such an element may have.

    Args:
        start: at least the file's first 132 bytes, or all that it has.

    Returns:
        132, 0, or None for what is not DICOM.
    """
    if start[PREAMBLE - 4 : PREAMBLE] == b"DICM":
        return PREAMBLE
    if len(start) < 8:
        return None
    explicit = start[4:6].decode("latin-1") in converters
    for order in "<>" if explicit else "<":
        group, number, length = struct.unpack_from(f"{order}HHI", start)
        known = number == 0 or dictionary_has_tag(group << 16 | number)
        if group in _FIRST_GROUPS and known and (explicit or length <= _LONGEST):
            return 0
    return None
