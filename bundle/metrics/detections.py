"""From a detector's scored boxes to candidates: the same table that patch maps give, so that both are judged alike."""

from collections.abc import Sequence

import numpy as np
import torch
from monai.data.box_utils import clip_boxes_to_image
from numpy.typing import ArrayLike

from bundle.grid import transform_boxes
from bundle.metrics.candidates import BOX, FINDING, SCORE
from bundle.metrics.matching import overlap_ratio


def candidates_from_boxes(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    stored_from_canvas: torch.Tensor,
    stored_size: torch.Tensor | Sequence[int],
    floor: float = 0.01,
    overlap: float | None = None,
    max_candidates: int | None = 20,
) -> torch.Tensor:
    """Candidates of one image from boxes that are scored for each finding.

    A box is carried to the stored frame and cut to the image; if less than one pixel of it is left on either axis, it
    lay in the pad and is dropped. It is then a candidate of every finding for which it scores `floor` or more:

        score = the detector's,   box = what is left of it,   peak = the centre of that.

    With `overlap`, greedy non-maximum suppression within each finding: from the highest score down, a candidate that
    shares more than this IoU with one already kept is dropped.

    Args:
        boxes: (Q, 4) as [x0, y0, x1, y1] in canvas pixels.
        scores: (Q, K) probabilities 0..1.
        stored_from_canvas: (3, 3) affine, canvas to stored frame (`bundle.grid`).
        stored_size: (H, W) of the stored image.
        floor: the lowest score of a candidate. A box that scores 0 never is one.
        overlap: the highest IoU that two candidates of a finding may have; None keeps all.
        max_candidates: the most candidates kept per finding, highest first; None keeps all.

    Returns:
        (M, 8) float64 table on the CPU, columns as in `bundle.metrics.candidates.COLUMNS`, by finding and falling
        score; of equal scores the earlier box comes first.

    Raises:
        ValueError: where shapes, ranges or settings are not as above, or a box or score is not finite.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.ndim != 2 or len(scores) != len(boxes):
        raise ValueError(f"boxes must be (Q, 4) and scores (Q, K), got {tuple(boxes.shape)} and {tuple(scores.shape)}")
    if not 0 <= floor <= 1 or not 0 <= (overlap or 0) <= 1:
        raise ValueError(f"floor and overlap must lie in 0..1, got {floor} and {overlap}")
    if max_candidates is not None and max_candidates < 1:
        raise ValueError(f"max_candidates must be >= 1, got {max_candidates}")
    boxes, scores = (values.detach().to("cpu", torch.float64) for values in (boxes, scores))
    if not (torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
        raise ValueError("a detection is not finite: the detector failed, which is not 'no finding'")
    if scores.numel() and not 0 <= float(scores.min()) <= float(scores.max()) <= 1:
        raise ValueError(f"scores must be probabilities 0..1, got {scores.min():g}..{scores.max():g}")
    height, width = (int(n) for n in stored_size)
    inside, left = clip_boxes_to_image(transform_boxes(boxes, stored_from_canvas.double().cpu()), [width, height])
    scores = scores[left]
    chosen = [_best(inside, column, floor, overlap, max_candidates) for column in scores.unbind(1)]
    box = torch.cat(chosen)  # (M,)
    finding = torch.repeat_interleave(torch.tensor([len(part) for part in chosen], dtype=torch.int64))  # (M,)
    centre = (inside[box, :2] + inside[box, 2:]) / 2
    return torch.column_stack([finding, scores[box, finding], centre, inside[box]])


def image_scores(candidates: torch.Tensor, num_findings: int) -> torch.Tensor:
    """Each finding's best candidate speaks for the image.

    Args:
        candidates: (M, 8).
        num_findings: K.

    Returns:
        (K,) scores; 0 where there is no candidate.
    """
    best = np.zeros(num_findings)
    np.maximum.at(best, candidates[:, FINDING].long().numpy(), candidates[:, SCORE].numpy())
    return torch.from_numpy(best)


def candidates_to_maps(
    candidates: torch.Tensor, num_findings: int, to_stored: torch.Tensor | ArrayLike, grid_size: tuple[int, int]
) -> torch.Tensor:
    """Boxes as coarse maps, for pictures beside those of networks that make maps.

    A cell's value is the best score among the finding's boxes that reach into it, 0 where none does.

    Args:
        candidates: (M, 8).
        num_findings: K.
        to_stored: (3, 3) affine, grid to stored frame (`bundle.grid.grid_to_stored`).
        grid_size: (Gh, Gw).

    Returns:
        (K, Gh, Gw) float32.
    """
    to_grid = torch.linalg.inv(torch.as_tensor(to_stored, dtype=torch.float64))
    x0, y0, x1, y1 = transform_boxes(candidates[:, BOX], to_grid)[:, :, None].unbind(1)  # (M, 1) each
    row, column = (torch.arange(n, dtype=torch.float64) for n in grid_size)
    reached = ((row < y1) & (row + 1 > y0))[:, :, None] & ((column < x1) & (column + 1 > x0))[:, None]  # (M, Gh, Gw)
    value = candidates[:, SCORE, None, None] * reached
    nothing = value.new_zeros(1, *grid_size)
    of = candidates[:, FINDING]
    return torch.stack([torch.cat([nothing, value[of == k]]).amax(0) for k in range(num_findings)]).float()


def _best(
    boxes: torch.Tensor, score: torch.Tensor, floor: float, overlap: float | None, most: int | None
) -> torch.Tensor:
    """Which boxes (Q, 4) with scores (Q,) are candidates of one finding, best first."""
    order = torch.argsort(score, descending=True, stable=True)
    order = order[score[order] >= max(floor, torch.finfo(torch.float64).tiny)]
    if overlap is None:
        return order[:most]
    # MONAI's non_max_suppression takes a millisecond for each box that it keeps, ten times this
    place, sorted_boxes = np.arange(len(order)), boxes[order].numpy()
    kept: list[int] = []
    while len(place) and (most is None or len(kept) < most):
        kept.append(int(place[0]))
        shared = overlap_ratio(sorted_boxes[place[1:]], sorted_boxes[kept[-1]], "iou")
        place = place[1:][shared <= overlap]
    return order[np.asarray(kept, np.int64)]
