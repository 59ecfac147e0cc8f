"""Whether a region knows its caption among wrong ones and among all, a caption its region, and a patch its place.

Symbols: N regions of a section, M hard negatives of each, T texts, D joint embedding, s = ⟨region, text⟩ of unit
vectors. Ties count against the network everywhere: one that says the same of all is never right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from bundle.metrics.arrays import as_array
from bundle.metrics.records import Floats
from bundle.metrics.retrieval import RANKS, TIE, Retrieval, retrieve

Vectors = torch.Tensor | ArrayLike

_CHUNK = 1 << 22  # numbers in one intermediate array: 32 MiB


@dataclass(frozen=True)
class Matching:
    """Regions and their hard negatives.

    Attributes:
        right: (N,) 1 where the caption scores above all hard negatives of its region, 0 where not; NaN where it has
            none.
        pair: (N, M) 1 where it scores above this one, 0 where not; NaN where there is none.
        chance: (N,) of being right by drawing one of the texts, 1 / (1 + its negatives); NaN where it has none.
    """

    right: Floats
    pair: Floats
    chance: Floats


def caption_scores(
    region: Vectors, caption: Vectors, caption_id: ArrayLike, negative_id: ArrayLike
) -> tuple[Floats, Floats]:
    """How each region scores its caption and its hard negatives.

    Args:
        region: (N, D) embeddings.
        caption: (T, D) embeddings of the distinct texts.
        caption_id: (N,) row of the region's caption.
        negative_id: (N, M) rows of its hard negatives; -1 is padding. One that is the caption itself is none.

    Returns:
        s of the caption (N,), and of the negatives (N, M), NaN where there is none.

    Raises:
        ValueError: shapes that do not fit, or a row that is not there.
    """
    regions, texts = as_array(region), as_array(caption)
    own, wrong = np.asarray(caption_id, np.int64), np.asarray(negative_id, np.int64)
    n = len(regions)
    if own.shape != (n,) or wrong.ndim != 2 or len(wrong) != n:
        raise ValueError(f"{n} regions, but caption_id of shape {own.shape} and negative_id of shape {wrong.shape}")
    if n and not 0 <= own.min() <= max(own.max(), wrong.max(initial=-1)) < len(texts):
        raise ValueError(f"a text's row lies outside the {len(texts)} embeddings")
    false = np.full(wrong.shape, np.nan)
    height = max(1, _CHUNK // max(1, wrong.shape[1] * regions.shape[1]))
    for start in range(0, n, height):
        rows = slice(start, start + height)
        false[rows] = np.einsum("nd,nmd->nm", regions[rows], texts[wrong[rows]])
    false[(wrong < 0) | (wrong == own[:, None])] = np.nan
    return np.einsum("nd,nd->n", regions, texts[own]), false


def match_captions(true: ArrayLike, false: ArrayLike) -> Matching:
    """Hold each caption against the hard negatives of its region.

    Args:
        true: (N,) scores of the captions, by whatever scores them.
        false: (N, M) scores of the negatives; NaN is padding.

    Returns:
        What is right.
    """
    own, wrong = np.asarray(true, np.float64), np.asarray(false, np.float64)
    there = ~np.isnan(wrong)
    pair = np.where(there, own[:, None] > wrong + TIE, np.nan)
    some = there.any(1)
    return Matching(
        right=np.where(some, (pair != 0).all(1), np.nan),
        pair=pair,
        chance=np.where(some, 1 / (1 + there.sum(1)), np.nan),
    )


def by_kind(pair: Floats, kind: ArrayLike, kinds: int) -> Floats:
    """A column for each kind of negative, for `bundle.metrics.draws.Draws.mean`.

    Args:
        pair: (N, M) of `Matching`.
        kind: (N, M) what is wrong in each negative, 0..kinds-1.
        kinds: how many kinds there are.

    Returns:
        (N·M, kinds), region by region; NaN where the negative is of another kind.
    """
    mine = np.asarray(kind).reshape(-1, 1) == np.arange(kinds)
    columns: Floats = np.where(mine, pair.reshape(-1, 1), np.nan)
    return columns


def region_to_caption(
    region: Vectors, caption: Vectors, caption_id: ArrayLike, ranks: Sequence[int] = RANKS
) -> Retrieval:
    """Every region asks for its caption among the distinct captions of the section.

    Args:
        region: (N, D) embeddings of unit length.
        caption: (T, D) embeddings of the distinct texts, unit length; those that no region has take no part.
        caption_id: (N,) row of the region's caption.
        ranks: k of the recalls.

    Returns:
        Ranks by region. Raises: see `bundle.metrics.retrieval.retrieve`.
    """
    own = np.asarray(caption_id, np.int64)
    distinct = np.unique(own)
    return retrieve(region, as_array(caption)[distinct], own, distinct, ranks)


def caption_to_region(
    region: Vectors, caption: Vectors, caption_id: ArrayLike, ranks: Sequence[int] = RANKS
) -> Retrieval:
    """Every caption asks for its region, or another of the same caption, among all regions of the section.

    So a described lesion is looked for in all images. A caption asks as often as it stands, so that every region counts
    once. Arguments as `region_to_caption`.
    """
    own = np.asarray(caption_id, np.int64)
    return retrieve(as_array(caption)[own], region, own, own, ranks)


def point(similarity: Vectors, there: Vectors, shown: Vectors) -> tuple[Floats, Floats]:
    """Whether the patch that fits a description best carries the described lesion.

    Args:
        similarity: (N, P) of each description with the patches of its image.
        there: (N, P) whether a patch carries what is described (`bundle.grid.boxes_to_patch_mask`).
        shown: (N, P) whether a patch shows the image; those that lie in the pad cannot be pointed at.

    Returns:
        (N,) 1 or 0, a share where several patches fit equally well; and (N,) the same for a patch drawn by chance. NaN
        where no patch shows the image.

    Raises:
        ValueError: shapes that do not fit, or a similarity that is not finite.
    """
    scores = as_array(similarity)
    inside, seen = as_array(there) > 0, as_array(shown) > 0
    if scores.ndim != 2 or not scores.shape == inside.shape == seen.shape:
        raise ValueError(f"similarity, there and shown must be (N, P): {scores.shape}, {inside.shape}, {seen.shape}")
    if not np.isfinite(scores[seen]).all():
        raise ValueError("the similarity of a patch is not finite: the network failed")
    scores = np.where(seen, scores, -np.inf)
    best = seen & (scores >= scores.max(1, initial=-np.inf, keepdims=True) - TIE)
    with np.errstate(invalid="ignore"):  # no patch: 0 / 0 is NaN, as it should be
        return (best & inside).sum(1) / best.sum(1), (seen & inside).sum(1) / seen.sum(1)
