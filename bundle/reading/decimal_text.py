"""Understands decimal strings (VR DS) that some programs write against PS3.5 6.2: a decimal comma, a unit behind."""

from __future__ import annotations

import re

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

# The unit: a few letters or signs, as in HU, US or mm; "1.2.3" is no number with a unit, and no sentence is one.
_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*[A-Za-z%/]{0,8}\s*")


def mend_decimal(dataset: Dataset, tag: BaseTag) -> list[str]:
    """Writes a decimal string of a data set as the standard has it, if it is one that can be understood.

    Args:
        dataset: fresh from the file; the element is replaced there.
        tag: of an element in it.

    Returns:
        A note, where something was replaced.
    """
    element = dataset.get_item(tag)
    if not isinstance(element, RawDataElement) or not element.value or _vr(element) != "DS":
        return []
    texts = element.value.decode("latin-1").rstrip(" \0").split("\\")
    if all(_is_number(text) for text in texts):
        return []
    found = [_NUMBER.fullmatch(text) for text in texts]
    numbers = [match[1].replace(",", ".") for match in found if match]
    if len(numbers) < len(texts):
        return []  # pydicom refuses it
    dataset[tag] = element._replace(value="\\".join(numbers).encode(), length=len("\\".join(numbers)))
    return [f"{keyword_for_tag(tag)} is not written as a number; the one in it was taken"]


def _vr(element: RawDataElement) -> str:
    return element.VR or (dictionary_VR(element.tag) if keyword_for_tag(element.tag) else "")


def _is_number(text: str) -> bool:
    """Whether it is empty or what float() takes."""
    try:
        float(text or 0)
    except ValueError:
        return not text.strip()
    return True
