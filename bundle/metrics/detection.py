"""Average precision of candidate boxes, as detectors report it: COCO's rules, matched by pycocotools.

Source: Lin et al., "Microsoft COCO: common objects in context" (ECCV 2014), and the challenge's evaluation code.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bundle.metrics.draws import Draws
from bundle.metrics.records import COUNTED, Floats, Integers, Records

IOUS = (0.1, 0.3, 0.5)
MAX_DETECTIONS = 100

_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class BoxMatches:
    """Candidates of one finding, by falling score, after COCO's matching.

    Attributes:
        hit: (T, D) bool, whether the candidate took a lesion at each IoU.
        image: (D,) place of its image among the records' images.
        lesion_image: (L,) place of each lesion's image.
    """

    hit: NDArray[np.bool_]
    image: Integers
    lesion_image: Integers


def box_matches(
    records: Records, iou: Sequence[float] = IOUS, max_detections: int = MAX_DETECTIONS
) -> list[BoxMatches]:
    """What the candidates' boxes hit per finding and IoU, over the images that count for the finding.

    By falling score, a candidate takes the lesion of its image and finding with which its IoU is highest among those
    not yet taken, if that is >= the threshold; else it is wrong. Areas are (x1 - x0) (y1 - y0) in stored pixels, of any
    size.

    Differs from this project's FROC: a second hit on a found lesion is wrong; boxes must overlap, peaks do not matter.
    Equal scores keep the order of the images, as in COCO, so of constant scores it says nothing. Images count as in
    `bundle.metrics.records.of_finding`: those of status `COUNTED` only.

    Args:
        records: of the evaluation; its hit criterion is not used.
        iou: T thresholds, each in (0, 1].
        max_detections: highest candidates of an image and finding that are looked at.

    Returns:
        Of each finding, for `box_precision`.

    Raises:
        ValueError: for settings out of range, or where a score is not finite or a box is empty or not finite (with the
            image's index).
    """
    if not iou or not all(0 < t <= 1 for t in iou) or max_detections < 1:
        raise ValueError(f"wanted: IoU thresholds in (0, 1], max_detections >= 1; got {tuple(iou)}, {max_detections}")
    lesions, candidates = records.lesions, records.candidates
    _check("candidate", candidates.index, candidates.box, candidates.score)
    _check("lesion", lesions.index, lesions.box, np.zeros(len(lesions.box)))
    findings = range(len(records.findings))
    true = _Boxes.of(records, lesions.index, lesions.finding, lesions.box)
    called = _Boxes.of(records, candidates.index, candidates.finding, candidates.box, candidates.score)

    if not len(true.image) + len(called.image):
        return [BoxMatches(np.zeros((len(iou), 0), bool), *np.zeros((2, 0), np.int64)) for _ in findings]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress by print
        evaluation = COCOeval(true.coco(len(findings)), called.coco(len(findings)), "bbox")
        settings = evaluation.params
        settings.imgIds = np.union1d(true.image, called.image).tolist()
        settings.iouThrs, settings.recThrs = np.asarray(iou, np.float64), _RECALLS
        settings.maxDets, settings.areaRng, settings.areaRngLbl = [max_detections], [[0, np.inf]], ["all"]
        evaluation.evaluate()
    return _matches(evaluation, len(findings), true)


def box_precision(matches: BoxMatches, draws: Draws) -> Floats:
    """Average precision of one finding: precision, made to fall with recall, averaged over the recalls 0, .01 .. 1.

    Matching stays within an image, so it is done once; a column only weights candidates and lesions by how often their
    unit counts. Copies of an image are taken to stand together, so where two candidates of *one* image have equal
    scores a replicate can differ from the figure of a resampled data set, as it depends on their order there too.

    Args:
        matches: of the finding.
        draws: of the images of the records.

    Returns:
        (T, C); NaN in columns without lesions.
    """
    lesions = draws.sums(np.bincount(matches.lesion_image, minlength=len(draws.unit))[None])[0]  # (C,)
    result, own = np.zeros((len(matches.hit), len(lesions))), draws.unit[matches.image]
    for part, drawn in draws.chunks(len(own)) if len(own) else ():
        weight = drawn[own]  # (D, c)
        called = np.cumsum(weight, 0)
        for t, hit in enumerate(matches.hit):
            # between two hits recall stands still and precision only falls: the hits' rows say all
            rows = np.flatnonzero(hit)
            hits = np.cumsum(weight[rows], 0)
            with np.errstate(invalid="ignore", divide="ignore"):  # nothing drawn yet, or no lesion drawn
                precision = np.nan_to_num(hits / called[rows])
                recall = np.nan_to_num(hits / lesions[part])
            precision = np.maximum.accumulate(precision[::-1], 0)[::-1]
            # every recall 0, .01 .. 1 takes the precision at the first candidate that reaches it
            reached = np.searchsorted(_RECALLS, recall, side="right")
            result[t, part] = (precision * np.diff(reached, axis=0, prepend=0)).sum(0) / len(_RECALLS)
    result[:, lesions == 0] = np.nan
    return result


@dataclass(frozen=True)
class _Boxes:
    """Boxes on images that count for their finding; images are places among the records'."""

    image: Integers
    finding: Integers
    box: Floats
    score: Floats | None

    @classmethod
    def of(
        cls, records: Records, index: Integers, finding: Integers, box: Floats, score: Floats | None = None
    ) -> "_Boxes":
        image = np.searchsorted(records.images.index, index)
        counts = records.images.status[image, finding] == COUNTED
        return cls(image[counts], finding[counts], box[counts], None if score is None else score[counts])

    def coco(self, findings: int) -> COCO:
        """As pycocotools holds them: [x, y, width, height], numbered from 1, because 0 means "no match" there."""
        size = self.box[:, 2:] - self.box[:, :2]
        rows = [
            {"id": number, "image_id": image, "category_id": finding, "bbox": box, "area": area, "iscrowd": 0}
            for number, (image, finding, box, area) in enumerate(
                zip(
                    self.image.tolist(),
                    self.finding.tolist(),
                    np.column_stack([self.box[:, :2], size]).tolist(),
                    size.prod(1).tolist(),
                    strict=True,
                ),
                start=1,
            )
        ]
        if self.score is not None:
            for row, score in zip(rows, self.score.tolist(), strict=True):
                row["score"] = score
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in np.unique(self.image).tolist()],
            "categories": [{"id": finding} for finding in range(findings)],
            "annotations": rows,
        }
        coco.createIndex()
        return coco


def _matches(evaluation: COCOeval, findings: int, true: _Boxes) -> list[BoxMatches]:
    """Per finding, what pycocotools matched, its images joined in its order and then sorted as it sorts."""
    images = len(evaluation.params.imgIds)
    result = []
    for finding in range(findings):
        own = [image for image in evaluation.evalImgs[finding * images : (finding + 1) * images] if image is not None]
        scores = [np.asarray(image["dtScores"], np.float64) for image in own]
        place = np.repeat([image["image_id"] for image in own], [len(score) for score in scores]).astype(np.int64)
        hit = [image["dtMatches"] > 0 for image in own]
        order = np.argsort(-np.concatenate(scores or [np.zeros(0)]), kind="mergesort")
        table = np.concatenate([np.zeros((len(evaluation.params.iouThrs), 0), bool), *hit], axis=1)
        result.append(BoxMatches(table[:, order], place[order], true.image[true.finding == finding]))
    return result


def _check(name: str, index: Integers, box: Floats, score: Floats) -> None:
    for fault, what in (
        (~np.isfinite(score), "a score that is not finite"),
        (~(np.isfinite(box).all(1) & (box[:, 2:] > box[:, :2]).all(1)), "a box that is empty or not finite"),
    ):
        if fault.any():
            raise ValueError(f"image {index[int(fault.argmax())]}: a {name} has {what}")
