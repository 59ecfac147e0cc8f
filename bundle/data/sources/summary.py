"""What a prepared datalist holds: counts for the file, and the same as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bundle.data.sources.spool import Digests

__all__ = ["Counts", "summary_lines", "warnings_of"]


class Counts:
    """What a section holds, counted entry by entry."""

    def __init__(self) -> None:
        self._labels: dict[int, Counter[str]] = {0: Counter(), 1: Counter()}
        self._boxes, self._boxed, self._whole = Counter[str](), Counter[str](), Counter[str]()
        self._patients = Digests()

    def add(self, entry: Mapping[str, Any]) -> None:
        """One more, as it stands in the datalist."""
        own = Counter(box["finding"] for box in entry.get("boxes", ()))
        self._boxes.update(own)
        self._boxed.update(set(entry.get("boxed", ())) & own.keys())
        of_image = {**dict.fromkeys(own, 1), **entry.get("labels", {})}
        for finding, label in of_image.items():
            self._labels[label][finding] += 1
        self._patients.add(str(entry.get("patient_id", "")))
        self._whole.update(boxed_images=bool(own), reports=bool(entry.get("report")))

    def of(self, findings: Sequence[str]) -> dict[str, Any]:
        """The counts.

        Args:
            findings: in the datalist's order.

        Returns:
            `images`, `patients`, `boxes`, `boxed_images`, `reports`, and `findings`: of each the images where it is
            `present`, `absent` and `unknown`, its `boxes`, and the images where these are complete and not none
            (`boxed`).
        """
        images, (absent, present) = len(self._patients), self._labels.values()
        return {
            "images": images,
            "patients": self._patients.distinct(),
            "boxes": self._boxes.total(),
            "boxed_images": self._whole["boxed_images"],
            "reports": self._whole["reports"],
            "findings": {
                finding: {
                    "present": present[finding],
                    "absent": absent[finding],
                    "unknown": images - present[finding] - absent[finding],
                    "boxes": self._boxes[finding],
                    "boxed": self._boxed[finding],
                }
                for finding in findings
            },
        }


def summary_lines(source: Mapping[str, Any]) -> Iterator[str]:
    """The counts in words.

    Args:
        source: the datalist's key of that name.

    Yields:
        Lines: a table of the sections, one of the findings, and what was left out.
    """
    columns = ("images", "patients", "boxes", "boxed_images", "reports")
    rows = [[name, *(f"{count[column]:,}" for column in columns)] for name, count in source["counts"].items()]
    yield from _table([["", "images", "patients", "boxes", "images with boxes", "reports"], *rows])
    yield ""
    every = source["counts"]["all"]["findings"]
    cells = [[finding, *(f"{number:,}" for number in count.values())] for finding, count in every.items()]
    yield from _table([["", "present", "absent", "unknown", "boxes", "images with all its boxes"], *cells])
    yield ""
    for reason, number in source["left_out"].items():
        yield f"Left out: {number:,} {reason}"
    if source["clipped_boxes"]:
        yield f"Clipped to their image: {source['clipped_boxes']:,} boxes"


def warnings_of(counts: Mapping[str, Any]) -> Iterator[str]:
    """What will go wrong in training and evaluation.

    Args:
        counts: section -> what `Counts.of` gives.

    Yields:
        A sentence each.
    """
    for section in ("training", "validation", "test"):
        count = counts.get(section)
        if count is None:
            continue
        if not count["images"]:
            yield f"{section} has no image: too few patients, or its share is 0."
            continue
        for state, meaning in (("present", "1"), ("absent", "0")):
            without = [finding for finding, number in count["findings"].items() if not number[state]]
            if without:
                yield f"{section} has no image with label {meaning} of {', '.join(without)}."


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns under each other, the first to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
