"""Baselines that look at no map: what the places of the training boxes alone find. A map must do better to have looked.

Where findings have their places (a heart is where hearts are), marks that ignore the image find many lesions. So a
sensitivity says that a network localises only as far as it lies above theirs.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from bundle.comparison.box_places import TrainingBoxes
from bundle.comparison.judge import judge
from bundle.comparison.observe import Truth
from bundle.metrics.candidates import COLUMNS, extract_candidates_batch
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import Floats, Integers, Records


class Unseeing(Protocol):
    """A baseline that is told an image's size and, if it wants, its image scores.

    Attributes:
        findings: K names.
        supervision: in words, what it was told; stands in the table.
        setting: in words.
    """

    findings: tuple[str, ...]
    supervision: str
    setting: str

    def say(self, size: torch.Tensor, probability: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Candidates and image scores of I images.

        Args:
            size: (I, 2) stored (H, W).
            probability: (I, K) a network's image scores.

        Returns:
            For each image an (M, 8) table, columns as in `bundle.metrics.candidates.COLUMNS`; and (I, K) scores.
        """


class NoLookMarker:
    """The same points on every image: `greedy_cover` of each finding's training boxes.

    A point's score is the share of its finding's boxes that no earlier point covers: 1 for the first, and falling. Its
    box is the cell of the lattice around it. The image score is the finding's prevalence in training.

    Args:
        boxes: of the training section.
        lattice: points along each side of the image.
        points: the most points of a finding.
    """

    supervision = "training boxes, no image"

    def __init__(self, boxes: TrainingBoxes, lattice: int = 32, points: int = 20) -> None:
        self.findings = boxes.findings
        self.setting = f"{points} points at most, of a lattice of {lattice} x {lattice}"
        self._prevalence = torch.from_numpy(boxes.prevalence)
        half = 0.5 / lattice
        tables = [np.empty((0, len(COLUMNS)))]
        for k in range(len(boxes.findings)):
            mine = boxes.of(k)
            place, gained = greedy_cover(mine, lattice, points)
            score = 1 - (np.cumsum(gained) - gained) / max(len(mine), 1)
            tables.append(np.column_stack([np.full(len(place), k), score, place, place - half, place + half]))
        self._table = torch.from_numpy(np.concatenate(tables))

    def say(self, size: torch.Tensor, probability: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """As `Unseeing` says; the image scores of the network are not looked at."""
        tables = []
        for height, width in size.tolist():
            table = self._table.clone()
            table[:, 2::2] *= width
            table[:, 3::2] *= height
            tables.append(table)
        return tables, self._prevalence.expand(len(size), -1)


class Atlas:
    """Where boxes of a finding usually lie, times the image's probability of the finding.

    The atlas is, for each cell of a grid over the image, the mean share of it that a training box of the finding
    covers, over the highest cell's. Candidates are those of `extract_candidates_batch` without a floor.

    Args:
        boxes: of the training section.
        side: cells along each side of the image.
        max_candidates: of `extract_candidates_batch`.
    """

    supervision = "training boxes, image score only"

    def __init__(self, boxes: TrainingBoxes, side: int = 32, max_candidates: int | None = 20) -> None:
        self.findings = boxes.findings
        self.setting = f"grid of {side} x {side}, no floor, no smoothing"
        self._most = max_candidates
        share = np.zeros((len(boxes.findings), side, side))
        for k, each in enumerate(share):
            mine = side * boxes.of(k)[:, :, None]  # (n, 4, 1), in cells
            edge = np.arange(side)
            x, y = (
                np.clip(np.minimum(mine[:, i + 2], edge + 1) - np.maximum(mine[:, i], edge), 0, None) for i in (0, 1)
            )  # (n, side): how much of each column and row
            each += y.T @ x
            each /= max(each.max(), np.finfo(np.float64).tiny)
        self._share = torch.from_numpy(share)

    def say(self, size: torch.Tensor, probability: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """As `Unseeing` says."""
        side = self._share.shape[-1]
        cell = torch.cat([size.double().flip(1) / side, torch.ones(len(size), 1, dtype=torch.float64)], 1)  # (I, 3)
        maps = probability.double()[..., None, None] * self._share
        candidates = extract_candidates_batch(maps, torch.diag_embed(cell), size, floor=0.0, max_candidates=self._most)
        return candidates, probability


def greedy_cover(box: Floats, lattice: int, most: int) -> tuple[Floats, Integers]:
    """Points that lie in many boxes: each next one in the most boxes that hold none of the points before it.

    Of several equal ones, that which is nearest to their mean. Ends where no point covers another box.

    Source: the greedy algorithm of maximum coverage (Nemhauser, Wolsey and Fisher, Mathematical Programming 14, 1978):
    at least 1 - 1/e of what the best choice of as many points covers.

    Args:
        box: (n, 4) as [x0, y0, x1, y1], shares of the image; the lower edges inside, the upper not.
        lattice: points along each side; they are the centres of equal cells.
        most: the most points.

    Returns:
        (P, 2) x and y, shares of the image, and (P,) how many boxes each adds.
    """
    centre = (np.arange(lattice) + 0.5) / lattice
    in_x, in_y = ((box[:, i, None] <= centre) & (centre < box[:, i + 2, None]) for i in (0, 1))  # (n, lattice)
    left = np.ones(len(box), bool)
    places: list[tuple[float, float]] = []
    gained: list[int] = []
    while len(places) < most:
        adds = in_y[left].T.astype(np.float64) @ in_x[left]  # (lattice, lattice): how many boxes, exact
        if not adds.max():
            break
        equal = np.argwhere(adds == adds.max())
        row, column = equal[np.square(equal - equal.mean(0)).sum(1).argmin()]
        places.append((centre[column], centre[row]))
        gained.append(int(adds[row, column]))
        left &= ~(in_y[:, row] & in_x[:, column])
    return np.array(places, np.float64).reshape(-1, 2), np.array(gained, np.int64)


def judge_unseeing(
    baseline: Unseeing, truths: Sequence[Truth], probability: torch.Tensor, criterion: HitCriterion
) -> Records:
    """The records of a baseline, as those of a method with maps.

    Args:
        baseline: to be judged.
        truths: of the I images, from `bundle.comparison.observe.observe` or `section_truths`.
        probability: (I, K) image scores of the reference, or calibrated ones.
        criterion: when a candidate hits.

    Returns:
        Records, with the baseline's image scores as score `image`.
    """
    size = torch.stack([torch.as_tensor(truth["stored_size"]).cpu() for truth in truths])
    candidates, scores = baseline.say(size, probability)
    return judge(candidates, scores, truths, baseline.findings, criterion)
