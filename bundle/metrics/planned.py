"""The few comparisons that a plan names beforehand, with a margin: the only ones that get a p-value.

Of many differences some are far from 0 by chance. So what is to be shown is named before the test section is looked at,
and the p-values pay for their number; every other difference is exploratory.

Sources: Holm, "A simple sequentially rejective multiple test procedure" (Scand. J. Stat. 6, 1979); Davison and Hinkley,
"Bootstrap methods and their application" (1997), section 4.4, for p-values of replicates; the CONSORT extension of
Piaggio et al. (JAMA 308, 2012) for non-inferiority.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bundle.metrics.intervals import interval
from bundle.metrics.records import Floats
from bundle.metrics.table import FigureTable

CLAIMS = ("superiority", "non-inferiority")
PLANNED = "planned/"
"""Begins the keys of planned comparisons; the name of one follows."""
EXPLORATORY = (
    "every difference that no planned comparison names is exploratory: its interval is not widened for the number of "
    "differences, and it has no p-value"
)
LEVEL = 0.05


@dataclass(frozen=True)
class Planned:
    """One planned comparison of the reference with a method.

    Attributes:
        method: name of the method.
        claim: one of `CLAIMS`: the difference, reference minus method, lies above `margin` (superiority), or above
            minus `margin` (non-inferiority).
        margin: in units of the figure; >= 0, and > 0 for non-inferiority.
        figure: `<finding>/<figure>` or `mean/<figure>` of `bundle.metrics.paired.compare`, of which more is better.

    Raises:
        ValueError: an unknown claim, a margin that does not fit it, or false positives as the figure.
    """

    method: str
    claim: str
    margin: float
    figure: str = "mean/sens_at_1fp"

    def __post_init__(self) -> None:
        if self.claim not in CLAIMS:
            raise ValueError(f"the claim is {self.claim!r}; wanted one of {', '.join(CLAIMS)}")
        if not (math.isfinite(self.margin) and self.margin >= (0 if self.claim == "superiority" else 1e-12)):
            raise ValueError(
                f"the margin of {self.claim} is {self.margin}; wanted a number >= 0, > 0 for non-inferiority"
            )
        if "fp_at_" in self.figure:
            raise ValueError(
                f"the figure is {self.figure!r}; wanted one of which more is better, such as mean/sens_at_1fp"
            )

    @property
    def limit(self) -> float:
        """What the difference must lie above."""
        return self.margin if self.claim == "superiority" else -self.margin


def planned_from(settings: Mapping[str, Mapping[str, float | str]]) -> dict[str, Planned]:
    """Planned comparisons by name, of a configuration.

    Raises:
        ValueError: a name with a slash, or settings that `Planned` refuses; the message names the comparison.
    """
    comparisons = {}
    for name, fields in settings.items():
        if not name or "/" in name:
            raise ValueError(
                f"a planned comparison's name stands in keys with slashes: found {name!r}, give it another"
            )
        try:
            comparisons[name] = Planned(**fields)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise ValueError(f"planned comparison {name!r}: {error}") from error
    return comparisons


def put_planned(table: FigureTable, planned: Mapping[str, Planned]) -> None:
    """Put the planned comparisons, out of the differences that the table holds.

    Keys: `planned/<name>/difference` with `/low` and `/high`, `/margin`, `/p` (`replicate_p`) and `/p_holm`
    (`holm` over all that are planned). The note `planned/<name>` says the claim and whether it is shown: where
    `p_holm` is below .05. A comparison that could not be made (the method is left out, or the difference has no
    replicates) is not shown, and counts in the family all the same.

    Args:
        table: with the keys `compare/<method>/<figure>/difference` of `bundle.metrics.paired.compare`.
        planned: by name.
    """
    table.notes["exploratory"] = EXPLORATORY
    values = {}
    for name, each in planned.items():
        key, source = f"{PLANNED}{name}", f"compare/{each.method}/{each.figure}/difference"
        table.put(f"{key}/margin", each.margin)
        draws = table.draws.get(source)
        why = (
            f"{each.method} was not compared by {each.figure}" if source not in table.values else "it has no replicates"
        )
        difference = table.columns(source) if source in table.values else math.nan
        table.put(f"{key}/difference", difference, why, table.kinds.get(source))
        values[name] = math.nan if draws is None else replicate_p(draws, each.limit)
        table.put(f"{key}/p", values[name], f"not tested: {why}" if draws is None else "all replicates agree")
    for name, p in zip(values, holm([*values.values()]), strict=True):
        each = planned[name]
        table.put(f"{PLANNED}{name}/p_holm", p)
        table.notes[f"{PLANNED}{name}"] = (
            f"{each.claim} over {each.method} by {each.figure}, more than {each.limit:g}: "
            f"{'shown' if p < LEVEL else 'not shown'} at {LEVEL:g}, of {len(values)} planned"
        )


def replicate_p(draws: Floats, limit: float) -> float:
    """p-value of the hypothesis that a difference is not above a limit, as twice that of one side.

        p = min(1, 2 (1 + #{d_r <= limit}) / (R + 1)),

    so that p < .05 where the 95% interval of percentiles lies above the limit, to within a replicate. With R replicates
    none is below 2 / (R + 1).

    Args:
        draws: (R,) replicates of the difference, NaN where undefined, which do not count.
        limit: that it must lie above.

    Returns:
        p; NaN where no replicate is defined, or all agree: then they say nothing of chance.
    """
    defined = draws[~np.isnan(draws)]
    low, high, _ = interval(draws, 1.0)
    if not len(defined) or low == high:
        return math.nan
    return min(1.0, 2 * (1 + int((defined <= limit).sum())) / (len(defined) + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: p'_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)), p_(1) the smallest of m.

    Args:
        p: m values; NaN counts as 1.

    Returns:
        The adjusted values in the order given; below a level for all together the error of any is below it.
    """
    values = np.nan_to_num(np.asarray(p, np.float64), nan=1.0)
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, np.arange(len(values), 0, -1) * values[order])
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]
