"""What a reader meets: the candidates that frozen thresholds show, counted over all findings together."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.froc import ROUNDING
from bundle.metrics.records import COUNTED, Floats, Integers, Records
from bundle.metrics.strata import MM_TIERS, NO_MM, NONE_OF_SIZE, lesion_mm, mm_tier
from bundle.metrics.table import NO_LESIONS, NOTHING_COUNTS, FigureTable, Metrics, Notes, draw_units, share_of


@dataclass(frozen=True)
class Shown:
    """The candidates and lesions of an evaluation under one rule of what is shown.

    Attributes:
        candidate: (M,) whether each candidate of the records is shown.
        lesion: (L,) whether each lesion of the records is hit by one that is.
    """

    candidate: NDArray[np.bool_]
    lesion: NDArray[np.bool_]


def shown(records: Records, probability: Floats, image: Floats, box: Floats, max_per_finding: int) -> Shown:
    """Which candidates are shown, and which lesions they hit.

    A candidate is shown where its image's probability of its finding reaches `image`, its score reaches `box`, and it
    is among the best `max_per_finding` of its finding and image; of equal ones the first.

    Args:
        records: of the evaluation.
        probability: (I, K) of the images; NaN reaches every threshold.
        image: (K,) thresholds.
        box: (K,) thresholds.
        max_per_finding: the most of one finding and image.
    """
    images, lesions, candidates = records.images, records.lesions, records.candidates
    k = candidates.finding
    place = np.searchsorted(images.index, candidates.index)
    open_ = ~(probability < image)  # (I, K)
    reaches = open_[place, k] & (candidates.score >= box[k])
    rank = _rank(place * len(records.findings) + k, candidates.score, reaches)
    marked = reaches & (rank < max_per_finding)
    lowest = np.full(open_.shape, np.inf)
    np.minimum.at(lowest, (place[marked], k[marked]), candidates.score[marked])
    at = np.searchsorted(images.index, lesions.index)
    return Shown(marked, lesions.score >= lowest[at, lesions.finding])


def _rank(cell: Integers, score: Floats, keep: NDArray[np.bool_]) -> Integers:
    """How many kept candidates of its cell stand before each, by falling score; meaningless where not kept."""
    order = np.lexsort((-score, cell))
    order = order[keep[order]]
    first = np.searchsorted(cell[order], cell[order])
    rank = np.zeros(len(cell), np.int64)
    rank[order] = np.arange(len(order)) - first
    return rank


def box_thresholds(
    records: Records, probability: Floats, image: Floats, max_per_finding: int, false_marks: float
) -> Floats:
    """Thresholds of candidates that find most lesions for so many false marks an image, all findings together.

    Each finding's lesions found against its false marks an image, by falling threshold, are reduced to their upper
    convex hull; the pieces of all hulls are taken by falling steepness (lesions a false mark) while the sum of false
    marks allows it. So at the thresholds that come out a further false mark buys about as many lesions of one finding
    as of another: Lagrange's condition. To be chosen on validation; the price is that of this sample, so a finding with
    few lesions gets a threshold of little certainty.

    Args:
        records: of the validation section.
        probability: (I, K) of the images.
        image: (K,) their thresholds.
        max_per_finding: the most candidates of one finding and image.
        false_marks: an image, of all findings together: sum_k (false marks of k / images that count for k).

    Returns:
        (K,) thresholds; +inf where showing nothing of a finding is best.
    """
    everything = shown(records, probability, image, np.full(len(image), -np.inf), max_per_finding)
    curves = [_curve(records, k, everything) for k in range(len(records.findings))]
    pieces = []
    for k, (_, rate, found) in enumerate(curves):
        for start, end in _hull(rate, found):
            cost, gain = rate[end] - rate[start], found[end] - found[start]
            pieces.append((-gain / cost if cost else -np.inf, k, start, end))
    chosen, left = np.full(len(curves), np.inf), false_marks
    for _, k, start, end in sorted(pieces, key=lambda piece: piece[0]):
        score, rate, _ = curves[k]
        last = int(np.searchsorted(rate[: end + 1], rate[start] + left + ROUNDING, side="right")) - 1
        left -= rate[last] - rate[start]
        chosen[k] = score[last]
        if last < end:  # what is left pays for a part of the piece, and then for nothing
            break
    return chosen


def _curve(records: Records, k: int, mine: Shown) -> tuple[Floats, Floats, Floats]:
    """Thresholds, falling from +inf; false marks an image and lesions found at each, among the images that count."""
    images, lesions, candidates = records.images, records.lesions, records.candidates
    counted = images.status[:, k] == COUNTED
    place = np.searchsorted(images.index, candidates.index)
    wrong = mine.candidate & (candidates.finding == k) & (candidates.lesion < 0) & counted[place]
    at = np.searchsorted(images.index, lesions.index)
    right = mine.lesion & (lesions.finding == k) & counted[at]
    scores = np.concatenate([candidates.score[wrong], lesions.score[right]])
    is_lesion = np.arange(len(scores)) >= int(wrong.sum())
    levels = np.unique(scores)[::-1]
    step = np.searchsorted(-levels, -scores)
    rate = np.bincount(step, ~is_lesion, len(levels)).cumsum() / max(1, int(counted.sum()))
    found = np.bincount(step, is_lesion, len(levels)).cumsum()
    return np.append(np.inf, levels), np.append(0.0, rate), np.append(0.0, found)


def _hull(x: Floats, y: Floats) -> list[tuple[int, int]]:
    """The pieces of the upper convex hull of points by rising x, as places of their ends; falling steepness."""
    hull: list[int] = []
    for place in range(len(x)):
        while hull and (
            (x[hull[-1]] == x[place] and y[hull[-1]] <= y[place])
            or (
                len(hull) > 1
                and (y[hull[-1]] - y[hull[-2]]) * (x[place] - x[hull[-2]])
                <= (y[place] - y[hull[-2]]) * (x[hull[-1]] - x[hull[-2]])
            )
        ):
            hull.pop()
        hull.append(place)
    top = next((i for i, place in enumerate(hull) if y[place] == y[hull[-1]]), 0)
    start = [0] if hull and hull[0] != 0 else []
    kept = start + hull[: top + 1]
    return list(pairwise(kept))


def summarise_shown(
    records: Records,
    probability: Floats,
    image: Floats,
    box: Floats,
    max_per_finding: int,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Metrics, Notes]:
    """What a reader meets under frozen thresholds; keys, each with `/low` and `/high` but the counts:

    - `shown/false_marks_per_image`: sum over findings of false marks / images that count for the finding; `/<f>` of
      one finding;
    - `shown/sensitivity`: share of all lesions, of all findings together, that a shown candidate hits; `/<f>` of one;
    - `shown/sensitivity_by_mm/<tier>`, `shown/n_lesions/<tier>`: the same of lesions of one size, <tier> of
      `bundle.metrics.strata.MM_TIERS`; absent where the size of no lesion is known;
    - `shown/finding_free_marked`: share of the images without any finding in which anything is shown;
    - `shown/n_lesions`, `shown/n_finding_free`: of how many.

    Args:
        records: of the section that is judged.
        probability, image, box, max_per_finding: as for `shown`; frozen on another section.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws.
        level: of confidence.

    Returns:
        The metrics and the notes.
    """
    table = FigureTable(records.findings, level)
    draws = draw_units(table, records.images, replicates, seed)
    unit = draws.unit
    mine = shown(records, probability, image, box, max_per_finding)
    images, lesions, candidates = records.images, records.lesions, records.candidates
    place = np.searchsorted(images.index, candidates.index)
    at = np.searchsorted(images.index, lesions.index)
    counted = images.status == COUNTED  # (I, K)
    wrong = mine.candidate & (candidates.lesion < 0) & counted[place, candidates.finding]
    judged = counted[at, lesions.finding]
    of_lesions = draws.at(at)

    def put_share(key: str, own: NDArray[np.bool_], reason: str) -> None:
        """The share of some lesions (L,) that are hit."""
        table.put(key, of_lesions.ratio(mine.lesion & own, own), reason, share_of(of_lesions.unit[own]))

    rates = []
    for k, finding in enumerate(records.findings):
        false = np.bincount(place[wrong & (candidates.finding == k)], minlength=len(images.index))
        rates.append(draws.ratio(false, counted[:, k]))
        table.put(f"shown/false_marks_per_image/{finding}", rates[-1], NOTHING_COUNTS)
        put_share(f"shown/sensitivity/{finding}", judged & (lesions.finding == k), NO_LESIONS)
    defined = [rate for rate in rates if not np.isnan(rate[0])]
    table.put("shown/false_marks_per_image", np.sum(defined, 0) if defined else np.nan, NOTHING_COUNTS)
    if len(defined) < len(rates):
        table.notes["shown/false_marks_per_image"] = f"sum of {len(defined)} of {len(rates)} findings: {NOTHING_COUNTS}"
    put_share("shown/sensitivity", judged, NO_LESIONS)
    tier = mm_tier(lesion_mm(records))
    known = bool((tier[judged] >= 0).any())
    if not known:
        table.notes["shown/sensitivity_by_mm"] = NO_MM
    for number, name in enumerate(MM_TIERS if known else ()):
        own = judged & (tier == number)
        put_share(f"shown/sensitivity_by_mm/{name}", own, NONE_OF_SIZE)
        table.put(f"shown/n_lesions/{name}", int(own.sum()))
    free = (counted & (images.label == 0)).all(1)
    marked = np.zeros(len(images.index), bool)
    marked[place[mine.candidate]] = True
    kind = share_of(unit[free])
    table.put("shown/finding_free_marked", draws.ratio(marked & free, free), "no image is free of all findings", kind)
    table.put("shown/n_lesions", int(judged.sum()))
    table.put("shown/n_finding_free", int(free.sum()))
    metrics, notes = table.finish()
    notes.pop("bootstrap", None)  # said once, by summarise
    return metrics, notes
