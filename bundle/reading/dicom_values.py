"""Numbers of a DICOM header, whatever VR a file gives them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

_TEXT = ("DS", "IS")


class PhotometryError(ValueError):
    """A header's grey-scale attributes cannot be understood; the reader adds the file's name."""


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """An attribute's values as floats; [] where it is absent or empty.

    Raises:
        PhotometryError: one is no finite number.
    """
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    several = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
    try:
        found = [float(each) for each in several if each is not None and each != ""]
    except (TypeError, ValueError) as error:
        raise PhotometryError(f"{keyword} is not a number") from error
    if not all(math.isfinite(number) for number in found):
        raise PhotometryError(f"{keyword} is not a finite number")
    return found


def words(dataset: Dataset, keyword: str) -> npt.NDArray[np.uint16]:
    """An attribute's values as 16 bits without a sign; empty where it is absent or empty.

    The VR of many attributes is US, SS or OW by the rules of PS3.3 and PS3.5 A.1, which go by other attributes; in
    Implicit VR it is not written, and elsewhere often wrong. The bits are the same in all: who knows what they are
    compared with chooses the sign (`signed`).

    Raises:
        PhotometryError: it holds something else than 16-bit numbers.
    """
    content = word_bytes(dataset, keyword)
    return np.frombuffer(content[: len(content) // 2 * 2], "<u2")


def word_bytes(dataset: Dataset, keyword: str) -> bytes:
    """What `words` reads, as bytes, each pair of them little endian; of bytes that were odd in number the last too."""
    tag = Tag(keyword)
    if tag not in dataset:
        return b""
    element = dataset.get_item(tag)
    little = dataset.original_encoding[1] is not False
    value: Any = element.value
    if isinstance(element, RawDataElement):
        little = element.is_little_endian
        if element.VR in _TEXT and value:
            value = value.decode("latin-1").rstrip(" \0").split("\\")
    if value is None or (isinstance(value, (str, bytes)) and not value):
        return b""
    if isinstance(value, bytes):
        even = len(value) // 2 * 2
        return value if little else np.frombuffer(value[:even], ">u2").astype("<u2").tobytes() + value[even:]
    several = [value] if isinstance(value, (str, int, float)) else value
    try:
        integers = np.asarray([int(each) for each in several], dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PhotometryError(f"{keyword} does not hold whole numbers") from error
    if integers.size and not -(2**15) <= integers.min() <= integers.max() < 2**16:
        raise PhotometryError(f"{keyword} holds numbers of more than 16 bits")
    return (integers & 0xFFFF).astype("<u2").tobytes()


def signed(bits: int) -> int:
    """What 16 bits are as a signed number."""
    return bits - 2**16 if bits >= 2**15 else bits
