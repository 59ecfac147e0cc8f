"""The choices that a file leaves to its reader."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bundle.comments import without_comments

SECTION = "reading"  # of the configuration: messages name a choice as it is made there, such as reading#value_range


@dataclass(frozen=True)
class ReadingOptions:
    """The section `reading` of a configuration: how pixel values become 0..1, where they are decoded, what is assessed.

    Two readings of one file are the same only if their options are equal: what remembers what was read, keys it by
    them. JSON's lists become tuples.

    Attributes:
        voi_index: which of several VOI LUTs or windows of a DICOM file is applied, from 0.
        prefer_lut: whether a VOI LUT Sequence goes before Window Center/Width where a file has both.
        value_range: (low, high) in modality units (DICOM) or stored values (other formats), shown as 0 and 1;
            replaces whatever the file states.
        percentiles: (low, high) of the percentile window, in percent.
        isolated: whether compressed pixels are decoded in a process of their own (`decoder.py`). Without it one wrong
            byte may end this process: only for files that have been read before.
        flat: what becomes of an image whose stored values vary and of which nothing is to be seen: "note" reads it,
            with a note in its metadata, "refuse" does not, for training.
        frontal: "require" has what is no frontal chest radiograph named as `not_assessed`; "any" looks for no sign.
    """

    voi_index: int = 0
    prefer_lut: bool = True
    value_range: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (0.5, 99.5)
    isolated: bool = True
    flat: str = "note"
    frontal: str = "require"

    def __post_init__(self) -> None:
        """Refuses options that cannot be meant."""
        if isinstance(self.voi_index, bool) or not isinstance(self.voi_index, int) or self.voi_index < 0:
            raise _unmeant("voi_index", self.voi_index, "a whole number, 0 or more")
        for name in ("prefer_lut", "isolated"):
            if not isinstance(value := getattr(self, name), bool):
                raise _unmeant(name, value, "true or false")
        if self.value_range is not None:
            value_range = _pair("value_range", self.value_range, "null, or [low, high] with low < high")
            object.__setattr__(self, "value_range", value_range)
        percentiles = _pair("percentiles", self.percentiles, wanted := "[low, high] with 0 <= low < high <= 100")
        if percentiles[0] < 0 or percentiles[1] > 100:
            raise _unmeant("percentiles", self.percentiles, wanted)
        object.__setattr__(self, "percentiles", percentiles)
        if self.flat not in ("note", "refuse"):
            raise _unmeant("flat", self.flat, '"note" or "refuse"')
        if self.frontal not in ("require", "any"):
            raise _unmeant("frontal", self.frontal, '"require" or "any"')

    @classmethod
    def of(cls, section: ReadingOptions | Mapping[str, Any] | None) -> ReadingOptions:
        """Options from a section of a configuration, which may hold some of them and a `_desc_`; None has the defaults.

        Raises:
            ValueError: for a name that is none of them, or a value that cannot be meant.
        """
        if isinstance(section, ReadingOptions):
            return section
        if section is not None and not isinstance(section, Mapping):
            raise ValueError(f'{SECTION} is {section!r}; wanted an object such as {{"voi_index": 1}}')
        chosen, known = without_comments(section), [field.name for field in fields(cls)]
        for name in chosen:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"; did you mean {SECTION}#{near[0]}?" if near else ""
                raise ValueError(f"{SECTION}#{name} is not known; wanted {', '.join(known)}{hint}")
        return cls(**chosen)

    def of_grey_values(self) -> dict[str, Any]:
        """The options that decide grey values, as JSON can hold them, for `of`."""
        return {name: value for name, value in asdict(self).items() if name not in ("isolated", "flat")}


def _pair(name: str, value: Any, wanted: str) -> tuple[float, float]:
    """(low, high), finite, low < high."""
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in pair)
    if len(pair) != 2 or not numbers or not all(map(math.isfinite, pair)) or not pair[0] < pair[1]:
        raise _unmeant(name, value, wanted)
    return pair


def _unmeant(name: str, value: Any, wanted: str) -> ValueError:
    return ValueError(f"{SECTION}#{name} is {value!r}; wanted {wanted}")


DEFAULT_OPTIONS = ReadingOptions()
