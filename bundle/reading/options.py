"""The choices that a file leaves to its reader."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadingOptions:
    """How pixel values become 0..1, and where they are decoded.

    Attributes:
        voi_index: which of several VOI LUTs or windows of a DICOM file is applied, from 0.
        prefer_lut: whether a VOI LUT Sequence goes before Window Center/Width where a file has both.
        value_range: (low, high) in modality units (DICOM) or stored values (other formats), shown as 0 and 1;
            replaces whatever the file states.
        percentiles: (low, high) of the percentile window, in percent.
        isolated: whether compressed pixels are decoded in a process of their own (`decoder.py`). Without it one wrong
            byte may end this process: only for files that have been read before.
    """

    voi_index: int = 0
    prefer_lut: bool = True
    value_range: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (0.5, 99.5)
    isolated: bool = True

    def __post_init__(self) -> None:
        """Refuses options that cannot be meant."""
        if self.voi_index < 0:
            raise ValueError(f"voi_index is {self.voi_index}; wanted 0 or more")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range is {self.value_range}; wanted (low, high) with low < high")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles are {self.percentiles}; wanted 0 <= low < high <= 100")
