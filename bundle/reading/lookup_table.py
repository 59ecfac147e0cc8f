"""Lookup tables of a DICOM header: Modality LUT (PS3.3 C.11.1.1) and VOI LUT (C.11.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from bundle.reading.dicom_values import PhotometryError, word_bytes, words
from bundle.reading.value_window import FloatArray

FEW = 0.01  # of a table's entries: so many above its bits are a slip, more are another range


@dataclass(frozen=True)
class LookupTable:
    """A table, not yet placed: its first input value is 16 bits whose sign depends on what goes in.

    Attributes:
        first: the 16 bits, without a sign.
        entries: the outputs, whole numbers.
        bits: 0..2**bits - 1 is their range.
    """

    first: int
    entries: FloatArray
    bits: int

    @property
    def top(self) -> float:
        """The greatest output that there can be."""
        return 2.0**self.bits - 1.0

    def look_up(self, values: FloatArray, first: int) -> FloatArray:
        """The entries for some values; those outside the table's inputs, `first` onwards, get its first or last entry.

        Not pydicom's: pydicom 3.0 indexes an 8-bit VOI LUT through 8-bit integers, which wraps tables of more than 256
        entries, and takes no Modality LUT of 9 to 15 bits.
        """
        finite = np.where(np.isfinite(values), values, first)
        index = np.clip(np.rint(finite) - first, 0, self.entries.size - 1).astype(np.intp)
        return self.entries[index]


def is_table(item: Dataset) -> bool:
    """Whether an item of a LUT Sequence holds any entries."""
    return "LUTData" in item and item.get_item("LUTData").value not in (None, "", b"")


def read_table(item: Dataset, name: str, notes: list[str]) -> LookupTable:
    """Reads an item of a LUT Sequence.

    The bits that LUT Descriptor states are often those of the cell. Where all entries lie in the lowest quarter of
    their range, or more than a few above it, the range is that of the largest entry's bits; a few above it are clipped.

    Args:
        item: with LUT Descriptor and LUT Data.
        name: of the table, for messages.
        notes: what was found otherwise than stated is added.

    Returns:
        The table.

    Raises:
        PhotometryError: the item contradicts itself.
    """
    descriptor = words(item, "LUTDescriptor")
    if descriptor.size != 3:
        raise PhotometryError(f"{name}: LUTDescriptor does not have its three values")
    count = int(descriptor[0]) or 2**16  # 65536 does not fit the attribute's 16 bits: 0 stands for it
    stated = int(descriptor[2])
    if not 8 <= stated <= 16:
        raise PhotometryError(f"{name}: LUTDescriptor states {stated} bits an entry; 8 to 16 are known")
    data = word_bytes(item, "LUTData")
    if len(data) >= 2 * count:
        entries = np.frombuffer(data, "<u2", count).astype(np.float64)
    elif len(data) >= count:  # 8-bit entries may lie two to a word, the first in the low byte
        entries = np.frombuffer(data, np.uint8, count).astype(np.float64)
    else:
        held = len(data) if stated == 8 else len(data) // 2
        raise PhotometryError(f"{name}: LUTData holds {held} entries; its LUTDescriptor names {count}")
    return LookupTable(int(descriptor[1]), *_range(entries, stated, name, notes))


def _range(entries: FloatArray, stated: int, name: str, notes: list[str]) -> tuple[FloatArray, int]:
    """The entries and the bits of the range that they are in."""
    top = 2**stated - 1
    largest = int(entries.max())
    above = int(np.count_nonzero(entries > top))
    if 0 < above <= FEW * entries.size:
        notes.append(f"{name}: {above} of {entries.size} entries are above its {stated} bits; they were clipped")
        return np.minimum(entries, top), stated
    needed = max(1, largest.bit_length())
    if above or needed <= stated - 2:
        notes.append(f"{name}: states {stated} bits, and its entries have {needed}; their range was taken")
        return entries, needed
    return entries, stated
