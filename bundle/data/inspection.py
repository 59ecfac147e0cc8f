"""What a datalist holds, counted, and what will go wrong with it: before hours of training, not after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.data.datalist import Datalist
from bundle.data.datalist_entry import encode_entry

FEW = 10  # positives: with fewer, a subgroup has no figure, and an interval spans half of the range
_SMALL, _UNKNOWN, _ONE_PATIENT = 0.25, 0.5, 0.2  # shares from which on it is said
_JUDGED = ("validation", "test")


@dataclass(frozen=True)
class FindingCounts:
    """One finding in one section.

    Attributes:
        positive: images labelled 1, or with a box.
        negative: labelled 0.
        unknown: not labelled.
        unboxed: positive images whose boxes are not complete: FROC leaves them out.
        boxes: of it.
        patches: (N, 2) width and height of each box in patches; empty where the images' sizes are not known.
    """

    positive: int
    negative: int
    unknown: int
    unboxed: int
    boxes: int
    patches: NDArray[np.float64]

    @property
    def small(self) -> float:
        """Share of the boxes whose area is less than a patch's; NaN without boxes of known size."""
        return float((self.patches.prod(1) < 1).mean()) if len(self.patches) else float("nan")


@dataclass(frozen=True)
class SectionCounts:
    """One section.

    Attributes:
        images: entries.
        patients: distinct ones.
        most_of_one: the most images of one patient.
        reports: images with a report.
        boxed: images with a box.
        finding_free: images labelled 0 for every finding.
        findings: counts by name.
        together: (K, K) images positive for both findings; the diagonal is one finding's positives.
    """

    images: int
    patients: int
    most_of_one: int
    reports: int
    boxed: int
    finding_free: int
    findings: Mapping[str, FindingCounts]
    together: NDArray[np.int64]


@dataclass(frozen=True)
class Inspection:
    """A datalist, counted.

    Attributes:
        findings: the K names.
        grid: patches along the canvas's side, in which boxes are measured.
        sections: by name, in the file's order.
        warnings: what will go wrong, each with what mends it.
    """

    findings: Sequence[str]
    grid: int
    sections: Mapping[str, SectionCounts]
    warnings: Sequence[str] = field(default=())


def inspect_datalist(datalist: Datalist, grid: int = 16) -> Inspection:
    """Count a checked datalist.

    A patch is 1/grid of the longer side of its image, as the canvas makes it (`bundle.transforms.FitToCanvasd`; of
    pixels that are not square, nearly).

    Args:
        datalist: all sections of it.
        grid: patches along a side, such as 16 for ViT-L/14 at 224 px; times `patch_factor`.

    Raises:
        ValueError: a grid below 1.
    """
    if grid < 1:
        raise ValueError(f"grid is {grid}; give the patches along a side of the maps, such as 16.")
    sections = {name: _count(entries, datalist.findings, grid) for name, entries in datalist.sections.items()}
    return Inspection(datalist.findings, grid, sections, [*_warnings(sections, grid)])


def _count(entries: Sequence[Mapping[str, Any]], findings: Sequence[str], grid: int) -> SectionCounts:
    arrays = [encode_entry(dict(entry), findings) for entry in entries]
    k = len(findings)
    label = np.array([each["label"] for each in arrays]).reshape(-1, k)
    complete = np.array([each["boxed"] for each in arrays], bool).reshape(-1, k)
    positive = label == 1
    counts = {}
    for place, name in enumerate(findings):
        own = [each["boxes"][each["box_finding"] == place] for each in arrays]
        sizes = [
            (boxes[:, 2:] - boxes[:, :2]) / (max(entry["stored_size"]) / grid)
            for boxes, entry in zip(own, entries, strict=True)
            if "stored_size" in entry
        ]
        counts[name] = FindingCounts(
            positive=int(positive[:, place].sum()),
            negative=int((label[:, place] == 0).sum()),
            unknown=int(np.isnan(label[:, place]).sum()),
            unboxed=int((positive[:, place] & ~complete[:, place]).sum()),
            boxes=sum(map(len, own)),
            patches=np.concatenate([np.empty((0, 2)), *sizes]),
        )
    patients = [entry["patient_id"] for entry in entries]
    return SectionCounts(
        images=len(entries),
        patients=len(set(patients)),
        most_of_one=int(np.unique(patients, return_counts=True)[1].max(initial=0)),
        reports=sum(bool(entry.get("report")) for entry in entries),
        boxed=sum(len(each["boxes"]) > 0 for each in arrays),
        finding_free=int((label == 0).all(1).sum()),
        findings=counts,
        together=positive.T.astype(np.int64) @ positive.astype(np.int64),
    )


def _warnings(sections: Mapping[str, SectionCounts], grid: int) -> list[str]:
    said = []
    usual = ("training", *_JUDGED)
    for name in usual if any(name in sections for name in usual) else ():  # folds have other names
        if not (name in sections and sections[name].images):
            need = {"training": "nothing can be trained", "validation": "no plan can be frozen"}
            said.append(
                f"{name} has no image: {need.get(name, 'nothing can be judged')}. Give it images of own patients."
            )
    for name, section in sections.items():
        said += _of_section(name, section, grid) if section.images else []
    return said


def _of_section(name: str, section: SectionCounts, grid: int) -> list[str]:
    training, said = name == "training", []

    def every(test: Any) -> str:
        return ", ".join(finding for finding, counts in section.findings.items() if test(counts))

    if one := every(lambda c: not c.positive or not c.negative):
        what = "cannot be learned" if training else "have no AUROC"
        said.append(f"{name}: {one}: one class only (positive or negative images are missing); they {what}.")
    if not training and (few := every(lambda c: 0 < c.positive < FEW)):
        said.append(
            f"{name}: {few}: fewer than {FEW} positive images; intervals will be wide, and a threshold chosen on them "
            "is chance. `python -m scripts.lesions_needed` says how many are needed."
        )
    if bare := every(lambda c: c.positive and not c.boxes):
        lost = {"training": "their patches learn from labels alone", "validation": "no box threshold can be frozen"}
        said.append(f"{name}: {bare}: no box; {lost.get(name, 'no FROC')}. Some boxes are enough for a start.")
    if not training and (left := every(lambda c: c.boxes and c.unboxed)):
        number = sum(counts.unboxed for counts in section.findings.values() if counts.boxes)
        said.append(
            f"{name}: {left}: {number} positive images whose boxes are not complete; FROC leaves them out. Where their "
            "boxes are complete, name the finding in `boxed`."
        )
    if not training and not section.finding_free:
        said.append(
            f"{name}: no image is labelled 0 for every finding: how many healthy images are marked, nobody knows."
        )
    if unknown := every(lambda c: c.unknown > _UNKNOWN * section.images):
        said.append(
            f"{name}: {unknown}: most images have no label; a finding that is not named is unknown, not absent."
        )
    if small := every(lambda c: c.small > _SMALL):
        said.append(
            f"{name}: {small}: more than {_SMALL:.0%} of the boxes are smaller than a patch of a {grid} x {grid} grid; "
            "a larger `image_size` with `tower_size`, or `patch_factor` 2, makes patches smaller."
        )
    if section.most_of_one > max(2, _ONE_PATIENT * section.images):
        said.append(
            f"{name}: one patient has {section.most_of_one} of {section.images} images; figures are of few people."
        )
    if training and not section.reports:
        said.append(f"{name}: no image has a report; report pretraining and its losses cannot run.")
    return said
