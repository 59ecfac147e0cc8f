"""Files that are met among radiographs and not read: what they are, by their first bytes, and what to do with them."""

from __future__ import annotations

LONGEST = 264  # bytes of a file that the table looks at
_UNPACK = "Unpack it beside the others"
_SAVE = "Save it as PNG, TIFF or DICOM, without loss"
# (place, bytes there): name, remedy
_MARKS = {
    (0, b"PK\x03\x04"): ("a ZIP archive", _UNPACK),
    (257, b"ustar"): ("a tar archive", _UNPACK),
    (0, b"BZh"): ("compressed by bzip2", _UNPACK),
    (0, b"\xfd7zXZ\0"): ("compressed by xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd"): ("compressed by Zstandard", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c"): ("a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07"): ("a RAR archive", _UNPACK),
    (0, b"\x1f\x8b"): ("compressed by gzip", "Unpack it, or name it .nii.gz if it is NIfTI"),
    (0, b"\0\0\0\x0cjP  "): ("a JPEG 2000 picture outside DICOM", _SAVE),
    (0, b"\xff\x4f\xff\x51"): ("a JPEG 2000 codestream outside DICOM", _SAVE),
    (0, b"\0\0\0\x0cJXL "): ("a JPEG XL picture", _SAVE),
    (0, b"\xff\x0a"): ("a JPEG XL codestream", _SAVE),
    (0, b"GIF8"): ("a GIF picture", _SAVE),
    (8, b"WEBP"): ("a WebP picture", _SAVE),
    (4, b"ftypavif"): ("an AVIF picture", _SAVE),
    (4, b"ftyp"): ("a HEIF picture or a film", _SAVE),
    (0, b"%PDF-"): ("a PDF document", "Take the radiograph itself out of the archive"),
    (0, b"\x89HDF\r\n\x1a\n"): ("an HDF5 file", "Name one of its images: FILE.h5/ARRAY/ROW, rows from 0"),
    (0, b"NRRD000"): ("an NRRD image", "Save it as NIfTI or MetaImage"),
}


def other_format(start: bytes) -> tuple[str, str] | None:
    """What a file is that is known and not read, and the remedy; None for any other.

    Args:
        start: its first `LONGEST` bytes.
    """
    if start.startswith(b"BM") and start[6:10] == bytes(4):  # two letters alone may begin a text
        return "a BMP picture", _SAVE
    return next((what for (place, mark), what in _MARKS.items() if start.startswith(mark, place)), None)
