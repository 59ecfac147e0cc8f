"""How many lesions a test set needs for an interval of a given width."""

from scipy.stats import binomtest

MOST = 1_000_000


def interval_width(sensitivity: float, lesions: int, level: float = 0.95) -> float:
    """Width of the Wilson interval of a sensitivity measured on so many independent lesions.

    With p the sensitivity, n the lesions and z the normal quantile of the level,
    2 z / (1 + z²/n) · sqrt(p (1 - p) / n + z² / (4 n²)), at the whole number of found lesions nearest to p · n.

    Several lesions of one patient are not independent: their interval is wider than this.

    Args:
        sensitivity: 0..1.
        lesions: n, at least 1.
        level: of confidence.

    Returns:
        The width, 0..1.

    Raises:
        ValueError: a sensitivity or a level outside 0..1, or no lesion.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 22, 1927).
    """
    if not 0 <= sensitivity <= 1 or not 0 < level < 1 or lesions < 1:
        raise ValueError(
            f"sensitivity must lie in 0..1, level between 0 and 1 and lesions be at least 1, got {sensitivity}, "
            f"{level} and {lesions}"
        )
    found = round(sensitivity * lesions)
    low, high = binomtest(found, lesions).proportion_ci(level, method="wilson")
    return float(high - low)


def lesions_needed(sensitivity: float, width: float, level: float = 0.95) -> int:
    """The fewest lesions from which on the interval of a sensitivity is no wider than wanted.

    Args:
        sensitivity: expected, 0..1.
        width: of the whole interval, high minus low.
        level: of confidence.

    Returns:
        Number of independent lesions.

    Raises:
        ValueError: a width that a million lesions do not reach, or as `interval_width`.
    """
    if not width > 0 or interval_width(sensitivity, MOST, level) > width:
        raise ValueError(f"an interval {width} wide needs more than {MOST} lesions")
    low, high = 1, MOST  # the width falls with n but for the rounding of found lesions
    while low < high:
        middle = (low + high) // 2
        if interval_width(sensitivity, middle, level) <= width:
            high = middle
        else:
            low = middle + 1
    while any(interval_width(sensitivity, low + more, level) > width for more in range(20)):
        low += 1
    return low
