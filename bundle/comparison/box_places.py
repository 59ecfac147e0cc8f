"""Where the boxes of the training section lie, as shares of the image: all that a baseline without eyes is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.datalist import datalist_section
from bundle.metrics.records import Floats, Integers
from bundle.reading.options import ReadingOptions
from bundle.reading.upright import Upright
from bundle.transforms.radiograph import turned_boxes


@dataclass(frozen=True)
class TrainingBoxes:
    """Boxes of findings that are complete in their images (`boxed`); others could be some of several.

    Attributes:
        findings: K names.
        box: (N, 4) as [x0, y0, x1, y1], shares of the upright image's width and height.
        finding: (N,) place in the findings.
        prevalence: (K,) share of the images with the finding among those whose label is known; 0 where none is.
    """

    findings: tuple[str, ...]
    box: Floats
    finding: Integers
    prevalence: Floats

    def of(self, finding: int) -> Floats:
        """The boxes of one finding, (n, 4)."""
        return self.box[self.finding == finding]


def training_boxes(
    path: str | Path,
    section: str | Sequence[str],
    findings: Sequence[str],
    base_dir: str | Path | None = None,
    reading: ReadingOptions | Mapping[str, Any] | None = None,
) -> TrainingBoxes:
    """The boxes of a section; no pixel is looked at.

    Args:
        path: of the datalist.
        section: that was trained on, or several in a row.
        findings: the K findings, in the order of the network's outputs.
        base_dir: as for `datalist_section`.
        reading: as for `datalist_section`.

    Raises:
        DatalistError: for a file with faults, or without the section.
    """
    boxes, owners, labels = [np.empty((0, 4))], [np.empty(0, np.int64)], [np.full((1, len(findings)), np.nan)]
    for item in section_truths(path, section, findings, base_dir, reading):
        complete = item["boxed"][item["box_finding"]]
        height, width = item["stored_size"]
        boxes.append(item["boxes"][complete] / np.array([width, height, width, height], np.float64))
        owners.append(item["box_finding"][complete])
        labels.append(item["label"][None])
    label = np.concatenate(labels)
    known = np.maximum((~np.isnan(label)).sum(0), 1)
    return TrainingBoxes(tuple(findings), np.concatenate(boxes), np.concatenate(owners), np.nansum(label, 0) / known)


def section_truths(
    path: str | Path,
    section: str | Sequence[str],
    findings: Sequence[str],
    base_dir: str | Path | None = None,
    reading: ReadingOptions | Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The truth of every image of a section as the metrics take it, by the datalist and the images' headers alone.

    Without a patch grid, so criterion `patch` cannot judge by it. The arguments and Raises are those of
    `training_boxes`.

    Returns:
        The items of `datalist_section`, their `boxes` turned upright, with the upright `stored_size` (H, W).
    """
    kept = ("stored_size", "stored_orientation")
    items = list(datalist_section(path, section, findings, kept, base_dir=base_dir, reading=reading))
    for item in items:
        turn, stored = Upright.of(item["stored_orientation"]), item["stored_size"]
        item["boxes"], item["stored_size"] = turned_boxes(item["boxes"], turn, stored), turn.size(stored)
    return items
