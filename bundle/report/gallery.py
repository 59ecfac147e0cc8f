"""A few images worth looking at, collected while an evaluation runs, in bounded memory."""

import heapq
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from bundle.grid import patch_map_to_image, transform_boxes
from bundle.metrics.candidates import FINDING, SCORE
from bundle.metrics.matching import Geometry, HitCriterion, match
from bundle.results.overlay import draw_overlay

HIT, MISS, FALSE_POSITIVE = "hit", "miss", "false_positive"
KINDS = (HIT, MISS, FALSE_POSITIVE)


@dataclass(frozen=True)
class Sighting:
    """One thing worth showing, in the frame of its small picture.

    Attributes:
        kind: one of `KINDS`.
        finding: place in the findings.
        score: of the lesion's best hit (-inf where none), or of the false positive.
        size: area of the lesion as a share of the image; 0 for a false positive.
        index: the image's number in the dataset.
        picture: (h, w) uint8.
        maps: (K, Gh, Gw) float32.
        to_picture: (3, 3) affine, grid to picture.
        candidates: (M, 8).
        boxes: (N, 4), annotated.
        box_finding: (N,).
    """

    kind: str
    finding: int
    score: float
    size: float
    index: int
    picture: NDArray[np.uint8]
    maps: NDArray[np.float32]
    to_picture: NDArray[np.float64]
    candidates: NDArray[np.float64]
    boxes: NDArray[np.float64]
    box_finding: NDArray[np.int64]


@dataclass(frozen=True)
class _Case:
    """What may become a sighting, before anything is copied."""

    kind: str
    finding: int
    score: float
    size: float

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is more worth showing: sure hits, lesions missed by far (large ones first), sure false positives."""
        return (-self.score if self.kind == MISS else self.score, self.size)


class Gallery:
    """Keeps, per kind and finding, the few most telling images seen so far.

    Hits: the lesions with the best-scored hit. Misses: the lesions with the worst-scored hit, those without any first,
    the larger first. False positives: the best scored. Per kind and finding an image stands for one sighting. Only
    images that count for a finding (label 0, or boxes complete) are shown for it.

    Memory: at most 3 · K · ceil(size / 3) pictures of `side` pixels, one byte a pixel.

    Args:
        findings: names of the K findings.
        size: the most pictures shown in the end; 0 keeps nothing.
        criterion: what counts as a hit; by default `centre`.
        side: long side of a picture in pixels.
    """

    def __init__(
        self, findings: Sequence[str], size: int = 12, criterion: HitCriterion | None = None, side: int = 384
    ) -> None:
        if size < 0 or side < 16:
            raise ValueError(f"Gallery: size must be >= 0 and side >= 16, got {size} and {side}")
        self.findings, self.size, self.side = tuple(findings), size, side
        self.criterion = criterion or HitCriterion()
        # entries (rank, -index, sighting); the index is unique within a heap, so sightings are never compared
        self._heaps: dict[tuple[str, int], list[tuple[tuple[float, float], int, Sighting]]] = {}

    def add(self, sample: Mapping[str, Any]) -> None:
        """Look at one image.

        Args:
            sample: mapping with `image` (1, Hc, Wc) the canvas, `canvas_from_stored` (3, 3), `stored_size` (H, W),
                `pred` (K, Gh, Gw), `to_stored` (3, 3), `candidates` (M, 8), `label` (K,), `boxed` (K,),
                `boxes` (N, 4) and `box_finding` (N,), padded with NaN and -1, and `index`.
        """
        if not self.size:
            return
        index = int(sample["index"])
        wanted = [case for case in self._cases(sample) if self._wants(case, index)]
        if not wanted:
            return
        shared = self._picture(sample)
        for case in wanted:
            self._keep(Sighting(case.kind, case.finding, case.score, case.size, index, **shared))

    def sightings(self) -> list[Sighting]:
        """All that is kept, for another rank's `merge`."""
        return [entry[2] for heap in self._heaps.values() for entry in heap]

    def merge(self, sightings: Iterable[Sighting]) -> None:
        """Take in what another rank kept."""
        for sighting in sightings:
            if self._wants(_Case(sighting.kind, sighting.finding, sighting.score, sighting.size), sighting.index):
                self._keep(sighting)

    def choose(self, thresholds: Mapping[int, float]) -> list[Sighting]:
        """The pictures to show: a third each of hits, misses and false positives, the findings taking turns.

        Args:
            thresholds: by place of the finding, the operating score: a lesion found at or above it is a hit, one found
                below it or not at all a miss.

        Returns:
            At most `size` sightings, by kind.
        """
        chosen: list[Sighting] = []
        for number, kind in enumerate(KINDS):
            turns: list[tuple[int, tuple[float, float], int, Sighting]] = []
            for (of, finding), heap in self._heaps.items():
                if of != kind:
                    continue
                limit = thresholds.get(finding, math.inf)
                fitting = [e for e in sorted(heap, key=lambda e: e[:2], reverse=True) if _fits(e[2], limit)]
                turns += [(turn, rank, minus, sighting) for turn, (rank, minus, sighting) in enumerate(fitting)]
            turns.sort(key=lambda t: (t[0], *(-part for part in t[1]), -t[2], t[3].finding))
            seen: set[int] = set()
            for _, _, minus, sighting in turns:
                if len(seen) < (self.size + len(KINDS) - 1 - number) // len(KINDS) and minus not in seen:
                    seen.add(minus)
                    chosen.append(sighting)
        return chosen

    def _cases(self, sample: Mapping[str, Any]) -> list[_Case]:
        table = _numpy(sample["candidates"])
        boxes, finding = _numpy(sample["boxes"]).reshape(-1, 4), _numpy(sample["box_finding"]).astype(np.int64)
        real = (finding >= 0) & np.isfinite(boxes).all(1)
        boxes, finding = boxes[real], finding[real]
        height, width = (int(n) for n in sample["stored_size"])
        grid = tuple(sample["pred"].shape[-2:])
        found = match(
            table, boxes, finding, self.criterion, Geometry(_numpy(sample["to_stored"]), (height, width), grid)
        )
        counts = (_numpy(sample["label"]) == 0) | (_numpy(sample["boxed"]) > 0)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (height * width)
        cases = []
        for k in np.flatnonzero(counts).tolist():
            lesions = np.flatnonzero(finding == k)
            scores = found.lesion_scores[lesions]
            if len(lesions):
                best = int(scores.argmax())
                cases.append(_Case(HIT, k, float(scores[best]), float(areas[lesions[best]])))
                worst = int(np.lexsort((-areas[lesions], scores))[0])
                cases.append(_Case(MISS, k, float(scores[worst]), float(areas[lesions[worst]])))
            wrong = table[(table[:, FINDING] == k) & (found.hit_lesion < 0), SCORE]
            if len(wrong):
                cases.append(_Case(FALSE_POSITIVE, k, float(wrong.max()), 0.0))
        return [case for case in cases if case.kind == MISS or case.score > -math.inf]

    def _wants(self, case: _Case, index: int) -> bool:
        heap = self._heaps.get((case.kind, case.finding), [])
        if any(entry[1] == -index for entry in heap):  # samplers repeat images
            return False
        return len(heap) < self._depth() or (case.rank, -index) > heap[0][:2]

    def _keep(self, sighting: Sighting) -> None:
        heap = self._heaps.setdefault((sighting.kind, sighting.finding), [])
        rank = _Case(sighting.kind, sighting.finding, sighting.score, sighting.size).rank
        entry = (rank, -sighting.index, sighting)
        if len(heap) < self._depth():
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def _depth(self) -> int:
        return -(-self.size // len(KINDS))

    def _picture(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The image without the canvas's pad, small, and everything else in its frame."""
        affine = torch.as_tensor(sample["canvas_from_stored"]).double().cpu()
        height, width = (int(n) for n in sample["stored_size"])
        corners = torch.tensor([[0.0, 0.0, width, height]], dtype=torch.float64)
        x0, y0, x1, y1 = (round(v) for v in transform_boxes(corners, affine)[0].tolist())
        canvas = torch.as_tensor(sample["image"]).as_subclass(torch.Tensor).detach()
        # negative padding cuts; what an enlarged picture has beyond the canvas is black
        edges = (-x0, x1 - canvas.shape[-1], -y0, y1 - canvas.shape[-2])
        view = F.pad(canvas.float(), edges)  # (1, h, w)
        shrink = min(1.0, self.side / max(view.shape[-2:]))
        size = [max(1, round(n * shrink)) for n in view.shape[-2:]]
        small = F.interpolate(view[None], size, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
        resize = torch.diag(torch.tensor([size[1] / width, size[0] / height, 1.0], dtype=torch.float64))
        scale = np.array([size[1] / width, size[0] / height])
        candidates = _numpy(sample["candidates"]).copy()
        candidates[:, 2:] *= np.tile(scale, 3)  # peak, x0 y0, x1 y1
        return {
            "picture": (small * 255).round().to("cpu", torch.uint8).numpy(),
            "maps": _numpy(sample["pred"]).astype(np.float32),
            "to_picture": (resize @ torch.as_tensor(sample["to_stored"]).double().cpu()).numpy(),
            "candidates": candidates,
            "boxes": _numpy(sample["boxes"]).reshape(-1, 4) * np.tile(scale, 2),
            "box_finding": _numpy(sample["box_finding"]).astype(np.int64),
        }


def draw_sighting(sighting: Sighting, findings: Sequence[str], threshold: float) -> bytes:
    """JPEG of a sighting as a reader would see its finding at an operating score; annotated boxes dashed.

    Args:
        sighting: from `Gallery.choose`.
        findings: names of the K findings.
        threshold: lowest score drawn; a hit or false positive is always drawn.

    Returns:
        The file's bytes.
    """
    height, width = sighting.picture.shape
    maps = patch_map_to_image(
        torch.from_numpy(sighting.maps), torch.linalg.inv(torch.from_numpy(sighting.to_picture)), (height, width)
    )
    lowest = threshold if sighting.kind == MISS else min(threshold, sighting.score)
    of_finding = sighting.box_finding == sighting.finding
    picture = draw_overlay(
        sighting.picture / 255.0,
        sighting.candidates,
        findings,
        maps,
        sighting.boxes[of_finding],
        sighting.box_finding[of_finding],
        min_score=min(max(lowest, 0.0), 0.99),
        only=[sighting.finding],
        long_side=max(height, width),
        legend=False,
    )
    return _jpeg(picture)


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88, subsampling=0)  # thin coloured lines need the full colour resolution
    return file.getvalue()


def _fits(sighting: Sighting, threshold: float) -> bool:
    if sighting.kind == FALSE_POSITIVE:
        return True
    return (sighting.score >= threshold) == (sighting.kind == HIT)


def _numpy(values: Any) -> NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).as_subclass(torch.Tensor).numpy()
    return np.asarray(values, np.float64)
