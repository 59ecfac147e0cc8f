"""Who is judged when: folds of a cross-validation and splits, by group, so that no patient is on both sides."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

__all__ = ["assign_folds", "hash_order", "hash_place", "sections_by_place", "split_by_hash"]


def assign_folds(groups: Sequence[str], classes: Sequence[str], folds: int = 5) -> dict[str, int]:
    """Puts each group into one fold, such that the folds hold about equally many members of each class.

    A member is whatever the folds shall share evenly, such as a box (its patient, its finding): a group may have
    several, of several classes. scikit-learn's StratifiedGroupKFold without shuffling: the groups in the order of how
    unevenly their members spread over the classes, ties by name, each to the fold where the standard deviation over
    folds of the classes' shares becomes least. The order of the members does not matter.

    Args:
        groups: (M,) each member's group.
        classes: (M,) each member's class.
        folds: how many.

    Returns:
        Group -> fold, 0..folds - 1.

    Raises:
        ValueError: fewer than two folds, or fewer groups or members of the commonest class than folds.
    """
    if folds < 2:
        raise ValueError(f"Found {folds} folds; wanted at least 2.")
    if len(groups) != len(classes):
        raise ValueError(f"Found {len(groups)} groups and {len(classes)} classes; wanted one of each for a member.")
    most = max(Counter(classes).values(), default=0)
    if len(set(groups)) < folds or most < folds:
        raise ValueError(
            f"Found {len(set(groups))} groups, and at most {most} members of one class; wanted at least {folds} of "
            f"both for {folds} folds."
        )
    result: dict[str, int] = {}
    with warnings.catch_warnings():
        # a class rarer than the folds: some folds are without it
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        splits = StratifiedGroupKFold(folds).split(np.zeros(len(groups)), list(classes), list(groups))
        for fold, (_, members) in enumerate(splits):
            result |= {groups[member]: fold for member in members}
    return result


def hash_order(name: str) -> str:
    """A key to sort names by in an order that has nothing to do with what they name: hexadecimal SHA-256 of UTF-8."""
    return hashlib.sha256(name.encode("utf-8")).hexdigest()


def split_by_hash(groups: Sequence[str], shares: Mapping[str, float], seed: Hashable = 0) -> dict[str, str]:
    """Puts each group into a section, by its own name: adding or leaving out others changes nothing for it.

    Group g goes where u = SHA-256("<seed>:<g>") / 2^256 falls among the cumulated shares.

    Args:
        groups: names; repeated ones are one.
        shares: section -> share of the groups, summing to 1.
        seed: another one gives another split.

    Returns:
        Group -> section.

    Raises:
        ValueError: shares that are negative or do not sum to 1.
    """
    chosen = sections_by_place([hash_place(group, seed) for group in groups], shares)
    sections = list(shares)
    return {group: sections[n] for group, n in zip(groups, chosen.tolist(), strict=True)}


def hash_place(group: str, seed: Hashable = 0) -> float:
    """u = SHA-256("<seed>:<group>") / 2^256, 0..1."""
    return int(hash_order(f"{seed}:{group}"), 16) / 2**256


def sections_by_place(places: npt.ArrayLike, shares: Mapping[str, float]) -> npt.NDArray[np.int64]:
    """Where each u falls among the cumulated shares.

    Args:
        places: (N,) of `hash_place`.
        shares: section -> share, summing to 1.

    Returns:
        (N,) numbers of sections, in the order of `shares`.

    Raises:
        ValueError: shares that are negative or do not sum to 1.
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"Found the shares {dict(shares)}; wanted numbers from 0 that sum to 1.")
    edges = np.cumsum(list(shares.values()))
    last = max(n for n, share in enumerate(shares.values()) if share)  # rounding must not lead beyond it
    chosen: npt.NDArray[np.int64] = np.minimum(np.searchsorted(edges, places, side="right"), last)
    return chosen
