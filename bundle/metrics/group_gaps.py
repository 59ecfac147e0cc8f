"""Differences between groups of patients at the thresholds that were frozen for all of them.

Where each group has a threshold of its own, for equal false positives, what they suffer from a common one is hidden.

Sources: Hardt, Price and Srebro, "Equality of opportunity in supervised learning" (NeurIPS 2016); Bellamy et al., "AI
Fairness 360" (IBM J. Res. Dev. 63, 2019), for the average odds difference.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.draws import Draws
from bundle.metrics.intervals import Difference
from bundle.metrics.records import COUNTED, Floats, Records
from bundle.metrics.shown import shown
from bundle.metrics.subgroups import FIELDS, UNKNOWN_GROUP, members
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units

GAPS = ("equal_opportunity", "average_odds", "lesions_shown")
GAP_RULE = (
    "each group minus all other images whose group is known, at the thresholds that were frozen for all; equal "
    "opportunity: sensitivity to images; average odds: mean of the differences of sensitivity and false positive rate"
)


def gaps_between_groups(
    records: Records,
    info: Mapping[int, Mapping[str, Any]],
    probability: Floats,
    image: Floats,
    box: Floats,
    max_per_finding: int,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    least: int = 10,
    fields: Sequence[str] = FIELDS,
) -> tuple[Metrics, Notes]:
    """What a group gets at the common thresholds, less what the rest gets.

    Keys `gap/<field>/<value>/<figure>/<f>`, <f> a finding or `mean`, each with `/low` and `/high`, of a group g and the
    rest r, all images of other known values of the field:

    - `equal_opportunity`: TPR_g - TPR_r, TPR the share of positive images whose probability reaches the threshold;
    - `average_odds`: ((TPR_g - TPR_r) + (FPR_g - FPR_r)) / 2. Differences of opposite sign cancel: read it beside the
      first;
    - `lesions_shown`: share of lesions that a shown candidate hits (`bundle.metrics.shown.shown`), g less r.

    Where g or r has fewer than `least` positive images (for average odds, or negative ones; for lesions, lesions), the
    figure is None and the notes say so. A field of fewer than two known values has no key.

    Args:
        records: of the section that is judged.
        info: index of the image -> what is known of it, as for `bundle.metrics.subgroups.by_subgroup`.
        probability, image, box, max_per_finding: as for `bundle.metrics.shown.shown`; frozen on another section.
        replicates: R of the bootstrap over patients; 0 for no intervals.
        seed: of the draws.
        level: of confidence.
        least: the fewest positives, negatives or lesions of either side.
        fields: of `info`.

    Returns:
        The metrics and the notes.

    Raises:
        ValueError: where an image has no info.
    """
    table = FigureTable(records.findings, level)
    table.notes["gaps"] = f"{GAP_RULE}; at least {least} positives, negatives or lesions on either side"
    draws = draw_units(table, records.images, replicates, seed)
    called = ~(probability < image)  # (I, K)
    mine = shown(records, probability, image, box, max_per_finding)
    lesions = records.lesions
    at = np.searchsorted(records.images.index, lesions.index)
    judged = records.images.status[at, lesions.finding] == COUNTED
    of_lesions = draws.at(at)
    for field in fields:
        groups = {name: member for name, member in members(records, info, field).items() if name != UNKNOWN_GROUP}
        known = np.any([*groups.values(), np.zeros(len(called), bool)], axis=0)
        for value, member in groups.items() if len(groups) > 1 else ():
            sides = member, known & ~member
            for k, finding in enumerate(records.findings):
                positive, negative = (
                    [_side(draws, called[:, k], side & (records.images.label[:, k] == label)) for side in sides]
                    for label in (1, 0)
                )
                own = judged & (lesions.finding == k)
                hit = [_side(of_lesions, mine.lesion, own & side[at]) for side in sides]
                for figure, parts, weight in (
                    ("equal_opportunity", [positive], 1.0),
                    ("average_odds", [positive, negative], 0.5),
                    ("lesions_shown", [hit], 1.0),
                ):
                    _put(table, f"gap/{field}/{value}/{figure}/{finding}", parts, weight, least)
            for figure in GAPS:
                table.mean(f"gap/{field}/{value}/{figure}/{{}}")
    metrics, notes = table.finish()
    notes.pop("bootstrap", None)  # said once, by summarise
    return metrics, notes


Side = tuple[Floats, int, int]  # the rate (1 + R,), of how many, of how many patients


def _side(draws: Draws, has: NDArray[np.bool_], own: NDArray[np.bool_]) -> Side:
    """The share of the `own` rows (images or lesions) that have something."""
    return draws.ratio(has & own, own), int(own.sum()), len(np.unique(draws.unit[own]))


def _put(table: FigureTable, key: str, parts: Sequence[Sequence[Side]], weight: float, least: int) -> None:
    """weight · sum over parts of (group - rest)."""
    fewest = min(number for part in parts for _, number, _ in part)
    if fewest < least:
        table.put(key, math.nan, f"{fewest} positives, negatives or lesions on one side, fewer than {least}")
        return
    gap = weight * np.sum([mine - rest for (mine, *_), (rest, *_) in parts], 0)
    table.put(key, gap, None, Difference(min(people for part in parts for *_, people in part)))
