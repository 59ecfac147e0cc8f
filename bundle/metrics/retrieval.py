"""Whether an image finds its report among all reports, and a report its image.

Duplicated reports ("No acute findings.") are one text: whatever carries the text that was asked for is a match.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from bundle.metrics.arrays import as_array
from bundle.metrics.records import Floats, Integers

RANKS = (1, 5, 10)

_CHUNK = 1 << 22  # similarities at a time: 32 MiB
_LENGTH_TOLERANCE = 1e-3  # of an embedding's length from 1: float32 that was normalised is within it
TIE = 1e-9  # similarities of equal vectors differ by rounding, according to where in the matrix they stand


@dataclass(frozen=True)
class Retrieval:
    """One direction of retrieval.

    Attributes:
        rank: (N,) rank of each query's best match, 1 for the first. For an interval of a recall, give `rank <= k` to
            `bundle.metrics.draws.Draws.mean`: queries are drawn, the gallery stays.
        recall: by k, the share of queries with rank <= k, 0..1.
        median_rank: of `rank`.
        gallery_size: how many items each query had to choose from, duplicates counted. A recall means nothing
            without it.
        distinct_texts: how many different texts these are.
    """

    rank: Integers
    recall: dict[int, float]
    median_rank: float
    gallery_size: int
    distinct_texts: int


def image_to_report(
    image: torch.Tensor | ArrayLike,
    report: torch.Tensor | ArrayLike,
    text_id: ArrayLike | None = None,
    ranks: Sequence[int] = RANKS,
) -> Retrieval:
    """Every image asks for its report.

    rank_i = 1 + #{j: text_j != text_i, ⟨v_i, u_j⟩ >= max over the matches m of ⟨v_i, u_m⟩}

    with v images, u reports, and a match every item of the same text. Ties are counted against the query
    (pessimistic): where all embeddings are equal nothing is found, not everything. Copies of the wanted text do not
    push the rank; copies of a wrong text each do.

    Args:
        image: (N, D) embeddings of unit length.
        report: (N, D) embeddings of unit length; row i belongs to image i.
        text_id: (N,) equal for equal texts; None where every report is its own.
        ranks: k of the recalls.

    Returns:
        Ranks and what follows from them.

    Raises:
        ValueError: where shapes do not fit, nothing is given, an embedding is not finite or not of unit length, or a
            rank is below 1.
    """
    return _retrieve(_checked("image", image), _checked("report", report), text_id, ranks)


def report_to_image(
    image: torch.Tensor | ArrayLike,
    report: torch.Tensor | ArrayLike,
    text_id: ArrayLike | None = None,
    ranks: Sequence[int] = RANKS,
) -> Retrieval:
    """Every report asks for its image, or for another image with the same report; else as `image_to_report`."""
    return _retrieve(_checked("report", report), _checked("image", image), text_id, ranks)


def retrieve(
    query: torch.Tensor | ArrayLike,
    gallery: torch.Tensor | ArrayLike,
    query_text: ArrayLike,
    gallery_text: ArrayLike,
    ranks: Sequence[int] = RANKS,
) -> Retrieval:
    """Every query asks for what carries its text, in a gallery of its own; else as `image_to_report`.

    Args:
        query: (N, D) embeddings of unit length.
        gallery: (G, D) embeddings of unit length.
        query_text: (N,) which text each query asks for.
        gallery_text: (G,) which text each item carries; each that is asked for is carried by at least one.
        ranks: k of the recalls.

    Returns:
        Ranks and what follows from them.

    Raises:
        ValueError: as `image_to_report`, or where nothing carries the text that a query asks for.
    """
    asking, offered = _checked("query", query), _checked("gallery", gallery)
    names = [np.asarray(text) for text in (query_text, gallery_text)]
    for vectors, text in zip((asking, offered), names, strict=True):
        if text.shape != (len(vectors),):
            raise ValueError(f"{len(vectors)} embeddings but texts of shape {text.shape}")
    _, number = np.unique(np.concatenate(names), return_inverse=True)
    wanted, carried = number[: len(asking)], number[len(asking) :]
    lacking = ~np.isin(wanted, carried)
    if lacking.any():
        raise ValueError(f"nothing in the gallery carries the text of query {int(lacking.argmax())}")
    return _ranked(asking, offered, wanted, carried, ranks)


def _retrieve(query: Floats, gallery: Floats, text_id: ArrayLike | None, ranks: Sequence[int]) -> Retrieval:
    if query.shape != gallery.shape:
        raise ValueError(f"images and reports come in pairs, got {query.shape} and {gallery.shape}")
    n = len(query)
    names = np.arange(n) if text_id is None else np.asarray(text_id)
    if names.shape != (n,):
        raise ValueError(f"{n} reports but text_id of shape {names.shape}")
    _, text = np.unique(names, return_inverse=True)
    return _ranked(query, gallery, text, text, ranks)


def _ranked(query: Floats, gallery: Floats, wanted: Integers, carried: Integers, ranks: Sequence[int]) -> Retrieval:
    if min(ranks, default=0) < 1:
        raise ValueError(f"ranks must be given and be >= 1, got {tuple(ranks)}")
    rank = np.empty(len(query), np.int64)
    height = max(1, _CHUNK // len(gallery))
    for start in range(0, len(query), height):
        rows = slice(start, start + height)
        similarity = query[rows] @ gallery.T  # (n, G)
        match = wanted[rows, None] == carried
        best = np.where(match, similarity, -np.inf).max(1, keepdims=True)
        rank[rows] = 1 + (~match & (similarity >= best - TIE)).sum(1)
    return Retrieval(
        rank=rank,
        recall={int(k): float((rank <= k).mean()) for k in ranks},
        median_rank=float(np.median(rank)),
        gallery_size=len(gallery),
        distinct_texts=len(np.unique(carried)),
    )


def _checked(name: str, embedding: torch.Tensor | ArrayLike) -> Floats:
    vectors = as_array(embedding)
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"{name} embeddings must be (N, D) with N and D above 0, got {vectors.shape}")
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        raise ValueError(f"the {name} embedding of row {int(finite.argmin())} is not finite")
    length = np.linalg.norm(vectors, axis=1)
    off = np.abs(length - 1)
    if off.max() > _LENGTH_TOLERANCE:
        row = int(off.argmax())
        raise ValueError(f"the {name} embedding of row {row} has length {length[row]:g}; wanted: 1 (normalise first)")
    return vectors
