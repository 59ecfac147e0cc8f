"""FROC as a cumulative metric: per-image candidates and ground truth in, one figure, curves and records out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bundle.metrics.arrays import as_array
from bundle.metrics.candidates import BOX, COLUMNS, FINDING, PEAK, SCORE
from bundle.metrics.cumulative import CumulativeRows, groups
from bundle.metrics.froc import FP_RATES, FROCCurve, froc_curve, froc_score, sensitivity_at
from bundle.metrics.matching import BEST_HIT, Geometry, HitCriterion, Match, match, match_batch, oracle_batch
from bundle.metrics.records import (
    COUNTED,
    UNBOXED,
    UNKNOWN,
    CandidateRecords,
    ImageRecords,
    LesionRecords,
    Records,
    of_finding,
)
from bundle.metrics.strata import patch_areas


@dataclass(frozen=True)
class ImageTruth:
    """What is known of one image; its N real boxes, without padding.

    Attributes:
        findings: names of the K findings.
        index: the image's number.
        group: the patient's, NaN where not known.
        label: (K,).
        status: (K,) place in `STATUS`.
        boxes: (N, 4).
        finding: (N,).
        cnr: (N,).
        place: (N,) of each box among the image's, padding included.
        geometry: of the patches, where known.
        pixel_mm: (2,), NaN where not known.
    """

    findings: tuple[str, ...]
    index: int
    group: float
    label: NDArray[np.float64]
    status: NDArray[np.int64]
    boxes: NDArray[np.float64]
    finding: NDArray[np.int64]
    cnr: NDArray[np.float64]
    place: NDArray[np.int64]
    geometry: Geometry | None
    pixel_mm: NDArray[np.float64]


class FROCMetric(CumulativeRows):
    """Mean FROC sensitivity over findings, with the records from which everything else follows.

    Per finding, an image counts, in numerator and denominator, only if its label is 0 (which means complete and
    empty) or its boxes are complete; see `bundle.metrics.records.of_finding`. How candidates meet lesions:
    `bundle.metrics.matching.match`; how scores become a curve: `bundle.metrics.froc.froc_curve`.

    Ranks may hold any number of images, or none; images that a sampler repeats count once. As with every MONAI
    cumulative metric, all ranks must call `aggregate` (or `records`), and all get the same answer.

    Args:
        findings: names of the K findings, in the order of the patch maps.
        criterion: hit criterion, one of `bundle.metrics.matching.CRITERIA`.
        threshold: of the criterion; None for `centre`.
        box_fraction: of criterion `patch` alone.
        assignment: one of `bundle.metrics.matching.ASSIGNMENTS`.
        fp_rates: false positives per image at which `aggregate` averages the sensitivity.

    Raises:
        ValueError: where findings are missing or repeated, or the criterion and its threshold do not fit.

    Example:
        >>> metric = FROCMetric(findings=["Nodule"])
        >>> candidate = torch.tensor([[0, 0.9, 15, 15, 10, 10, 20, 20]])
        >>> truth = {"index": 0, "label": torch.ones(1), "boxed": torch.ones(1, dtype=torch.bool),
        ...          "boxes": torch.tensor([[12.0, 12, 18, 18]]), "box_finding": torch.tensor([0])}
        >>> _ = metric([candidate], [truth])
        >>> metric.aggregate().item()
        1.0
    """

    def __init__(
        self,
        findings: Sequence[str],
        criterion: str = "centre",
        threshold: float | None = None,
        box_fraction: float | None = None,
        assignment: str = BEST_HIT,
        fp_rates: Sequence[float] = FP_RATES,
    ) -> None:
        self.findings = tuple(findings)
        if not self.findings or len({*self.findings, "mean"}) != len(self.findings) + 1:
            raise ValueError(f"findings must be named, differ and not be 'mean', got {self.findings}")
        self.criterion = HitCriterion(criterion, threshold, box_fraction, assignment)
        self.fp_rates = tuple(fp_rates)
        k = len(self.findings)
        # images: group, K labels, K states, pixel in mm, patch area; lesions: finding, place, score, box, oracle, cnr;
        # candidates and their hit
        super().__init__(widths=(4 + 2 * k, 9, len(COLUMNS) + 1), identity=1 + 2 * k)

    def __call__(self, y_pred: Sequence[torch.Tensor], y: Sequence[Mapping[str, Any] | ImageTruth]) -> list[Match]:
        """Match a batch of images and keep their rows.

        Args:
            y_pred: for each image its (M, 8) candidates, as `bundle.metrics.candidates.extract_candidates` gives.
            y: for each image what `truths` made of it, or a mapping with

                - `index`: int, the image's number, unique in the dataset;
                - `label`: (K,) 1, 0 or NaN (unknown);
                - `boxes`: (N, 4) [x0, y0, x1, y1] in stored pixels, rows of NaN being padding;
                - `box_finding`: (N,) integers, -1 for padding;
                - `boxed`: (K,) bool, whether the finding's boxes are complete;
                - `group` (optional): int, the patient, for the bootstrap; for all images or for none;
                - `box_cnr` (optional): (N,) contrast-to-noise ratio, NaN where not known;
                - `to_stored` (3, 3), `stored_size` (H, W), `grid_size` (Gh, Gw) (optional): the patches, for the
                  oracle ceiling, the area of a patch and criterion `patch`;
                - `pixel_mm` (optional): (2,) distance of stored pixels in mm, between rows and between columns, NaN
                  where not known.

        Returns:
            For each image its match.

        Raises:
            TypeError: where y is not a list of mappings (decollate first).
            ValueError: where the truth is incomplete or contradicts itself.
        """
        if isinstance(y, Mapping) or isinstance(y_pred, torch.Tensor):
            raise TypeError("y_pred and y must be lists, one entry per image: decollate the batch first")
        truths = self.truths(y)
        tables = [as_array(candidates) for candidates in y_pred]
        matches, ceilings = self._matched(tables, truths)
        for table, truth, found, ceiling in zip(tables, truths, matches, ceilings, strict=True):
            area = np.nan if truth.geometry is None else patch_areas(truth.geometry.to_stored)
            place = np.append(truth.place, -1)
            self.add(
                truth.index,
                np.concatenate([[truth.group], truth.label, truth.status, truth.pixel_mm, [area]]),
                np.column_stack([truth.finding, truth.place, found.lesion_scores, truth.boxes, ceiling, truth.cnr]),
                np.column_stack([table, place[found.hit_lesion]]),
            )
        return matches

    def truths(self, y: Sequence[Mapping[str, Any] | ImageTruth]) -> list[ImageTruth]:
        """The truth of images, checked: to be given again, after `reset`, to a metric of the same findings.

        Args:
            y: as for a call.

        Raises:
            ValueError: as for a call, or what another metric made is about other findings.
        """
        for truth in y:
            if isinstance(truth, ImageTruth) and truth.findings != self.findings:
                raise ValueError(f"image {truth.index}: its truth is about {truth.findings}, wanted {self.findings}")
        return [truth if isinstance(truth, ImageTruth) else self._truth(truth) for truth in y]

    def aggregate(self) -> torch.Tensor:
        """Macro mean over findings of the mean sensitivity at `fp_rates`.

        Returns:
            Scalar float64, 0..1. Findings without lesions among the images that count are left out; NaN if that
            leaves none.
        """
        scores = [froc_score(curve, self.fp_rates) for curve in self.curves().values()]
        return torch.tensor(np.mean(scores) if scores else np.nan, dtype=torch.float64)

    def curves(self) -> dict[str, FROCCurve]:
        """The FROC curve of every finding that has lesions among the images that count."""
        records, curves = self.records(), {}
        for k, name in enumerate(self.findings):
            data = of_finding(records, k)
            if len(data.lesion_score):
                curves[name] = froc_curve(data.fp_score, data.lesion_score, len(data.image))
        return curves

    def details(self) -> dict[str, float]:
        """`<finding>/score` and `<finding>/sens_at_<x>fp` of every finding in `curves`."""
        figures = {}
        for name, curve in self.curves().items():
            figures[f"{name}/score"] = froc_score(curve, self.fp_rates)
            for rate in self.fp_rates:
                figures[f"{name}/sens_at_{rate:g}fp"] = sensitivity_at(curve, rate)
        return figures

    def records(self) -> Records:
        """The records of all ranks (collective).

        Raises:
            ValueError: where two images share an index, or some but not all images name a group.
        """
        images, lesions, candidates = self.rows()
        k = len(self.findings)
        return Records(
            findings=self.findings,
            criterion=str(self.criterion),
            images=ImageRecords(
                index=images[:, 0].astype(np.int64),
                group=groups(images[:, 0], images[:, 1]),
                label=images[:, 2 : 2 + k],
                status=images[:, 2 + k : 2 + 2 * k].astype(np.int64),
                patch_area=images[:, -1],
                pixel_mm=images[:, 2 + 2 * k : 4 + 2 * k],
            ),
            lesions=LesionRecords(
                index=lesions[:, 0].astype(np.int64),
                finding=lesions[:, 1].astype(np.int64),
                lesion=lesions[:, 2].astype(np.int64),
                score=lesions[:, 3],
                box=lesions[:, 4:8],
                oracle=lesions[:, 8],
                cnr=lesions[:, 9],
            ),
            candidates=CandidateRecords(
                index=candidates[:, 0].astype(np.int64),
                finding=candidates[:, 1 + FINDING].astype(np.int64),
                score=candidates[:, 1 + SCORE],
                peak=candidates[:, 1:][:, PEAK],
                box=candidates[:, 1:][:, BOX],
                lesion=candidates[:, -1].astype(np.int64),
            ),
        )

    def _truth(self, truth: Mapping[str, Any]) -> ImageTruth:
        missing = {"index", "label", "boxes", "box_finding", "boxed"} - truth.keys()
        if missing:
            raise ValueError(f"the ground truth lacks {sorted(missing)}")
        index = int(truth["index"])
        boxes = as_array(truth["boxes"]).reshape(-1, 4)
        finding = as_array(truth["box_finding"]).reshape(-1).astype(np.int64)
        cnr = as_array(truth.get("box_cnr", np.full(len(boxes), np.nan))).reshape(-1)
        if not len(boxes) == len(finding) == len(cnr):
            raise ValueError(f"image {index}: boxes, box_finding and box_cnr differ in length")
        real = np.flatnonzero((finding >= 0) & ~np.isnan(boxes).all(1))
        boxes, finding, cnr = boxes[real], finding[real], cnr[real]
        label, group = as_array(truth["label"]).reshape(-1), truth.get("group")
        status = self._status(index, label, as_array(truth["boxed"]).reshape(-1) > 0, finding)
        patient = np.nan if group is None else float(group)
        pixel_mm = as_array(truth.get("pixel_mm", np.full(2, np.nan))).reshape(2)
        return ImageTruth(
            self.findings, index, patient, label, status, boxes, finding, cnr, real, _geometry(truth), pixel_mm
        )

    def _matched(
        self, tables: Sequence[NDArray[np.float64]], truths: Sequence[ImageTruth]
    ) -> tuple[list[Match], list[NDArray[np.float64]]]:
        """The match of each image, and its lesions' oracle; a fault is looked for image by image, to be named."""
        boxes, findings = [t.boxes for t in truths], [t.finding for t in truths]
        places = [t.geometry for t in truths]
        try:
            found = match_batch(tables, boxes, findings, self.criterion, places)
            return found, oracle_batch(boxes, self.criterion, places)
        except ValueError:
            for table, truth in zip(tables, truths, strict=True):
                try:
                    match(table, truth.boxes, truth.finding, self.criterion, truth.geometry)
                    oracle_batch([truth.boxes], self.criterion, [truth.geometry])
                except ValueError as error:
                    raise ValueError(f"image {truth.index}: {error}") from error
            raise

    def _status(
        self, index: int, label: NDArray[np.float64], boxed: NDArray[np.bool_], finding: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Place in `STATUS` of each finding: (K,)."""
        k = len(self.findings)
        if label.shape != (k,) or boxed.shape != (k,) or (finding >= k).any():
            raise ValueError(f"image {index}: label, boxed and box_finding must be about {k} findings")
        if not (np.isnan(label) | (label == 0) | (label == 1)).all():
            raise ValueError(f"image {index}: a label must be 1, 0 or NaN, got {label.tolist()}")
        has_box = np.bincount(finding, minlength=k) > 0
        for fault, where in (
            ("labelled 0 but has boxes", (label == 0) & has_box),
            ("labelled 1 and its boxes are said to be complete, but it has none", (label == 1) & boxed & ~has_box),
        ):
            if where.any():
                raise ValueError(f"image {index}: {self.findings[int(where.argmax())]} is {fault}")
        status = np.where((label == 1) | has_box, UNBOXED, UNKNOWN)
        status[(label == 0) | boxed] = COUNTED
        return status


def _geometry(truth: Mapping[str, Any]) -> Geometry | None:
    if not {"to_stored", "stored_size", "grid_size"} <= truth.keys():
        return None
    height, width = (int(n) for n in truth["stored_size"])
    rows, columns = (int(n) for n in truth["grid_size"])
    return Geometry(as_array(truth["to_stored"]).reshape(3, 3), (height, width), (rows, columns))
