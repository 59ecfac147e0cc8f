"""The records of an evaluation: what every figure is derived from, so that it can be drawn again without the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# Why an image counts for a finding's FROC, or does not.
COUNTED, UNBOXED, UNKNOWN = range(3)
STATUS = ("counted", "unboxed", "unknown")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ImageRecords:
    """One row per image, by rising index.

    Attributes:
        index: (I,) the image's number in the dataset.
        group: (I,) the patient's number, or the index where images are taken as independent.
        label: (I, K) 1, 0 or NaN (unknown).
        status: (I, K) place in `STATUS`: `COUNTED` (label 0, or boxes complete), `UNBOXED` (positive without complete
            boxes) or `UNKNOWN` (no label, no complete boxes). Only counted ones enter the FROC.
        patch_area: (I,) area of a patch in stored pixels, NaN where there is no grid, as for a detector.
        pixel_mm: (I, 2) distance of stored pixels in mm, between rows and between columns; NaN where not known.
        scores: image scores by name, each (I, K), NaN where the image has none.
    """

    index: Integers
    group: Integers
    label: Floats
    status: Integers
    patch_area: Floats
    pixel_mm: Floats
    scores: Mapping[str, Floats] = field(default_factory=dict)

    def primary_score(self, name: str | None) -> Floats:
        """(I, K), the score of this name, or the first where None is given. There must be scores."""
        return self.scores[name or next(iter(self.scores))]


@dataclass(frozen=True)
class LesionRecords:
    """One row per box.

    Attributes:
        index: (L,) image.
        finding: (L,) place in the findings.
        lesion: (L,) place of the box among its image's boxes.
        score: (L,) best hit, -inf where missed.
        box: (L, 4) [x0, y0, x1, y1] in stored pixels.
        oracle: (L,) 1 where the grid lets some patch hit it, 0 where not, NaN where the geometry is not known.
        cnr: (L,) contrast-to-noise ratio, NaN where not known.
    """

    index: Integers
    finding: Integers
    lesion: Integers
    score: Floats
    box: Floats
    oracle: Floats
    cnr: Floats


@dataclass(frozen=True)
class CandidateRecords:
    """One row per candidate.

    Attributes:
        index: (M,) image.
        finding: (M,) place in the findings.
        score: (M,) finite.
        peak: (M, 2) x, y in stored pixels.
        box: (M, 4) [x0, y0, x1, y1] in stored pixels.
        lesion: (M,) the lesion it hits, as in `LesionRecords.lesion`, or -1. Of several, the nearest.
    """

    index: Integers
    finding: Integers
    score: Floats
    peak: Floats
    box: Floats
    lesion: Integers


@dataclass(frozen=True)
class Records:
    """Everything an evaluation leaves.

    Attributes:
        findings: (K,) names.
        criterion: the hit criterion in words, with its threshold.
        images: one row per image.
        lesions: one row per box.
        candidates: one row per candidate.
    """

    findings: tuple[str, ...]
    criterion: str
    images: ImageRecords
    lesions: LesionRecords
    candidates: CandidateRecords

    def with_scores(self, other: "ImageRecords") -> "Records":
        """These records with the image scores of `other`, which must hold the same images and labels.

        Raises:
            ValueError: where images or labels differ.
        """
        mine = self.images
        if not (np.array_equal(mine.index, other.index) and np.array_equal(mine.label, other.label, equal_nan=True)):
            raise ValueError("the image scores are of other images, or of other labels, than the candidates")
        return replace(self, images=replace(mine, scores={**mine.scores, **other.scores}))

    def of_images(self, kept: NDArray[np.bool_]) -> "Records":
        """The records of some of the images, (I,) true for those kept."""
        images, index = self.images, self.images.index[kept]
        scores = {name: values[kept] for name, values in images.scores.items()}
        return replace(
            self,
            images=replace(_rows(images, kept), scores=scores),
            lesions=_rows(self.lesions, np.isin(self.lesions.index, index)),
            candidates=_rows(self.candidates, np.isin(self.candidates.index, index)),
        )


T = TypeVar("T", ImageRecords, LesionRecords, CandidateRecords)


def _rows(table: T, kept: NDArray[np.bool_]) -> T:
    """Some rows of a table, but for what it holds by name."""
    arrays = {each.name: getattr(table, each.name)[kept] for each in fields(table) if each.name != "scores"}
    return replace(table, **arrays)


@dataclass(frozen=True)
class FindingRecords:
    """What counts for one finding's FROC: places are rows of `ImageRecords`.

    Attributes:
        image: (N,) places of the images that count.
        fp_score: (F,) scores of the candidates that hit nothing.
        fp_image: (F,) their images' places.
        lesion_score: (L,) best score of each lesion, -inf where missed.
        lesion_image: (L,) their images' places.
        normal_score: (Z,) highest candidate of each lesion-free image, -inf where it has none.
        normal_image: (Z,) their places.
        lesion_oracle: (L,) as in `LesionRecords`.
        lesion_cnr: (L,) as in `LesionRecords`.
    """

    image: Integers
    fp_score: Floats
    fp_image: Integers
    lesion_score: Floats
    lesion_image: Integers
    normal_score: Floats
    normal_image: Integers
    lesion_oracle: Floats
    lesion_cnr: Floats


def of_finding(records: Records, finding: int) -> FindingRecords:
    """Select what counts for one finding's FROC.

    An image counts, with its lesions, its candidates and its place in the denominator, only if its status is
    `COUNTED`: on a positive image without boxes nobody can say which candidate is wrong.

    Args:
        records: of the evaluation.
        finding: place in the findings.

    Returns:
        The selection.
    """
    images, lesions, candidates = records.images, records.lesions, records.candidates
    counts = images.status[:, finding] == COUNTED  # (I,)
    lesion, lesion_image = _on_counted(records, finding, lesions.index, lesions.finding)
    candidate, candidate_image = _on_counted(records, finding, candidates.index, candidates.finding)
    wrong = candidates.lesion[candidate] < 0
    fp, fp_image = candidate[wrong], candidate_image[wrong]

    highest = np.full(len(images.index), -np.inf)
    np.maximum.at(highest, candidate_image, candidates.score[candidate])
    normal = counts.copy()
    normal[lesion_image] = False
    return FindingRecords(
        image=np.flatnonzero(counts),
        fp_score=candidates.score[fp],
        fp_image=fp_image,
        lesion_score=lesions.score[lesion],
        lesion_image=lesion_image,
        normal_score=highest[normal],
        normal_image=np.flatnonzero(normal),
        lesion_oracle=lesions.oracle[lesion],
        lesion_cnr=lesions.cnr[lesion],
    )


def lesion_rows(records: Records, finding: int) -> Integers:
    """The rows of `LesionRecords` that count for one finding's FROC, in the order of `of_finding`'s lesions: (L,)."""
    return _on_counted(records, finding, records.lesions.index, records.lesions.finding)[0]


def _on_counted(records: Records, finding: int, index: Integers, of: Integers) -> tuple[Integers, Integers]:
    """Rows of this finding on images that count, and the places of these images."""
    rows = np.flatnonzero(of == finding)
    place = np.searchsorted(records.images.index, index[rows])
    keep = records.images.status[place, finding] == COUNTED
    return rows[keep], place[keep]
