"""What a figure is, and the interval that such a figure gets: no figure of a sample is certain, not even one of 1.

A percentile bootstrap draws only what the sample has: near 0 and 1, or with few lesions, its intervals are too narrow,
and where everything was found they have no width. Scores' intervals ask instead which truths would not be surprised by
the sample. How often each holds the truth: `python -m scripts.interval_coverage`, docs/evaluation.md.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13, for percentiles; Wilson, "Probable
inference, the law of succession, and statistical inference" (J. Am. Stat. Assoc. 22, 1927); Brown, Cai and DasGupta,
"Interval estimation for a binomial proportion" (Stat. Sci. 16, 2001), for the ends next to 0 and 1; Korn and Graubard,
"Confidence intervals for proportions with small expected number of positive counts" (Survey Methodology 24, 1998), for
the effective number; Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
Part 2" (Stat. Med. 25, 2006), method 5.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, ndtri

from bundle.metrics.records import Floats

_SAME = 1e-9  # replicates this near are equal: far below one lesion of any data set, far above rounding


class Interval(NamedTuple):
    """A percentile interval and the replicates it rests on."""

    low: float
    high: float
    undefined: int  # replicates left out because the figure is undefined in them


class Share(NamedTuple):
    """A proportion, or a mean of numbers in 0..1.

    Attributes:
        of: how many lesions, images or questions it is a share of.
        patients: how many patients these belong to.
    """

    of: float
    patients: float


class Area(NamedTuple):
    """An area under an ROC curve, or a mean of K areas.

    Attributes:
        images: of each area, how many should score above the others, P, and how many these others are, Q.
        patients: of each area, how many patients either belong to.
    """

    images: tuple[tuple[int, int], ...]
    patients: tuple[tuple[int, int], ...]


class Difference(NamedTuple):
    """A paired difference of two shares or areas of the same images.

    Attributes:
        patients: how many patients it is of.
    """

    patients: float

    @staticmethod
    def of(kind: "Kind | None") -> "Difference | None":
        """The difference of two such figures; None (percentiles) of anything else."""
        if isinstance(kind, Area):
            return Difference(_together([min(pair) for pair in kind.patients]))
        return Difference(kind.patients) if isinstance(kind, Share) else None


Kind = Share | Area | Difference


def mean_kind(parts: Sequence[Kind | None]) -> Kind | None:
    """What the mean of K figures is: as they are, where they are all of one kind; None (percentiles) elsewhere."""
    shares = [part for part in parts if isinstance(part, Share)]
    areas = [part for part in parts if isinstance(part, Area)]
    differences = [part for part in parts if isinstance(part, Difference)]
    if len(shares) == len(parts):
        return Share(*(_together(n) for n in zip(*shares, strict=True)))
    if len(areas) == len(parts):
        images, patients = ([pair for area in areas for pair in area[place]] for place in (0, 1))
        return Area(tuple(images), tuple(patients))
    return Difference(_together([part.patients for part in differences])) if len(differences) == len(parts) else None


def _together(numbers: Sequence[float]) -> float:
    """K² / sum_k 1/n_k: of how many a single share is that has the variance of the mean of K equal ones of n_k."""
    return float(len(numbers) ** 2 / np.sum(1 / np.asarray(numbers, np.float64)))


def figure_interval(value: float, draws: Floats, kind: Kind | None, level: float = 0.95) -> tuple[float, float]:
    """The interval of a figure by its kind: `share_interval`, `area_interval`, `difference_interval` or percentiles."""
    if isinstance(kind, Share):
        return share_interval(value, draws, kind, level)
    if isinstance(kind, Area):
        return area_interval(value, draws, kind, level)
    if isinstance(kind, Difference):
        return difference_interval(value, draws, kind, level)
    low, high, _ = interval(draws, level)
    return low, high


def interval(replicates: Floats, level: float = 0.95) -> Interval:
    """Percentile interval over the replicates in which the figure is defined.

    Infinite replicates are defined and take their place at the end. Between a finite and an infinite one there is no
    number, so an end that falls between two replicates is then the outer of them.

    Args:
        replicates: (R,), NaN where undefined.
        level: of confidence.

    Returns:
        The quantiles (1 - level) / 2 and (1 + level) / 2, NaN if no replicate is defined, and the number left out.
    """
    defined = replicates[~np.isnan(replicates)]
    undefined = len(replicates) - len(defined)
    if not len(defined):
        return Interval(float("nan"), float("nan"), undefined)
    ends = (1 - level) / 2, (1 + level) / 2
    if np.isfinite(defined).all():
        low, high = np.quantile(defined, ends)
        return Interval(float(low), float(high), undefined)
    ordered, last = np.sort(defined), len(defined) - 1
    return Interval(float(ordered[math.floor(ends[0] * last)]), float(ordered[math.ceil(ends[1] * last)]), undefined)


def share_interval(value: float, draws: Floats, share: Share, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share, with as many independent lesions as its bootstrap variance speaks for.

        n' = min(of, m (1 - m) / Var · (G - 1) / G),   m and Var over the replicates, G patients;
        n = (x + 1) / (x / n' + 1 / min(n', G)), at least 1,   x = n' min(m, 1 - m);
        (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n).

    What patients' lesions have in common is seen only in those that are rare, the x missed ones (or found): of few of
    them Var says little, and is too small more often than not. So one more is added, of a patient whose lesions all
    go together: 1/n is the mean of x times 1/n' and once 1/G. Where all replicates agree, x = 0: n = G.

    Next to an end it is too short (Brown, Cai and DasGupta): with x = n p up to 2 (up to 3 where n > 50) its lower end
    is at most the Poisson limit chi²(2x; 1 - level) / 2n, and likewise its upper end with x = n (1 - p).

    Args:
        value: p, 0..1.
        draws: (R,) replicates, NaN where undefined.
        share: of how many.
        level: of confidence.

    Returns:
        Both ends, in 0..1; NaN where no replicate is defined.
    """
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return math.nan, math.nan
    if np.ptp(defined) < _SAME:
        n = share.patients
    else:
        m = defined.mean()
        own = min(share.of, m * (1 - m) / defined.var() * (share.patients - 1) / share.patients)
        rare = own * min(m, 1 - m)
        n = (rare + 1) / (rare / own + 1 / min(own, share.patients)) if own > 0 else 1.0
    return wilson(value, max(n, 1.0), level)


def wilson(p: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The interval of `share_interval`, of a share p of n independent ones, n > 0 and not always whole."""
    z = ndtri((1 + level) / 2)
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    few = 3 if n > 50 else 2
    if 0 < n * p <= few:
        low = min(low, gammaincinv(n * p, 1 - level) / n)
    if 0 < n * (1 - p) <= few:
        high = max(high, 1 - gammaincinv(n * (1 - p), 1 - level) / n)
    return (float(max(low, 0.0)) if p > 0 else 0.0), (float(min(high, 1.0)) if p < 1 else 1.0)


def area_interval(value: float, draws: Floats, area: Area, level: float = 0.95) -> tuple[float, float]:
    """Newcombe's score interval of an area: all A with (A - value)² <= z² D V(A).

        V(A) = (1 / K²) sum_k A (1 - A) (1 + N_k ((1 - A) / (2 - A) + A / (1 + A))) / (P_k Q_k),
        N_k = (P_k + Q_k) / 2 - 1,

    P positives and Q negatives of each of the K areas that it is the mean of, each taken to be A; for one alone, K = 1,
    it is his method 5. D = max(1, Var / V(value) · G / (G - 1)), Var over the replicates and G the fewer patients, is
    what patients with several images cost, and areas that share images. Where all replicates agree, D is 1, and P and Q
    are numbers of patients.

    Args:
        value: 0..1.
        draws: (R,) replicates, NaN where undefined.
        area: of how many.
        level: of confidence.

    Returns:
        Both ends, in 0..1; NaN where no replicate is defined.
    """
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return math.nan, math.nan
    agree = bool(np.ptp(defined) < _SAME)
    p, q = np.array(area.patients if agree else area.images, np.float64).T  # (K,)

    def variance(a: float) -> float:
        each = (1 + ((p + q) / 2 - 1) * ((1 - a) / (2 - a) + a / (1 + a))) / (p * q)
        return float(a * (1 - a) * each.sum() / len(p) ** 2)

    own, fewest = variance(value), Difference.of(area)
    spread = float(defined.var()) * fewest.patients / max(fewest.patients - 1, 1) if fewest else 0.0
    widened = 1.0 if agree or own == 0 else max(1.0, spread / own)
    z = ndtri((1 + level) / 2)

    def surprise(a: float) -> float:
        return float((a - value) ** 2 - z * z * widened * variance(a))

    from scipy.optimize import brentq  # a second to load: only for those who have areas

    edge = 1e-12  # 0 and 1 are roots where the value is one of them, and not the ones looked for
    low = brentq(surprise, 0.0, min(value, 1 - edge)) if value > 0 else 0.0
    high = brentq(surprise, max(value, edge), 1.0) if value < 1 else 1.0
    return float(low), float(high)


def difference_interval(value: float, draws: Floats, kind: Difference, level: float = 0.95) -> tuple[float, float]:
    """Percentiles of a paired difference, or, where all replicates agree, what G patients leave open all the same.

    That no patient differs from d means only that no more than a share u of all patients may, u the upper end of
    Wilson's interval of 0 of G; and these by no more than to -1 or 1: d - u (1 + d) to d + u (1 - d).

    Args:
        value: d, -1..1.
        draws: (R,) replicates, NaN where undefined.
        kind: of how many patients.
        level: of confidence.

    Returns:
        Both ends, in -1..1; NaN where no replicate is defined.
    """
    low, high, _ = interval(draws, level)
    if high - low >= _SAME or math.isnan(low):
        return low, high
    share = wilson(0.0, kind.patients, level)[1]
    return value - share * (1 + value), value + share * (1 - value)
