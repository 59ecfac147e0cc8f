"""Which candidate hits which lesion, by a named criterion whose threshold can be written beside the results."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bundle.grid import boxes_to_patch_mask, transform_boxes
from bundle.metrics.assignment import one_to_one
from bundle.metrics.candidates import BOX, COLUMNS, FINDING, PEAK, PEAK_X, PEAK_Y, SCORE, visible_patches

CRITERIA = ("centre", "patch", "iou", "iobb")
BEST_HIT, HUNGARIAN = ASSIGNMENTS = ("best_hit", "hungarian")
_CHUNK = 32  # images matched at once: more would compare ever more candidates with the boxes of other images


@dataclass(frozen=True)
class HitCriterion:
    """When a candidate hits a lesion of its finding. Boxes and peaks are in stored pixels.

    - `centre`: the peak lies inside the box, x0 <= x < x1 and y0 <= y < y1. Takes no threshold.
    - `patch`: the patch that contains the peak is positive for the box by the rule of
      `bundle.grid.boxes_to_patch_mask`, with `threshold` as its least share of the patch and `box_fraction` as its
      least share of the box.
    - `iou`: area(candidate ∩ box) / area(candidate ∪ box) >= threshold.
    - `iobb`: area(candidate ∩ box) / area(candidate) >= threshold; this lets a small candidate in a large lesion hit.

    And how often it may count:

    - `best_hit`: for every lesion that it hits, and each lesion takes the best score of those that hit it.
    - `hungarian`: for one lesion at most, and a lesion for one candidate (`match`).

    Attributes:
        name: one of `CRITERIA`.
        threshold: in (0, 1]; None for `centre`.
        box_fraction: in (0, 1]; for `patch` alone.
        assignment: one of `ASSIGNMENTS`.

    Raises:
        ValueError: for an unknown name or assignment, or a threshold that is missing, superfluous or out of range.
    """

    name: str = "centre"
    threshold: float | None = None
    box_fraction: float | None = None
    assignment: str = BEST_HIT

    def __post_init__(self) -> None:
        if self.name not in CRITERIA:
            raise ValueError(f"unknown hit criterion {self.name!r}; known: {', '.join(CRITERIA)}")
        if self.assignment not in ASSIGNMENTS:
            raise ValueError(f"unknown assignment {self.assignment!r}; known: {', '.join(ASSIGNMENTS)}")
        if (self.threshold is None) != (self.name == "centre"):
            raise ValueError(f"criterion {self.name!r} {'takes no' if self.name == 'centre' else 'needs a'} threshold")
        if (self.box_fraction is None) != (self.name != "patch"):
            raise ValueError("box_fraction belongs to criterion 'patch', which needs it, and to no other")
        for value in (self.threshold, self.box_fraction):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"a threshold must lie in (0, 1], got {value}")

    @property
    def share(self) -> float:
        """The threshold as a number; 0 for `centre`, which has none."""
        return self.threshold or 0.0

    @property
    def box_share(self) -> float:
        """The box fraction as a number; 0 for all but `patch`."""
        return self.box_fraction or 0.0

    def __str__(self) -> str:
        return self._rule() + (", one candidate a lesion (Hungarian)" if self.assignment == HUNGARIAN else "")

    def _rule(self) -> str:
        if self.name == "centre":
            return "centre: the peak lies inside the box"
        if self.name == "patch":
            return (
                f"patch: the peak's patch has >= {self.share:g} of its area inside the box, "
                f"or holds >= {self.box_share:g} of the box, or the most of it where no patch does either"
            )
        over = "their union" if self.name == "iou" else "the candidate's box"
        return f"{self.name}: intersection over {over} >= {self.share:g}"


@dataclass(frozen=True)
class Geometry:
    """Where the patches of one image lie.

    Attributes:
        to_stored: (3, 3) affine, grid to stored frame, scale and offset only.
        stored_size: (H, W) of the stored image.
        grid_size: (Gh, Gw).
    """

    to_stored: NDArray[np.float64]
    stored_size: tuple[int, int]
    grid_size: tuple[int, int]


@dataclass(frozen=True)
class Match:
    """Candidates against lesions of one image.

    Attributes:
        hits: (M, N) bool, candidate i hits lesion j.
        hit_lesion: (M,) int64, the lesion that the candidate hits, or -1: a false positive. Where it hits several,
            the one that it is assigned to, else the one whose centre is nearest to the peak, for the record only.
        lesion_scores: (N,) float64, the best score among the candidates that hit the lesion, or the score of the
            candidate that is assigned to it; -inf where there is none.
    """

    hits: NDArray[np.bool_]
    hit_lesion: NDArray[np.int64]
    lesion_scores: NDArray[np.float64]


def match(
    candidates: torch.Tensor | ArrayLike,
    boxes: torch.Tensor | ArrayLike,
    box_finding: torch.Tensor | ArrayLike,
    criterion: HitCriterion = HitCriterion(),
    geometry: Geometry | None = None,
) -> Match:
    """Match the candidates of one image to its lesions.

    A candidate can hit only lesions of its own finding. It scores for every lesion it hits: a peak where two boxes of
    one finding overlap finds both, because each box alone would have been found by it. Several candidates may hit one
    lesion; the lesion takes the best score and the others are neither hits nor false positives.

    By assignment `hungarian` a peak in two boxes finds one of them: `bundle.metrics.assignment.one_to_one`. Candidates
    that hit but are left over are neither hits nor false positives here either, as picai_eval has it by default.
    Without a candidate that hits several lesions both assignments are the same.

    Args:
        candidates: (M, 8) table with the columns `bundle.metrics.candidates.COLUMNS`.
        boxes: (N, 4) as [x0, y0, x1, y1], stored pixels; no padding.
        box_finding: (N,) integers.
        criterion: what counts as a hit.
        geometry: the image's patches; needed by criterion `patch`.

    Returns:
        The match.

    Raises:
        ValueError: where shapes do not fit, a box is empty or not finite, or the geometry is missing.
    """
    table, boxes, finding = _checked(candidates, boxes, box_finding)
    hits = table[:, FINDING, None] == finding
    if criterion.name == "centre":
        x, y = table[:, PEAK_X, None], table[:, PEAK_Y, None]
        hits &= (boxes[:, 0] <= x) & (x < boxes[:, 2]) & (boxes[:, 1] <= y) & (y < boxes[:, 3])
    elif criterion.name == "patch":
        if geometry is None:
            raise ValueError("criterion 'patch' needs the image's geometry")
        hits &= _peak_patches(table, _patches(boxes, criterion, geometry), geometry).T
    else:
        if not (table[:, BOX][:, 2:] > table[:, BOX][:, :2]).all():
            raise ValueError(f"criterion {criterion.name!r} needs candidates whose boxes are not empty")
        hits &= overlap_ratio(table[:, None, BOX], boxes, criterion.name) >= criterion.share
    candidate, lesion = np.nonzero(hits)  # few of all pairs
    lesion_scores = np.full(len(boxes), -np.inf)
    np.maximum.at(lesion_scores, lesion, table[candidate, SCORE])
    hit_lesion = _nearest(table, boxes, candidate, lesion)
    if criterion.assignment == HUNGARIAN:
        for k in np.unique(table[hits.sum(1) > 1, FINDING]):  # elsewhere each lesion's best hit is its own
            rows, columns = np.flatnonzero((table[:, FINDING] == k) & hits.any(1)), np.flatnonzero(finding == k)
            overlap = overlap_ratio(table[rows, None, BOX], boxes[columns], "iou")
            row, column = one_to_one(hits[np.ix_(rows, columns)], table[rows, SCORE], overlap)
            lesion_scores[columns] = -np.inf
            lesion_scores[columns[column]] = table[rows[row], SCORE]
            hit_lesion[rows[row]] = columns[column]
    return Match(hits, hit_lesion, lesion_scores)


def match_batch(
    candidates: Sequence[torch.Tensor | ArrayLike],
    boxes: Sequence[torch.Tensor | ArrayLike],
    box_finding: Sequence[torch.Tensor | ArrayLike],
    criterion: HitCriterion = HitCriterion(),
    geometry: Sequence[Geometry | None] | None = None,
) -> list[Match]:
    """`match` for many images, most of the way at once: the same matches, several times faster.

    Images are kept apart by their findings: those of image i are moved up by i times their number, and then nothing
    of one image can meet anything of another.

    Args:
        candidates: of each image, as `match` takes them, like the next two.
        boxes: of each image.
        box_finding: of each image.
        criterion: what counts as a hit.
        geometry: of each image; criterion `patch` needs it, and looks image by image.

    Returns:
        The match of each image.

    Raises:
        ValueError: as `match`; which image it was, it does not say.
    """
    if criterion.name == "patch":
        places = geometry or [None] * len(candidates)
        each = zip(candidates, boxes, box_finding, places, strict=True)
        return [match(table, box, finding, criterion, place) for table, box, finding, place in each]
    matches: list[Match] = []
    for start in range(0, len(candidates), _CHUNK):
        part = slice(start, start + _CHUNK)
        images = [_checked(*each) for each in zip(candidates[part], boxes[part], box_finding[part], strict=True)]
        tables, corners, findings = ([image[i] for image in images] for i in range(3))
        rows, columns = (np.cumsum([0, *map(len, parts)]) for parts in (tables, corners))
        table, finding = np.concatenate(tables), np.concatenate(findings)
        apart = 1 + max(table[:, FINDING].max(initial=0), finding.max(initial=0))
        number = np.arange(len(images))
        table[:, FINDING] += apart * np.repeat(number, np.diff(rows))
        finding = finding + apart * np.repeat(number, np.diff(columns))
        whole = match(table, np.concatenate(corners), finding, criterion)
        for i in number:
            m, n = slice(rows[i], rows[i + 1]), slice(columns[i], columns[i + 1])
            hit = np.where(whole.hit_lesion[m] < 0, -1, whole.hit_lesion[m] - columns[i])
            matches.append(Match(whole.hits[m, n], hit, whole.lesion_scores[n]))
    return matches


def oracle(
    boxes: torch.Tensor | ArrayLike,
    criterion: HitCriterion,
    geometry: Geometry,
) -> NDArray[np.bool_]:
    """Which lesions of an image a perfect choice of patches could hit: the ceiling that the grid sets.

    `centre`: some patch's centre (of its visible part) lies inside the box. `patch`: some visible patch is positive.
    `iou`, `iobb`: some rectangle of patches reaches the threshold. It is the ceiling of detectors that point at
    patches; a sub-patch peak can exceed that of `centre`.

    Args:
        boxes: (N, 4) as [x0, y0, x1, y1], stored pixels; no padding.
        criterion: what counts as a hit.
        geometry: the image's patches.

    Returns:
        (N,) bool.

    Raises:
        ValueError: where a box is empty or not finite.
    """
    _, boxes, _ = _checked(np.zeros((0, len(COLUMNS))), boxes, np.zeros(len(np.asarray(boxes)), np.int64))
    if criterion.name == "centre":
        place = np.zeros(len(boxes), np.int64)
        size = np.array([geometry.stored_size])
        return _holds_a_centre(boxes, place, geometry.to_stored[None], size, geometry.grid_size)
    if not len(boxes):
        return np.zeros(0, bool)
    x_low, x_high, y_low, y_high = (
        edge[0]
        for edge in visible_patches(geometry.to_stored[None], np.array([geometry.stored_size]), geometry.grid_size)
    )
    if criterion.name == "patch":
        visible = (y_high > y_low)[:, None] & (x_high > x_low)
        return (_patches(boxes, criterion, geometry) & visible).any((1, 2))
    x_low, x_high = x_low[x_high > x_low], x_high[x_high > x_low]
    y_low, y_high = y_low[y_high > y_low], y_high[y_high > y_low]
    # The ratio grows as a side moves towards the box's, from either way, so each side need only try the grid line
    # next inside and the one next outside: 16 rectangles a box, among them the single patches that iobb wants.
    lines = [np.union1d(x_low, x_high), np.union1d(y_low, y_high)]
    sides = [_grid_lines(lines[i % 2], boxes[:, i]) for i in range(4)]  # x0, y0, x1, y1: each (2, N)
    tried = np.stack(
        [side[choice] for side, choice in zip(sides, np.indices((2, 2, 2, 2)).reshape(4, 16), strict=True)], -1
    )  # (16, N, 4)
    real = (tried[..., 2:] > tried[..., :2]).all(-1)
    tried[~real] = [0.0, 0.0, 1.0, 1.0]  # stands in where there is no rectangle; not looked at
    best = np.where(real, overlap_ratio(tried, boxes, criterion.name), 0.0).max(0, initial=0.0)
    return best >= criterion.share


def oracle_batch(
    boxes: Sequence[NDArray[np.float64]], criterion: HitCriterion, geometry: Sequence[Geometry | None]
) -> list[NDArray[np.float64]]:
    """`oracle` of many images, by criterion `centre` on one grid all at once.

    Args:
        boxes: of each image, (N, 4).
        criterion: what counts as a hit.
        geometry: of each image; None where it is not known.

    Returns:
        Of each image (N,): 1 where the grid lets some patch hit, 0 where not, NaN where the geometry is not known.

    Raises:
        ValueError: as `oracle`.
    """
    known = [place for place in geometry if place is not None]
    if criterion.name != "centre" or len(known) < len(geometry) or len({place.grid_size for place in known}) != 1:
        return [
            np.full(len(box), np.nan) if place is None else oracle(box, criterion, place).astype(np.float64)
            for box, place in zip(boxes, geometry, strict=True)
        ]
    counts = [len(box) for box in boxes]
    hit = _holds_a_centre(
        np.concatenate(boxes),
        np.repeat(np.arange(len(boxes)), counts),
        np.stack([place.to_stored for place in known]),
        np.array([place.stored_size for place in known]),
        known[0].grid_size,
    )
    return np.split(hit.astype(np.float64), np.cumsum(counts)[:-1])


def _holds_a_centre(
    boxes: NDArray[np.float64],
    image: NDArray[np.int64],
    to_stored: NDArray[np.float64],
    stored_size: NDArray[np.int64],
    grid_size: tuple[int, int],
) -> NDArray[np.bool_]:
    """Whether each box (N, 4) of an image (N,) holds the centre of the visible part of a patch: (N,)."""
    x_low, x_high, y_low, y_high = visible_patches(to_stored, stored_size, grid_size)
    held = np.ones(len(boxes), bool)
    for low, high, side in ((x_low, x_high, 0), (y_low, y_high, 1)):
        centre = np.where(high > low, (low + high) / 2, np.nan)[image]  # (N, cells); nothing holds a NaN
        held &= ((boxes[:, side, None] <= centre) & (centre < boxes[:, side + 2, None])).any(1)
    return held


def _checked(
    candidates: torch.Tensor | ArrayLike, boxes: torch.Tensor | ArrayLike, box_finding: torch.Tensor | ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    table = np.asarray(candidates, np.float64)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    finding = np.asarray(box_finding, np.int64)
    if table.ndim != 2 or table.shape[1] != len(COLUMNS):
        raise ValueError(f"candidates must be (M, {len(COLUMNS)}), got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("candidates must be finite")
    if finding.shape != (len(boxes),):
        raise ValueError(f"{len(boxes)} boxes but findings of shape {finding.shape}")
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()):
        raise ValueError("boxes must be finite with x0 < x1 and y0 < y1; drop padding first")
    return table, boxes, finding


def _patches(boxes: NDArray[np.float64], criterion: HitCriterion, geometry: Geometry) -> NDArray[np.bool_]:
    """The positive patches of each box on its own: (N, Gh, Gw)."""
    to_grid = torch.linalg.inv(torch.from_numpy(geometry.to_stored))
    # the grid is its own canvas here: a patch is one canvas pixel
    return boxes_to_patch_mask(
        transform_boxes(torch.from_numpy(boxes), to_grid),
        torch.arange(len(boxes)),
        len(boxes),
        geometry.grid_size,
        geometry.grid_size,
        criterion.share,
        criterion.box_share,
    ).numpy()


def _peak_patches(table: NDArray[np.float64], mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    """Whether the patch that contains each peak is in each lesion's (N, Gh, Gw) mask: (N, M)."""
    to_grid = np.linalg.inv(geometry.to_stored)
    place = np.floor(table[:, PEAK] @ to_grid[:2, :2].T + to_grid[:2, 2]).astype(np.int64)  # (M, 2) column, row
    gh, gw = geometry.grid_size
    inside = (place >= 0).all(1) & (place < (gw, gh)).all(1)
    column, row = np.clip(place[:, 0], 0, gw - 1), np.clip(place[:, 1], 0, gh - 1)
    return mask[:, row, column] & inside


def overlap_ratio(candidates: NDArray[np.float64], boxes: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """How much boxes share, of shapes that broadcast.

    Args:
        candidates: (..., 4) as [x0, y0, x1, y1], not empty.
        boxes: (..., 4), not empty.
        kind: "iou", the intersection over the union, or "iobb", over the candidate's area.

    Returns:
        (...,) ratios, 0..1.
    """
    size = np.minimum(candidates[..., 2:], boxes[..., 2:]) - np.maximum(candidates[..., :2], boxes[..., :2])
    shared = np.clip(size, 0, None).prod(-1)
    own, other = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (candidates, boxes))
    ratio: NDArray[np.float64] = shared / (own if kind == "iobb" else own + other - shared)
    return ratio


def _grid_lines(lines: NDArray[np.float64], side: NDArray[np.float64]) -> NDArray[np.float64]:
    """The grid lines next before and next after each box's side, the grid's end where there is none: (2, N)."""
    before = np.searchsorted(lines, side, side="right") - 1
    after = np.searchsorted(lines, side)
    return lines[np.clip([before, after], 0, len(lines) - 1)]


def _nearest(
    table: NDArray[np.float64], boxes: NDArray[np.float64], candidate: NDArray[np.int64], lesion: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of the lesions each candidate hits, the one whose centre is nearest to its peak; -1 for none: (M,)."""
    centre = (boxes[lesion, :2] + boxes[lesion, 2:]) / 2
    distance = np.square(table[candidate, PEAK] - centre).sum(-1)
    farthest_first = np.lexsort((lesion, distance))[::-1]
    nearest = np.full(len(table), -1, np.int64)
    nearest[candidate[farthest_first]] = lesion[farthest_first]  # the last one written stays
    return nearest
